"""`fibstack design`: what a run would do and cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from commands.options import SETTINGS, config_options, given_config, run_command, settings_of
from components.shared.documents.cost import listed_prices, parse_pods, read_prices
from components.shared.errors import UserError
from components.shared.storage.schemes import scheme_of
from components.shared.text import PIPED_WIDTH

if TYPE_CHECKING:
    from pipeline.settings import Target


@click.command(epilog="\b\nExamples:\n  fibstack design raw\n  fibstack design gs://em/raw --target kfp")
@config_options
@click.option(
    "--target",
    type=click.Choice(["here", "kfp", "vertex", "argo"]),
    help="What will run it. A loop has at most 64 items on Kubeflow, 100 on Vertex AI and 200 on Argo.  "
    "[default: here, this machine; argo where the results go to a bucket]",
)
@SETTINGS
@click.option(
    "--prices",
    "prices_path",
    type=click.Path(path_type=Path),
    help="YAML table of prices.  [default: list prices of Google, or of Amazon for s3://, with their date]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def design(
    what: str | None,
    changes: tuple[str, ...],
    target: Literal["here"] | Target | None,
    settings_path: Path | None,
    prices_path: Path | None,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Say what a run would do and cost, and what looks wrong with the input.

    Takes what `fibstack run` takes: a FOLDER or URI of slices, or a CONFIG.yaml. Reads the listing of the
    slices and their headers, writes nothing, and ends with the whole command of the run.
    Of a run on this machine it says the time, the memory and the disk that it takes; of one on a cluster the
    hours and dollars, for the machines of --settings. All are estimates from measured rates.

    Exit code: 65 where the run would refuse the input.
    """
    # Imported when they are needed: whoever asks for --help may have no storage libraries.
    from rich.console import Console

    from commands.design import estimates, table

    config = given_config(what, flags, changes, to_stdout=not as_json)
    settings = settings_of(settings_path)
    prices = read_prices(prices_path) if prices_path else listed_prices(config.output)
    if target is None:
        target = "here" if scheme_of(config.output).is_folder else "argo"
    fan = settings.fan if target == "here" else settings.fan_on(target)
    found = estimates.design(
        config,
        fan,
        parse_pods(settings.pods),
        prices,
        is_here=target == "here",
        on_kubernetes=target in ("kfp", "argo"),
    )
    if as_json:
        click.echo(table.as_json(found))
    else:
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        table.print_design(Console(width=width, highlight=False), found, on_kfp=target == "kfp")
        is_filled = bool(found.refusal and found.plan.missing_z and not config.allow_gaps)
        run = config.model_copy(update={"allow_gaps": True}) if is_filled else config
        click.echo(f"\nRun it{', with the gaps filled,' if is_filled else ''} with:\n{run_command(run)}")
    if found.refusal:
        raise UserError(found.refusal)
