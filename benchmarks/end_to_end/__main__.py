"""`python -m benchmarks.end_to_end`: make stacks, run the whole pipeline on each, print what it cost."""

from __future__ import annotations

import multiprocessing
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from benchmarks.end_to_end.measure import Measured, run
from benchmarks.end_to_end.table import as_markdown

STACKS = ("16x2048", "64x2048", "256x2048", "16x8192")
"""SLICESxSIDE, the side in px."""
QUICK = ("6x128",)

P = ParamSpec("P")
R = TypeVar("R")


@click.command()
@click.option("--quick", is_flag=True, help=f"Only {QUICK[0]}, to see that it works.")
@click.option("--stack", "names", multiple=True, metavar="SLICESxSIDE", help="Only these; may be repeated.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the figures of each stack in this folder; a stack whose figures are there is not run again.",
)
@click.option("--parts", is_flag=True, help="Sample which parts of a step take its CPU time.")
def main(quick: bool, names: tuple[str, ...], out: Path | None, parts: bool) -> None:
    """Measure CPU seconds and memory of each step of the whole pipeline on growing stacks."""
    stacks = []
    for name in names or (QUICK if quick else STACKS):
        kept = out / f"{name}.json" if out else None
        if kept and kept.exists():
            stacks.append(Measured.model_validate_json(kept.read_bytes()))
            continue
        click.echo(f"{name}: running", err=True)
        stacks.append(measure(*parse(name), with_parts=parts))
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(stacks[-1].model_dump_json(indent=1))
    click.echo(as_markdown(stacks))


def parse(name: str) -> tuple[int, int]:
    """Number of slices and their side of a stack's name.

    Raises:
        click.BadParameter: it is no such name.
    """
    found = re.fullmatch(r"(\d+)x(\d+)", name)
    if found is None:
        raise click.BadParameter(f"a stack must be SLICESxSIDE, such as {STACKS[0]}; got {name!r}")
    return int(found[1]), int(found[2])


def measure(n_slices: int, side_px: int, *, with_parts: bool) -> Measured:
    """Make a stack in the folder for temporary files, run the pipeline on it, and remove both."""
    from benchmarks.end_to_end import stack  # NumPy's memory would count with every task's

    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        source, output = Path(scratch, "slices"), Path(scratch, "volume")
        in_new_process(stack.make_stack, source, n_slices, side_px)
        used, wall_s = in_new_process(run, source, stack.IMAGE, output, n_slices, with_parts=with_parts)
        error_px = stack.neighbour_error_px(source, output)
    return Measured(n_slices=n_slices, side_px=side_px, steps=used, wall_s=wall_s, error_px=error_px)


def in_new_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a fresh interpreter."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *args, **kwargs).result()


if __name__ == "__main__":
    main()
