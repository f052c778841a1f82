"""`python -m benchmarks.alignment`: make the cases, run the methods, print the table."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from benchmarks.alignment.cases import Case, cases_of, write_case
from benchmarks.alignment.method import METHODS, Found, ask
from benchmarks.alignment.scoring import Row, score
from benchmarks.alignment.table import as_markdown, shortfalls
from benchmarks.alignment.tissue import PhantomTissue, Tissue, real_tissue
from commands.sample.truth import Truth

ROWS_FILE = "rows.jsonl"


@click.command()
@click.option(
    "--data",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A real stack; may be repeated. Its pictures go to a temporary folder only.",
)
@click.option(
    "--sections",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A real stack of serial sections: moved further, and judged at 10 px instead of 2 px.",
)
@click.option("--case", "names", multiple=True, help="Only this case; may be repeated.")
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Only this method.")
@click.option("--phantom/--no-phantom", default=True, show_default=True, help="With the phantom's cases.")
@click.option("--quick", is_flag=True, help="16 slices a case, no long stack.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default="one a core", help="Methods at a time.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep answers and the table here; a case that is there is not run again.",
)
def main(
    folders: tuple[Path, ...],
    sections: tuple[Path, ...],
    names: tuple[str, ...],
    methods: tuple[str, ...],
    phantom: bool,
    quick: bool,
    jobs: int,
    out: Path | None,
) -> None:
    """Compare fibstack's alignment with its peers on stacks whose true alignment is known."""
    tissues: list[Tissue] = [PhantomTissue()] if phantom else []
    tissues += [real_tissue(folder, serial=False) for folder in folders]
    tissues += [real_tissue(folder, serial=True) for folder in sections]
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        answers = out or Path(scratch, "answers")
        rows = [
            row
            for tissue in tissues
            for case in cases_of(tissue, quick)
            if not names or case.name in names
            for row in _rows(case, methods or METHODS, jobs, answers, Path(scratch, "stack"))
        ]
    table = as_markdown(rows)
    click.echo("\n" + table)
    for sentence in shortfalls(rows):
        click.echo(f"- {sentence}")
    if out is not None:
        (out / "table.md").write_text(table)
        (out / ROWS_FILE).write_text("".join(f"{row.model_dump_json()}\n" for row in rows))


def _rows(case: Case, methods: tuple[str, ...], jobs: int, answers: Path, stack: Path) -> Iterator[Row]:
    """Write the case, let each method answer in a process of its own, score, and remove the pictures."""
    folder = answers / case.tissue.name / case.name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    left = [method for method in methods if not _answer(folder, method).exists()]
    if left or not (folder / "truth.json").exists():
        truth = write_case(case, stack)
        (folder / "truth.json").write_bytes(truth.to_json())
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            list(pool.map(lambda method: ask(method, stack, _answer(folder, method)), left))
        shutil.rmtree(stack)
    truth = Truth.model_validate_json((folder / "truth.json").read_bytes())
    for method in methods:
        found = Found.model_validate_json(_answer(folder, method).read_bytes())
        unmoved = _answer(folder.parent / "untouched", method)
        reference = Found.model_validate_json(unmoved.read_bytes()) if unmoved.exists() else None
        row = score(case, method, truth, found, reference)
        mean = "no answer" if row.mean_px is None else f"mean {row.mean_px:.3f} px, {row.n_failed} failed"
        click.echo(f"{row.tissue}, {row.case}, {row.method}: {mean} {row.stopped}", err=True)
        yield row


def _answer(folder: Path, method: str) -> Path:
    return folder / f"{method.replace(' ', '_')}.json"


if __name__ == "__main__":
    main()
