"""Has the programs of a run sample themselves, and adds up by part of a step what they leave."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.end_to_end import sampling
from benchmarks.end_to_end.sampling.sitecustomize import LIBRARIES, LOADING, SHARES

_PARTS = {
    LOADING: "start",
    LIBRARIES: "threads of libraries",
    "components/shared/command.py": "start",
    "components/shared/pictures/formats/": "decode",
    "components/shared/pictures/warping.py": "warp",
    "components/shared/storage/": "storage",
    "components/shared/regular_file.py": "storage",
    "components/shared/web.py": "storage",
    "components/shared/documents/": "documents",
    "components/shared/work/": "documents",
    "components/align/gates.py": "matching",
    "components/align/models.py": "matching",
    "components/align/pair.py": "matching",
    "components/align/search.py": "matching",
    "components/align/refine.py": "refinement",
    "components/tile/slab.py": "codec",
    "components/tile/spline.py": "warp",
    "components/pyramid/block.py": "codec",
    "components/pyramid/encode.py": "codec",
    "components/pyramid/shard.py": "codec",
}
"""Part of a step by the beginning of its modules; any other module is a part of its own name."""


def part_of(module: str) -> str:
    """The part of a step that a module belongs to.

    Example:
        >>> part_of("components/tile/spline.py"), part_of("components/align/features.py")
        ('warp', 'features')
    """
    named = (part for beginning, part in _PARTS.items() if module.startswith(beginning))
    return next(named, Path(module).stem)


@contextmanager
def sampled(folder: Path) -> Iterator[None]:
    """Programs that are started meanwhile leave in a folder where their CPU time went."""
    folder.mkdir(parents=True)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*sampling.__path__, before]))
    os.environ[SHARES] = str(folder)
    try:
        yield
    finally:
        del os.environ[SHARES], os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def parts_of_steps(folder: Path) -> dict[str, dict[str, float]]:
    """CPU seconds of each part of each step, from what programs have left in a folder."""
    steps: dict[str, defaultdict[str, float]] = {}
    for path in sorted(folder.glob("*.json")):
        left = json.loads(path.read_text())
        step = left["program"].removeprefix("components.").removesuffix(".main")
        parts = steps.setdefault(step, defaultdict(float))
        for module, cpu_s in left["cpu_s"].items():
            parts[part_of(module)] += cpu_s
    return {step: dict(parts) for step, parts in steps.items()}


def in_words(parts: Mapping[str, float], least_percent: float = 1.5) -> str:
    """The shares of parts, the largest first; what is less is left out.

    Example:
        >>> in_words({"warp": 3.0, "decode": 1.0, "storage": 0.01})
        'warp 75%, decode 25%'
    """
    whole_s = sum(parts.values())
    shares = sorted(((100 * cpu_s / whole_s, part) for part, cpu_s in parts.items()), reverse=True)
    return ", ".join(f"{part} {percent:.0f}%" for percent, part in shares if percent >= least_percent)
