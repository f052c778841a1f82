"""`fibstack submit --stub`: waits for a stub, says what each step lacks, and removes what is left of it."""

from __future__ import annotations

import secrets
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from components.shared.documents.config import RunConfig
from components.shared.errors import TransientError, UserError
from components.shared.storage.schemes import folder_of, scheme_of
from components.shared.stub.scratch import remove_scratch, scratch_uris
from pipeline.submit.runs import task_state
from pipeline.submit.stub import Ending, follow, may_go_through_later, others, outcomes
from pipeline.submit.targets import Target


def new_stub() -> str:
    """A name for a stub that no other has."""
    return secrets.token_hex(4)


def service_folder(config: RunConfig, stub: str) -> str:
    """Folder for what the service itself writes, which is removed with the stub's own."""
    return f"{scratch_uris(config.output, stub, ome_zarr=False)['process']}/vertex"


def see_through(service: Target, reference: str, config: RunConfig, stub: str) -> int:
    """Wait for a stub, tell how it went and clean up; returns the exit code.

    Args:
        service: What runs it.
        reference: The run.
        config: What it tries.
        stub: Its name.
    """
    ending: Ending | None = None
    try:
        with _ended_by_sigterm():
            ending = follow(service, reference, lambda line: click.echo(line, err=True))
    finally:
        _clean_up(config, stub, has_cleared=ending is not None and ending.has_cleared)
    steps = outcomes(ending.state, reference)
    for outcome in steps:
        click.echo(f"{outcome.step:8} {'ok' if outcome.is_done else outcome.sentence}")
    for line in others(ending.state):
        click.echo(line)
    if all(outcome.is_done for outcome in steps) and task_state(ending.state.state) == "done":
        click.echo("Every step went through. The run is started by the same command without --stub.")
        return 0
    later = may_go_through_later(ending.state, steps)
    return TransientError.exit_code if later else UserError.exit_code


def _clean_up(config: RunConfig, stub: str, *, has_cleared: bool) -> None:
    """Remove what a stub has left; what stays is named with the command that removes it.

    A volume of the cluster is cleared by the last step, since this machine does not see it.
    """
    scheme, uris = scheme_of(config.output), scratch_uris(config.output, stub, ome_zarr=config.ome_zarr)
    if scheme.is_remote:
        failures = remove_scratch(uris)
        kept = [uris[part] for part in failures]
        reason = f"What the stub has written stays: {next(map(str, failures.values()), '')}"
    else:
        kept = [] if has_cleared else list(uris.values())
        reason = "The step that clears the volume of the cluster has not ended well."
    if kept:
        click.echo(reason, err=True)
        click.echo("Remove what is there with:", err=True)
        for uri in kept:
            click.echo(f"{scheme.removal} {shlex.quote(str(folder_of(uri) or uri))}", err=True)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End with SIGTERM as with Ctrl-C, so that what was begun is stopped."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
