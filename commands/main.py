"""`fibstack`: run the pipeline here, compile it, and look at what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.options import SETTINGS, settings_of
from commands.program import LazyCommand, Program
from components.shared.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.compiled.compile import Target


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fibstack", prog_name="fibstack")
def main() -> None:
    """Turn a stack of FIB-SEM slices into an aligned, browsable volume.

    'design' says what a run will do, 'run' does it, 'view' shows the volume; 'sample' makes slices to try
    this on. COMMAND --help explains each.
    """


main.add_command(LazyCommand("run", "commands.run:run", "Run the whole pipeline on this machine."))
main.add_command(LazyCommand("resolve", "commands.run:resolve", "Solve a run anew without matching again."))
main.add_command(LazyCommand("sample", "commands.sample.main:main", "Make a small stack to try things on."))
main.add_command(
    LazyCommand("score", "commands.sample.score:main", "Compare a run on a sample with the truth.")
)
main.add_command(LazyCommand("view", "commands.view.main:main", "Look at a volume in the browser."))
main.add_command(LazyCommand("link", "commands.view.link:main", "Print an address that shows a volume."))
main.add_command(LazyCommand("share", "commands.view.share:main", "Let everybody look at a volume."))
main.add_command(
    LazyCommand("clio", "commands.clio:main", "Print or post the clio-store record of a volume.")
)
main.add_command(
    LazyCommand("notebook", "commands.notebook:main", "Write a notebook on the result of a run.")
)
main.add_command(LazyCommand("verify", "commands.verify.main:main", "Read a finished volume again."))
main.add_command(
    LazyCommand("export", "commands.export.main:main", "Write a volume anew: contrast, quality, crop.")
)
main.add_command(
    LazyCommand(
        "explain-shards",
        "commands.shards.main:main",
        "Print levels, shards and bytes of a volume.",
    )
)
main.add_command(
    LazyCommand("design", "commands.design.main:design", "Say what a run would do and cost; writes nothing.")
)
main.add_command(LazyCommand("doctor", "commands.doctor.main:doctor", "Say what stands in the way of a run."))
main.add_command(
    LazyCommand("data", "commands.data.main:main", "Bring slices to a run, and look after what it leaves.")
)
for _name, _help in (
    ("submit", "Start a run on Kubeflow, Vertex AI or Argo."),
    ("status", "Say how far a run is."),
    ("logs", "Print what the tasks of a submitted run have said."),
):
    main.add_command(LazyCommand(_name, f"commands.submit:{_name}", _help))


@main.command("compile")
@click.option(
    "--target",
    type=click.Choice(["kfp", "vertex", "argo"]),
    default="kfp",
    show_default=True,
    help="What will run the pipeline: Kubeflow, Vertex AI, or Argo Workflows alone.",
)
@SETTINGS
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write, or - for stdout.  [default: the file in manifests/, or stdout elsewhere]",
)
def compile_command(target: Target, settings_path: Path | None, output: Path | None) -> None:
    """Compile the pipeline to what is submitted."""
    from pipeline.compiled.compile import MANIFESTS, compile_target

    text = compile_target(target, settings_of(settings_path))
    path = output or (MANIFESTS[target] if MANIFESTS[target].parent.is_dir() else Path("-"))
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}. Change --output.") from None
    click.echo(f"Wrote {path}", err=True)
