"""`fibstack doctor`: what stands in the way of a run, and the command that mends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from commands.doctor.cluster import check_argo, check_kfp, check_vertex
from commands.doctor.findings import Finding, Use
from commands.doctor.machine import check_disk, check_engine, check_folder, check_machine
from commands.options import SETTINGS, settings_of
from components.shared.documents.config import RunConfig
from components.shared.errors import FibstackError, UserError
from components.shared.storage.schemes import scheme_of
from pipeline.configuration import absolute, read_config

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@click.argument("what", required=False, metavar="[CONFIG.yaml|FOLDER|URI]")
@click.option("--runner", type=click.Choice(["process", "docker"]), default="process", show_default=True)
@click.option(
    "--target", type=click.Choice(["kfp", "vertex", "argo"]), help="Check a cluster, not this machine."
)
@click.option("--host", default="", help="Address of Kubeflow Pipelines.")
@click.option("--namespace", default="", help="Namespace on Argo.")
@SETTINGS
def doctor(
    what: str | None, runner: str, target: str | None, host: str, namespace: str, settings_path: Path | None
) -> None:
    """Say what stands in the way of a run, and which command mends it. Changes nothing.

    Looks at this machine, or with --target at a cluster; and at source and output of a CONFIG.yaml, at a
    folder, a gs:// URI, or the https:// address of a volume.

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
        if target == "argo":
            yield from check_argo(namespace)
        elif target == "kfp":
            yield from check_kfp(host or "http://localhost:8080")
        elif target == "vertex":
            yield from check_vertex()
        else:
            yield from check_machine(settings)
            if runner == "docker":
                yield from check_engine(settings)
        if what and Path(what).is_file():
            yield from _check_config(read_config(Path(what), {}, ()))
        elif what:
            yield from _check_place(what, "look")
    except FibstackError as error:
        yield Finding("wrong", str(error))


def _check_config(config: RunConfig) -> Iterator[Finding]:
    if "google" in (scheme_of(config.source).cloud, scheme_of(config.output).cloud):
        from commands.doctor.buckets import check_login

        yield check_login()
    found = list(_check_place(config.source, "read"))
    yield from found
    yield from _check_place(config.output, "write", config.project)
    if any(finding.state == "wrong" for finding in found):
        return
    from components.shared.storage.registry import open_store

    source = open_store(config.source)
    for image in (config.image, f"raw/{config.image}"):  # the second as in the older workflow
        sizes = [stat.size_bytes for stat in source.list(image.partition("%")[0])]
        if sizes:
            yield Finding("ok", f"{len(sizes):,} files like {image} in {config.source}")
            yield from check_disk(config, sum(sizes))
            return
    yield Finding("wrong", f"no files like {config.image} in {config.source}", "change 'source' or 'image'")


def _check_place(location: str, use: Use, project: str = "") -> Iterator[Finding]:
    if scheme_of(location).cloud or location.startswith(("http://", "https://")):
        from commands.doctor import buckets

        yield from buckets.check_place(location, use, project)
    else:
        yield from check_folder(absolute(location), use)
