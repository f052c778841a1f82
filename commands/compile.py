"""`fibstack compile`: the pipeline as Kubeflow, Vertex AI or Argo Workflows take it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.options import SETTINGS, settings_of
from components.shared.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.settings import Target


@click.command("compile", epilog="\b\nExample:\n  fibstack compile --target argo --output align-stack.yaml")
@click.option(
    "--target",
    type=click.Choice(["kfp", "vertex", "argo"]),
    default="kfp",
    show_default=True,
    help="What will run the pipeline: Kubeflow, Vertex AI, or Argo Workflows alone.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["ir", "manifest"]),
    default="ir",
    show_default=True,
    help="For Kubeflow: the IR that it takes for a run, or Kubernetes' objects Pipeline and PipelineVersion "
    "of 2.14 and newer, for kubectl apply.",
)
@SETTINGS
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write, or - for stdout.  [default: the file in manifests/, or stdout elsewhere]",
)
def compile_command(target: Target, form: str, settings_path: Path | None, output: Path | None) -> None:
    """Compile the pipeline to what is submitted."""
    # Imported here: kfp takes a second, and the help needs none of it.
    from pipeline.compiled.compile import MANIFESTS, compile_kfp_objects, compile_target

    settings = settings_of(settings_path)
    if form == "manifest":
        if target != "kfp":
            raise ConfigError(f"--as manifest must go with --target kfp; got --target {target}. Remove it.")
        text, path = compile_kfp_objects(settings), output or Path("-")
    else:
        text = compile_target(target, settings)
        path = output or (MANIFESTS[target] if MANIFESTS[target].parent.is_dir() else Path("-"))
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}. Change --output.") from None
    click.echo(f"Wrote {path}", err=True)
