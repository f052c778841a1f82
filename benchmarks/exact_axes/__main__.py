"""`python -m benchmarks.exact_axes FOLDER`: plant motion in the planes of a volume and see who finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click

from benchmarks.alignment.method import METHODS, ONE_THREAD, Found, ask
from benchmarks.exact_axes.cases import RECIPES, Planted, plant, write_stack
from benchmarks.exact_axes.levels import level_figures
from benchmarks.exact_axes.measures import Row, score
from benchmarks.exact_axes.planes import Axis, Planes, read_planes
from benchmarks.exact_axes.spacings import SPACINGS, SpacingRow, spacing_row
from benchmarks.exact_axes.spacings import as_markdown as spacings_as_markdown

FEABAS = "FEABAS"


@click.command()
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--axis",
    "axes",
    multiple=True,
    type=click.Choice(["x", "y", "z"]),
    default=["y"],
    show_default=True,
    help="Axis to take planes along; may be repeated.",
)
@click.option(
    "--planes", "n_planes", default=40, show_default=True, help="Number of planes; cases of steps take all."
)
@click.option(
    "--case", "names", multiple=True, type=click.Choice([*RECIPES, *SPACINGS]), help="Only this case."
)
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Only this method.")
@click.option(
    "--feabas",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python that has FEABAS, which is then a peer too.",
)
@click.option("--jobs", default=os.cpu_count() or 1, show_default="one a core", help="Methods at a time.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File that receives the rows.")
def main(
    folders: tuple[Path, ...],
    axes: tuple[Axis, ...],
    n_planes: int,
    names: tuple[str, ...],
    methods: tuple[str, ...],
    feabas: Path | None,
    jobs: int,
    out: Path | None,
) -> None:
    """Compare fibstack's alignment with its peers on isotropic volumes, whose image axes are exact."""
    rows: list[Row] = []
    spacings: list[SpacingRow] = []
    for folder in folders:
        for axis in axes:
            planes = read_planes(folder, axis, n_planes)
            for name in [name for name in names or RECIPES if name in RECIPES]:
                rows += _rows(planes, name, methods or METHODS, feabas, jobs)
            every = read_planes(folder, axis, n_planes=sys.maxsize)
            for name in [name for name in names or SPACINGS if name in SPACINGS]:
                spacings.append(spacing_row(every, name))
                click.echo(f"{spacings[-1]}", err=True)
    click.echo("\n" + as_markdown(rows))
    click.echo(spacings_as_markdown(spacings))
    if out is not None:
        out.write_text("".join(f"{row.model_dump_json()}\n" for row in (*rows, *spacings)))


def _rows(planes: Planes, case: str, methods: tuple[str, ...], feabas: Path | None, jobs: int) -> list[Row]:
    """Write the case and let each method answer in a process of its own."""
    asked = dict.fromkeys(methods, ask) | ({FEABAS: partial(_ask_feabas, feabas)} if feabas else {})
    planted = plant(planes, RECIPES[case])
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        write_stack(planes, RECIPES[case], planted, Path(scratch, "stack"))
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            return list(
                pool.map(
                    lambda method: _row(planes, case, method, asked[method], planted, Path(scratch)), asked
                )
            )


def _ask_feabas(python: Path, _method: str, stack: Path, answer: Path) -> None:
    """Let FEABAS align the slices of a folder with the Python that has it, and write its answer."""
    command = [str(python), str(Path(__file__).with_name("feabas_answer.py")), str(stack), str(answer)]
    subprocess.run(command, env=os.environ | ONE_THREAD, check=True)


def _row(
    planes: Planes,
    case: str,
    method: str,
    ask_method: Callable[[str, Path, Path], None],
    planted: Planted,
    scratch: Path,
) -> Row:
    answer = scratch / f"{method.replace(' ', '_')}.json"
    ask_method(method, scratch / "stack", answer)
    found = Found.model_validate_json(answer.read_bytes())
    row = score(f"{planes.name} {planes.axis}", case, method, planted, found)
    if not found.stopped:
        row = row.model_copy(update=level_figures(planes, planted, scratch / "stack", found))
    click.echo(f"{row.planes}, {case}, {method}: {row.mean_px or row.stopped}", err=True)
    return row


def as_markdown(rows: list[Row]) -> str:
    """The rows as a table."""
    head = (
        "| planes | case | method | mean px | worst px | constant px | 1, 2, 3, 4 apart | rows px | warp px "
        "| grey levels | unplaced, false | s / slice |"
    )
    lines = [head, "| --- " * 3 + "| ---: " * 9 + "|"]
    for row in rows:
        numbers = (row.mean_px, row.worst_px, row.constant_px, row.rows_px, row.warp_px)
        mean, worst, constant, rows_px, warp = ("–" if n is None else f"{n:.3f}" for n in numbers)
        apart = ", ".join(f"{n:.3f}" for n in row.by_distance_px)
        lines.append(
            f"| {row.planes} | {row.case} | {row.method} | {mean} | {worst} | {constant} | {apart} "
            f"| {rows_px} | {warp} | {_grey(row)} | {row.n_unplaced}, {row.false_alarms} "
            f"| {row.s_per_slice:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _grey(row: Row) -> str:
    """Errors of the grey levels: before, after, from slice to slice, and the most that a slice has lost."""
    figures = (row.levels_before, row.levels_after, row.levels_step, row.levels_further)
    before, after, step, further = ("–" if n is None else f"{n:.2f}" for n in figures)
    return f"{before} -> {after}, {step}, {further}"


if __name__ == "__main__":
    main()
