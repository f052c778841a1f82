"""`fibstack doctor`: what stands in the way of a run, and the command that mends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from commands.doctor.cluster import (
    KUBEFLOW,
    check_argo,
    check_claim,
    check_kfp,
    check_secrets,
    check_vertex,
    installed_template,
    is_of_this_version,
    namespace_of,
    sees_kubeflow,
)
from commands.doctor.findings import Finding, Use
from commands.doctor.machine import check_disk, check_engine, check_folder, check_machine
from commands.options import SETTINGS, settings_of
from components.shared.documents.config import RunConfig
from components.shared.errors import FibstackError, UserError
from components.shared.storage.schemes import scheme_of
from pipeline.configuration import absolute, read_config
from pipeline.settings import Settings
from pipeline.submit.runs import claims_of, pod_mounts, require_reachable

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command(epilog="\b\nExamples:\n  fibstack doctor\n  fibstack doctor run.yaml --target argo")
@click.argument("what", required=False, metavar="[CONFIG.yaml|FOLDER|URI]")
@click.option("--runner", type=click.Choice(["process", "docker"]), default="process", show_default=True)
@click.option(
    "--target", type=click.Choice(["kfp", "vertex", "argo"]), help="Check a cluster, not this machine."
)
@click.option("--host", default="", help="Address of Kubeflow Pipelines.  [default: http://localhost:8080]")
@click.option("--namespace", default="", help="Namespace on Argo, profile on Kubeflow.")
@SETTINGS
def doctor(
    what: str | None, runner: str, target: str | None, host: str, namespace: str, settings_path: Path | None
) -> None:
    """Say what stands in the way of a run, and which command mends it. Changes nothing.

    Looks at this machine, or with --target at a cluster; and at source and output of a CONFIG.yaml, at a
    folder, a gs:// or s3:// URI, or the https:// address of a volume. Servers of S3 differ: what a run relies
    on is tried with a small object beside the results, which is removed.

    Exit code: 0 nothing is wrong, 65 something is.
    """
    findings = _findings(what, runner, target, host, namespace, settings_path)
    n_wrong = 0
    for finding in findings:
        n_wrong += finding.state == "wrong"
        click.echo(f"{_MARKS[finding.state]}  {finding.text}")
        if finding.remedy:
            click.echo(f"       -> {finding.remedy}")
    click.echo(f"{n_wrong} wrong." if n_wrong else "Nothing is wrong.")
    sys.exit(UserError.exit_code if n_wrong else 0)


def _findings(
    what: str | None, runner: str, target: str | None, host: str, namespace: str, settings_path: Path | None
) -> Iterator[Finding]:
    try:
        settings = settings_of(settings_path)
        config = read_config(Path(what), {}, ()) if what and Path(what).is_file() else None
        if target == "argo":
            yield from check_argo(namespace, on_volume=config is not None and bool(_folders(config)))
        elif target == "kfp":
            yield from check_kfp(host or "http://localhost:8080")
        elif target == "vertex":
            yield from check_vertex()
        else:
            yield from check_machine(settings)
            if runner == "docker":
                yield from check_engine(settings)
        if settings.secrets and (target == "argo" or (target == "kfp" and sees_kubeflow())):
            yield from check_secrets(settings.secrets, _namespace(target, namespace))
        if config:
            unseen = _folders(config) if target else []
            if unseen:
                given = settings if settings_path else None
                yield from _check_volume(config, unseen, target or "", namespace, given)
            yield from _check_config(config, unseen)
        elif what:
            yield from _check_place(what, "look")
    except FibstackError as error:
        yield Finding("wrong", str(error))


def _folders(config: RunConfig) -> list[str]:
    """The locations of a configuration that are folders, not in a bucket."""
    locations = (config.source, config.output, config.overrides)
    return [location for location in locations if location and not scheme_of(location).is_remote]


def _check_volume(
    config: RunConfig, folders: list[str], target: str, namespace: str, settings: Settings | None
) -> Iterator[Finding]:
    """Check that folders lie on a volume that every pod of the target sees.

    Args:
        config: What is to run.
        folders: Its locations that are folders.
        target: What runs it.
        namespace: Where the pods run; empty for the usual one.
        settings: What the pipeline is compiled with; None where a template is installed.

    Raises:
        ConfigError: they do not.
    """
    mounts: Sequence[str] = ()
    claims: list[str] = []
    if target == "argo" and settings is None:
        template = installed_template(namespace)
        if not is_of_this_version(template):
            names = " and ".join(folders)
            text = f"{names} must be on a volume of the cluster: no template of this version says which"
            yield Finding("note", text)
            return
        spec = template["spec"]
        try:
            mounts, claims = pod_mounts(spec), claims_of(spec)
        except (AttributeError, LookupError, TypeError):
            text = "the WorkflowTemplate must be fibstack's; the one there tells no volumes of its pods"
            yield Finding("wrong", text, "kubectl apply -k manifests/gke/local-volume")
            return
    elif settings is not None and settings.volume and target != "vertex":
        mounts, claims = settings.mounts, [settings.volume.claim]
    require_reachable(config, mounts)
    where = " and ".join(mounts)
    yield Finding(
        "note",
        f"{' and '.join(folders)}: on the volume that every pod has at {where}; not looked at from here",
    )
    if target == "kfp" and not sees_kubeflow():
        return  # kubectl's context is another cluster, or shows too little
    for claim in claims:
        yield from check_claim(claim, _namespace(target, namespace))


def _namespace(target: str, namespace: str) -> str:
    """Where the pods of a target run."""
    return namespace_of(namespace) if target == "argo" else namespace or KUBEFLOW


def _check_config(config: RunConfig, unseen: list[str]) -> Iterator[Finding]:
    """Check source and output of a run.

    Args:
        config: What is to run.
        unseen: Locations on a volume of the cluster, which this machine does not see.
    """
    seen = [place for place in (config.source, config.output) if place not in unseen]
    clouds = [scheme_of(place).cloud for place in seen]
    if "google" in clouds:
        from commands.doctor import buckets

        yield buckets.check_login()
    if "aws" in clouds:
        from commands.doctor import s3

        yield s3.check_login()
    found = list(_check_place(config.source, "read")) if config.source in seen else []
    yield from found
    if config.output in seen:
        yield from _check_place(config.output, "write", config.project)
    if config.source not in seen or any(finding.state == "wrong" for finding in found):
        return
    from components.shared.storage.registry import open_store

    source = open_store(config.source)
    for image in (config.image, f"raw/{config.image}"):  # the second as in the older workflow
        sizes = [stat.size_bytes for stat in source.list(image.partition("%")[0])]
        if sizes:
            yield Finding("ok", f"{len(sizes):,} files like {image} in {config.source}")
            if config.output in seen:
                yield from check_disk(config, sum(sizes))
            return
    yield Finding("wrong", f"no files like {config.image} in {config.source}", "change 'source' or 'image'")


def _check_place(location: str, use: Use, project: str = "") -> Iterator[Finding]:
    if scheme_of(location).cloud or location.startswith(("http://", "https://")):
        from commands.doctor import buckets

        yield from buckets.check_place(location, use, project)
    else:
        yield from check_folder(absolute(location), use)
