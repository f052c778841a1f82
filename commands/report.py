"""`fibstack report`: several runs on one page, the worst first."""

from __future__ import annotations

from pathlib import Path

import click

from components.shared.command import StepCommand
from components.shared.errors import ConfigError


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack report /em/runs/* --to morning.html")
@click.argument("outputs", metavar="OUTPUT...", nargs=-1, required=True)
@click.option(
    "--to",
    "page_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("runs.html"),
    show_default=True,
    help="File that receives the page.",
)
def report(outputs: tuple[str, ...], page_path: Path) -> None:
    """Show several runs on one page, the worst first.

    Each OUTPUT is the folder or URI of a run, whether it has ended or not. The page says of each how it went,
    names the slices that stand out, and leads to the run's own report, which lies in
    OUTPUT/process/report/index.html.
    """
    # Imported here: the help needs neither storage nor templates.
    from components.report.page.runs import WORDS, headline, read_run, runs_page

    rows = [read_run(output, page_path.resolve().parent) for output in outputs]
    try:
        page_path.write_text(runs_page(rows))
    except OSError as error:
        raise ConfigError(f"cannot write {page_path}: {error.strerror}. Change --to.") from None
    for row in rows:
        click.echo(f"{WORDS[row.tone]:6}  {row.name}: {row.headline}")
    click.echo(f"{headline(rows)} The page is {page_path}")
