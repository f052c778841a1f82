"""`fibstack status`: how far a run is, from its records or from the service that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from components.shared.errors import ConfigError, FibstackError
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import scheme_of
from components.shared.web import within
from pipeline.submit.runs import RunState, RunTask, says_why, units_hint
from pipeline.submit.targets import target_of

_MAX_SHOWN = 5
"""Failures, and reasons to wait, that are shown."""
_REFUSAL_S = 20
"""Time that the bucket of a run gets to tell why the run was refused."""
_COLUMNS = ("done", "running", "failed", "waiting")


@click.command(epilog="\b\nExample:\n  fibstack status aligned")
@click.argument("run_or_output", metavar="OUTPUT|RUN")
@click.option("--units", is_flag=True, help="Count the units of a RUN on Argo, in a short pod where it runs.")
def status(run_or_output: str, units: bool) -> None:
    """Say how far a run is.

    OUTPUT, a folder or URI, counts the units of work that are done, from the records, wherever they are
    done. RUN, as 'fibstack submit' prints it, asks the service that runs it; with --units a pod counts, which
    sees a volume of the cluster.
    """
    target = target_of(run_or_output)
    if units:
        _print_units(run_or_output)
        return
    if target is None:
        # Imported here: a laptop that only submits has no storage libraries.
        from components.report.unit_counts import status_lines

        lines = status_lines(run_or_output)
    else:
        lines = _state_lines(run_or_output, target.state(run_or_output))
    for line in lines:
        click.echo(line)


def _print_units(run: str) -> None:
    from pipeline.submit import argo

    if not argo.is_reference(run):
        raise ConfigError(
            f"--units must be given a run on Argo, argo://NAMESPACE/NAME; got {run}. "
            "Units in a folder or a bucket are counted by: fibstack status OUTPUT"
        )
    click.echo(argo.count_units(run), nl=False)


def _state_lines(reference: str, run: RunState) -> Iterator[str]:
    """The state of a submitted run, its tasks by step and state, its first failures, and why others wait."""
    said = _first_line(run.message)
    yield f"{run.name}: {run.state}" + (f", {said}" if said else "")
    counts = run.counts()
    if counts:
        yield f"{'step':8}" + "".join(f"{name:>9}" for name in _COLUMNS)
    for step, count in counts.items():
        yield f"{step:8}" + "".join(f"{count[name]:>9,}" for name in _COLUMNS)  # type: ignore[index]
    failures = [task for task in run.tasks if task.state == "failed" and task.message]
    for task in failures[:_MAX_SHOWN]:
        yield f"{task.name} failed: {_first_line(task.message)}"
    yield from _refusals(run.output, [task for task in run.tasks if task.state == "failed"])
    reasons = Counter(
        (task.step or task.name, _first_line(task.message))
        for task in run.tasks
        if task.state == "waiting" and task.message
    )
    for (name, reason), n_tasks in reasons.most_common(_MAX_SHOWN):
        yield f"{name}: {n_tasks:,} waiting, {reason}"
    if run.output:
        yield f"Units: {units_hint(reference, run.output)}"


def _refusals(output: str, failed: Sequence[RunTask]) -> Iterator[str]:
    """Why steps have refused their input, of which a service may keep only that they failed.

    Args:
        output: Where the run writes; the step leaves its sentence there.
        failed: The tasks that failed.
    """
    silent = {task.step for task in failed if not says_why(task.message)}
    if not silent or not scheme_of(output).is_remote:
        return
    try:
        # Imported here: a laptop that only submits has no storage libraries.
        from components.shared.storage.registry import open_store
        from components.shared.work.refusal import standing_refusal

        process = part_uri(output, "process")
        refusal = within(_REFUSAL_S, lambda: standing_refusal(open_store(process)))
    except (FibstackError, ModuleNotFoundError, OSError):
        return
    if refusal and refusal.step in silent:
        yield f"refused by {refusal.step}: {refusal.sentence}"


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
