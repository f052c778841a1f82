"""`fibstack`: the group of all commands; each is imported when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands.program import LazyCommand, Program

if TYPE_CHECKING:
    from collections.abc import Callable


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  fibstack sample stack\n  fibstack run stack\n  fibstack view stack-aligned",
)
@click.version_option(package_name="fibstack", prog_name="fibstack")
def main() -> None:
    """Turn a stack of FIB-SEM slices into an aligned, browsable volume.

    'design' says what a run will do, 'run' does it, 'view' shows the volume; 'sample' makes slices to try
    this on. COMMAND --help explains each.
    """


def _command(name: str, short_help: str) -> Callable[[Callable[[], click.Command]], None]:
    """Decorator that adds a command to the group, under a name, with the function that imports it."""
    return lambda load: main.add_command(LazyCommand(name, load, short_help))


@_command("run", "Run the whole pipeline on this machine.")
def _run() -> click.Command:
    from commands.run.main import run

    return run


@_command("resolve", "Solve a run anew without matching again.")
def _resolve() -> click.Command:
    from commands.resolve import resolve

    return resolve


@_command("sample", "Make a small stack to try things on.")
def _sample() -> click.Command:
    from commands.sample.main import main as sample

    return sample


@_command("score", "Compare a run on a sample with the truth.")
def _score() -> click.Command:
    from commands.sample.score import main as score

    return score


@_command("view", "Look at a volume in the browser.")
def _view() -> click.Command:
    from commands.view.main import main as view

    return view


@_command("link", "Print an address that shows a volume.")
def _link() -> click.Command:
    from commands.view.link import main as link

    return link


@_command("share", "Let everybody look at a volume.")
def _share() -> click.Command:
    from commands.share.main import main as share

    return share


@_command("clio", "Print or post the clio-store record of a volume.")
def _clio() -> click.Command:
    from commands.clio import main as clio

    return clio


@_command("notebook", "Write a notebook on the result of a run.")
def _notebook() -> click.Command:
    from commands.notebook import main as notebook

    return notebook


@_command("verify", "Read a finished volume again.")
def _verify() -> click.Command:
    from commands.verify.main import main as verify

    return verify


@_command("report", "Show several runs on one page, the worst first.")
def _report() -> click.Command:
    from commands.report import report

    return report


@_command("export", "Write a volume anew: contrast, quality, crop.")
def _export() -> click.Command:
    from commands.export.main import main as export

    return export


@_command("apply", "Move points or place another stack as a run has.")
def _apply() -> click.Command:
    from commands.apply.main import main as apply

    return apply


@_command("explain-shards", "Print levels, shards and bytes of a volume.")
def _explain_shards() -> click.Command:
    from commands.shards.main import main as explain_shards

    return explain_shards


@_command("design", "Say what a run would do and cost; writes nothing.")
def _design() -> click.Command:
    from commands.design.main import design

    return design


@_command("doctor", "Say what stands in the way of a run.")
def _doctor() -> click.Command:
    from commands.doctor.main import doctor

    return doctor


@_command("data", "Bring slices to a run, and look after what it leaves.")
def _data() -> click.Command:
    from commands.data.main import main as data

    return data


@_command("submit", "Start a run on Kubeflow, Vertex AI or Argo.")
def _submit() -> click.Command:
    from commands.submit.main import submit

    return submit


@_command("status", "Say how far a run is.")
def _status() -> click.Command:
    from commands.status import status

    return status


@_command("logs", "Print what the tasks of a submitted run have said.")
def _logs() -> click.Command:
    from commands.logs import logs

    return logs


@_command("compile", "Compile the pipeline to what is submitted.")
def _compile() -> click.Command:
    from commands.compile import compile_command

    return compile_command
