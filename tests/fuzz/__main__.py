"""Reads damaged inputs at the four borders, an hour by default: `make fuzz`."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.fuzz.borders import BORDERS
from tests.fuzz.fuzzing import MOST_MEMORY_MIB, fuzz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("borders", nargs="*", default=list(BORDERS), help="Some of the borders.")
    parser.add_argument("--seconds", type=float, default=3600, help="For all borders together, side by side.")
    parser.add_argument("--seed", type=int, default=1, help="Another seed makes other inputs.")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="Folder for the inputs that fail.")
    given = parser.parse_args()
    at_once = min(2, len(given.borders))
    run = partial(
        fuzz, seconds=given.seconds * at_once / len(given.borders), seed=given.seed, keep=given.keep
    )
    with ThreadPoolExecutor(at_once) as pool:
        found = dict(zip(given.borders, pool.map(run, given.borders), strict=True))
    for name, figures in found.items():
        print(f"{name:<9} {figures}")
        for what in (*figures.crashes, *figures.hangs):
            print(what)
    sys.exit(any(f.crashes or f.hangs or f.memory_mib > MOST_MEMORY_MIB for f in found.values()))


if __name__ == "__main__":
    main()
