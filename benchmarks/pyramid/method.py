"""One writer or limit on one stack, in a process of its own, whose time and memory are its own too."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path

import click

from benchmarks.pyramid.limits import LIMITS
from benchmarks.pyramid.measure import Clock, Measured, peak_mib
from benchmarks.pyramid.stack import Stack
from benchmarks.pyramid.writers import MODULES, WRITERS


@click.command()
@click.argument("name", type=click.Choice([*WRITERS, *LIMITS]))
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(name: str, folder: Path, out: Path) -> None:
    """Have a writer or a limit work on the stack in FOLDER and write what it has cost to OUT."""
    warnings.simplefilter("ignore")  # of the peers' own dependencies
    stack, clock = Stack(folder), Clock()
    n_threads = len(os.sched_getaffinity(0))
    if name in WRITERS:
        names, write = WRITERS[name]
        for module in MODULES[name.partition(",")[0]]:
            importlib.import_module(module)
        with clock:
            write(stack, n_threads)
        n_bytes = sum(p.stat().st_size for n in names for p in (stack.output / n).rglob("*.shard"))
    else:
        n_bytes = LIMITS[name](stack, n_threads, clock)
    measured = Measured(
        name=name, wall_s=clock.wall_s, cpu_s=clock.cpu_s, peak_mib=peak_mib(), n_bytes=n_bytes
    )
    out.write_text(measured.model_dump_json())


if __name__ == "__main__":
    main()
