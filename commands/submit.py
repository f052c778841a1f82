"""`fibstack submit`, `fibstack status` and `fibstack logs`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from commands.buckets import make_buckets
from commands.options import SETTINGS, config_options, given_config, settings_of
from components.shared.errors import ConfigError, UserError
from pipeline.settings import STEPS
from pipeline.submit.runs import Log, RunState

_SHOWN_FAILURES = 5
_COLUMNS = ("done", "running", "failed", "waiting")


@click.command()
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
@SETTINGS
def submit(
    config_path: Path | None,
    changes: tuple[str, ...],
    settings_path: Path | None,
    target: str,
    host: str,
    cloud_project: str,
    region: str,
    pipeline_root: str,
    namespace: str,
    service_account: str,
    **flags: str | None,
) -> None:
    """Start a run on a cluster.

    CONFIG.yaml, the flags of the configuration and --set are those of 'fibstack run'; source and output must
    be in buckets. Prints the name of the run, which 'fibstack status' and 'fibstack logs' take.

    Exit code: 0 the run has started, 65 it was refused, 75 try again, 78 bad configuration.
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
    config = given_config(config_path, flags, changes)
    settings = settings_of(settings_path)
    make_buckets(config)
    if target == "kfp":
        from pipeline.submit import kubeflow

        reference = kubeflow.submit(config, settings, host, namespace, service_account)
    elif target == "vertex":
        from pipeline.submit import vertex

        reference = vertex.submit(config, settings, cloud_project, region, pipeline_root, service_account)
        click.echo(f"Page:   {vertex.link(reference)}")
    else:
        from pipeline.submit import argo

        reference = argo.submit(config, settings if settings_path else None, namespace)
    click.echo(f"Run:    {reference}")
    click.echo(f"Status: fibstack status {shlex.quote(reference)}")
    click.echo(f"Logs:   fibstack logs {shlex.quote(reference)} [STEP]")
    click.echo(f"Units:  fibstack status {shlex.quote(config.output)}")


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


@click.command()
@click.argument("run_or_output", metavar="OUTPUT|RUN")
def status(run_or_output: str) -> None:
    """Say how far a run is.

    OUTPUT, a folder or gs:// URI, counts the units of work that are done, from the records, wherever they are
    done. RUN, as 'fibstack submit' prints it, asks the service that runs it.
    """
    target = _target_of(run_or_output)
    if target is None:
        # Imported here: a laptop that only submits has no storage libraries.
        from commands.unit_counts import status_lines

        lines = status_lines(run_or_output)
    else:
        lines = _state_lines(target.state(run_or_output))
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("run")
@click.argument("step", required=False, default="", type=click.Choice(["", *STEPS]), metavar="[STEP]")
def logs(run: str, step: str) -> None:
    """Print what the tasks of a submitted RUN have said, those of one STEP or all."""
    target = _target_of(run)
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


def _target_of(reference: str) -> Any:  # noqa: ANN401 - a module
    """The module of the target that a run's reference names; None for what is no reference."""
    if "://" in reference and not reference.startswith(("gs://", "file://")):
        from pipeline.submit import argo, kubeflow, vertex

        for target in (kubeflow, argo, vertex):
            if target.is_reference(reference):
                return target
        raise ConfigError(
            f"a run must be named as 'fibstack submit' prints it: https://HOST/#/runs/details/ID, "
            f"argo://NAMESPACE/NAME or vertex://PROJECT/REGION/ID; got '{reference}'."
        )
    return None


def _state_lines(run: RunState) -> Iterator[str]:
    yield f"{run.name}: {run.state}" + (f", {_first_line(run.message)}" if run.message else "")
    counts = run.counts()
    if counts:
        yield f"{'step':8}" + "".join(f"{name:>9}" for name in _COLUMNS)
    for step, count in counts.items():
        yield f"{step:8}" + "".join(f"{count[name]:>9,}" for name in _COLUMNS)  # type: ignore[index]
    failures = [task for task in run.tasks if task.state == "failed" and task.message]
    for task in failures[:_SHOWN_FAILURES]:
        yield f"{task.name} failed: {_first_line(task.message)}"
    if run.output:
        yield f"Units: fibstack status {shlex.quote(run.output)}"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]


def _print_log(log: Log) -> None:
    click.echo(f"==> {log.title} <==")
    click.echo(log.text.rstrip("\n"))
