"""A run on this machine, whole or in part, and what is told about it."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from commands.buckets import clear_away, make_buckets
from commands.options import called_as, same_command
from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, FibstackError
from components.shared.storage.run_buckets import part_uri
from pipeline.here.attempt import Failure
from pipeline.here.processes import Processes
from pipeline.settings import STEPS, Settings, Step


@dataclass(frozen=True, slots=True)
class Extent:
    """Which steps are done."""

    until: Step = "report"
    """The last one."""
    again_from: Step | None = None
    """The first of those whose units are done again although they are complete."""


def run_here(
    config: RunConfig, settings: Settings, extent: Extent, processes: Processes, jobs: int, log_dir: Path
) -> None:
    """Compile, run, and say how it went; leaves with the exit code of a failure."""
    from pipeline.here.local import RunInterruptedError

    try:
        failure = _run(config, settings, extent, processes, jobs, log_dir)
    except (RunInterruptedError, KeyboardInterrupt) as interrupted:
        click.echo(f"Stopped. Go on with: {same_command('again_from')}", err=True)
        sys.exit(getattr(interrupted, "exit_code", 128 + signal.SIGINT))
    if failure is not None:
        click.echo(f"error: {failure.message}\nLog: {failure.log}", err=True)
        if extent.again_from:
            click.echo(f"Go on with: {same_command('again_from')}", err=True)
        known = {error.exit_code for error in FibstackError.__subclasses__()}
        sys.exit(failure.exit_code if failure.exit_code in known else 1)
    if extent.until == "report":
        clear_away(config)
        _print_result(config.output)
    else:
        _print_part(config.output, extent.until)


def _run(
    config: RunConfig, settings: Settings, extent: Extent, processes: Processes, jobs: int, log_dir: Path
) -> Failure | None:
    """Run the steps; returns the first failure."""
    from commands.prediction import predict
    from pipeline.compiled.compile import compile_kfp
    from pipeline.compiled.dataflow import steps, up_to
    from pipeline.compiled.ir import read_pipeline
    from pipeline.here.local import run_pipeline
    from pipeline.here.progress import print_summary, progress_on
    from pipeline.here.time_left import StepUse

    text = compile_kfp(settings)
    pipeline = read_pipeline(text)
    folder = _new_folder(log_dir.expanduser().absolute(), config.id)
    (folder / "pipeline.yaml").write_text(text)
    (folder / "config.json").write_text(config.model_dump_json(indent=1) + "\n")
    make_buckets(config)
    console = Console(stderr=True)
    console.print(f"Logs: {folder}", highlight=False, soft_wrap=True, markup=False)

    def run_part(last: Step) -> tuple[Failure | None, dict[str, StepUse]]:
        part = up_to(pipeline, last)
        work = None if last == "plan" else partial(predict, config, settings)
        progress = progress_on(console, steps(part), jobs, work)
        with progress:
            failure = run_pipeline(part, config.model_dump(mode="json"), folder, jobs, progress, processes)
        return failure, progress.use

    if extent.again_from:
        # First the plan: what it refuses, such as another stack in this output, must cost no record.
        failure, _ = run_part("plan")
        if failure is not None:
            return failure
        n_units = _unseal(config, extent.again_from)
        click.echo(f"{n_units:,} units of {extent.again_from} and later steps are done again.", err=True)
    failure, use = run_part(extent.until)
    print_summary(console, use)
    return failure


def _unseal(config: RunConfig, first: Step) -> int:
    """Have the units of a step and of all later ones made again; returns their number."""
    from components.shared.storage.store import open_store
    from components.shared.work.records import unseal

    process = open_store(part_uri(config.output, "process"))
    process.write("plan.json", process.read("plan.json"))  # the report counts the time from here
    return sum(unseal(process, step) for step in STEPS[STEPS.index(first) :])


def _new_folder(log_dir: Path, run_id: str) -> Path:
    """A folder for the logs of one run, named after the time."""
    name = time.strftime("%Y%m%d-%H%M%S") + (f"-{run_id}" if run_id else "")
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            folder = log_dir / (f"{name}-{attempt}" if attempt else name)
            if not folder.exists():
                folder.mkdir()
                return folder
    except OSError as error:
        raise ConfigError(f"cannot write logs to {log_dir}: {error.strerror}. Change --log-dir.") from None
    raise ConfigError(f"cannot find a free name for logs in {log_dir}. Change --log-dir.")


def _print_result(output: str) -> None:
    """Say where the volume is and what the report says of it."""
    click.echo(f"Volume: {part_uri(output, 'neuroglancer')}/jpeg")
    for line in _report_lines(output):
        click.echo(f"  {line}")
    click.echo(f"Report: {part_uri(output, 'process')}/report/index.html")
    click.echo(f"Look at it: {shlex.join([called_as(), 'view', output])}")


def _report_lines(output: str) -> list[str]:
    """The ready-made lines of `process/run.json`; none where the report wrote none."""
    try:
        # Imported here: a laptop that only submits, or runs in containers, has no storage libraries.
        from components.shared.storage.store import open_store

        document = open_store(part_uri(output, "process")).read("run.json")
        lines = json.loads(document).get("summary", [])
    except (FibstackError, ModuleNotFoundError, ValueError, AttributeError):
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


def _print_part(output: str, until: Step) -> None:
    """Say what a run that was to stop early has left, and how it goes on."""
    click.echo(f"Stopped after {until}, as --until asks. The volume is NOT complete.")
    for line in _standing_lines(output, until):
        click.echo(f"  {line}")
    click.echo(f"Go on with: {same_command('until', 'again_from')}")


def _standing_lines(output: str, until: Step) -> Iterator[str]:
    """How much each step has done, and where the results lie; nothing where it cannot be told here."""
    process, volume = part_uri(output, "process"), part_uri(output, "neuroglancer")
    places = {
        "plan": f"{process}/plan.json",
        "align": f"{process}/align",
        "compose": f"{process}/transforms.json",
        "tile": part_uri(output, "tmp"),
        "pyramid": f"{volume}/jpeg",
    }
    try:
        from commands.unit_counts import read_status

        status = read_status(output)
    except (FibstackError, ModuleNotFoundError):
        return
    asked = STEPS[: STEPS.index(until) + 1]
    for count in status.counts:
        yield f"{count}  {places[count.step]}" if count.step in asked else str(count)
    for uri in status.published:
        yield f"published by an earlier run: {uri}"
