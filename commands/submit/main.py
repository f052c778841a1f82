"""`fibstack submit`: start a run on a cluster."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from commands.buckets import make_buckets
from commands.options import SETTINGS, config_options, given_config, settings_of
from components.shared.errors import ConfigError
from pipeline.submit.runs import NOT_TAKEN_UP, units_hint
from pipeline.submit.targets import target_of


@click.command(epilog="\b\nExample:\n  fibstack submit run.yaml --target argo")
@config_options
@click.option(
    "--target",
    type=click.Choice(["kfp", "vertex", "argo"]),
    required=True,
    help="What runs the pipeline: Kubeflow, Vertex AI, or Argo Workflows in kubectl's current context.",
)
@click.option("--host", default="", help="Address of Kubeflow Pipelines, the one of its pages.")
@click.option("--project", "cloud_project", default="", help="Google Cloud project of Vertex AI.")
@click.option("--region", default="", help="Region of Vertex AI, such as europe-west4.")
@click.option(
    "--pipeline-root",
    default="",
    metavar="gs://..",
    help="Where Vertex AI keeps what steps hand to each other.  [default: a folder of the records]",
)
@click.option(
    "--namespace",
    default="",
    help="Namespace on Argo, profile on Kubeflow.  [default: that of kubectl's context, your own profile]",
)
@click.option(
    "--service-account",
    default="",
    help="Account of the run on Kubeflow or Vertex AI; Argo takes it from --settings.",
)
@click.option(
    "--stub",
    "is_stub",
    is_flag=True,
    help="Do none of the work: start every program, let it prove its rights, wait, and clean up.",
)
@SETTINGS
def submit(
    what: str | None,
    changes: tuple[str, ...],
    settings_path: Path | None,
    target: str,
    host: str,
    cloud_project: str,
    region: str,
    pipeline_root: str,
    namespace: str,
    service_account: str,
    is_stub: bool,
    **flags: str | None,
) -> None:
    """Start a run on a cluster.

    CONFIG.yaml, the flags of the configuration and --set are those of 'fibstack run'; source and output must
    be in buckets, or on a volume of the cluster. Prints the name of the run, which 'fibstack status' and
    'fibstack logs' take.

    With --stub, every step is started with its image, account and machine, uses what it would use of source
    and output, and ends; it says of each step what failed, and what to do.

    Exit code: 0 the run has started, or every step of the stub went through; 65 it was refused, or a step
    failed; 75 try again, 78 bad configuration.
    """
    own = {
        "host": ("kfp",),
        "project": ("vertex",),
        "region": ("vertex",),
        "pipeline-root": ("vertex",),
        "namespace": ("kfp", "argo"),
        "service-account": ("kfp", "vertex"),
    }
    given = {
        "host": host,
        "project": cloud_project,
        "region": region,
        "pipeline-root": pipeline_root,
        "namespace": namespace,
        "service-account": service_account,
    }
    _check_options(target, own, given)
    config = given_config(what, flags, changes)
    settings = settings_of(settings_path)
    make_buckets(config)
    stub = ""
    if is_stub:
        # Imported here, before anything is started: a laptop that only submits has no storage libraries.
        from commands.submit.stub import new_stub, see_through, service_folder

        stub = new_stub()
        if target == "vertex":
            pipeline_root = pipeline_root or service_folder(config, stub)
    if target == "kfp":
        from pipeline.submit import kubeflow

        reference = kubeflow.submit(config, settings, host, namespace, service_account, stub)
    elif target == "vertex":
        from pipeline.submit import vertex

        reference = vertex.submit(
            config, settings, cloud_project, region, pipeline_root, service_account, stub
        )
        click.echo(f"Page:   {vertex.link(reference)}")
    else:
        from pipeline.submit import argo

        reference = argo.submit(config, settings if settings_path else None, namespace, stub)
    click.echo(f"Run:    {reference}")
    click.echo(f"Status: fibstack status {shlex.quote(reference)}")
    click.echo(f"Logs:   fibstack logs {shlex.quote(reference)} [STEP]")
    service = target_of(reference)
    if service and is_stub:
        click.get_current_context().exit(see_through(service, reference, config, stub))
    click.echo(f"Units:  {units_hint(reference, config.output)}")
    if service and not service.is_taken_up(reference):
        click.echo(f"Note:   {NOT_TAKEN_UP}")


def _check_options(target: str, own: dict[str, tuple[str, ...]], given: dict[str, str]) -> None:
    """Refuse options of other targets, and ask for those that a target needs."""
    for option, value in given.items():
        if value and target not in own[option]:
            raise ConfigError(
                f"--{option} must go with --target {' or '.join(own[option])}; got --target {target}. "
                "Remove it."
            )
    for option in {"kfp": ("host",), "vertex": ("project", "region"), "argo": ()}[target]:
        if not given[option]:
            raise ConfigError(f"--target {target} must be given --{option}. Add it.")
