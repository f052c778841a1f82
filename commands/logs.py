"""`fibstack logs`: the logs of a submitted run's tasks."""

from __future__ import annotations

import click

from components.shared.errors import UserError
from components.shared.steps import STEPS
from pipeline.submit.runs import Log
from pipeline.submit.targets import target_of


@click.command(epilog="\b\nExample:\n  fibstack logs argo://fibstack/align-stack-x7k2p tile")
@click.argument("run")
@click.argument("step", required=False, default="", type=click.Choice(["", *STEPS]), metavar="[STEP]")
def logs(run: str, step: str) -> None:
    """Print what the tasks of a submitted RUN have said, those of one STEP or all."""
    target = target_of(run)
    if target is None:
        raise UserError(
            f"logs must be given a run as 'fibstack submit' prints it; got {run}. "
            "'fibstack run' keeps its logs on this machine, in the folder that it prints."
        )
    n_tasks = 0
    for log in target.logs(run, step):
        n_tasks += 1
        _print_log(log)
    if not n_tasks:
        click.echo(f"No task{f' of {step}' if step else ''} has begun, or its logs are gone.", err=True)


def _print_log(log: Log) -> None:
    click.echo(f"==> {log.title} <==")
    click.echo(log.text.rstrip("\n"))
