"""`fibstack run`: the pipeline on this machine, whole or in part, and the sentences about how it went."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from commands.buckets import clear_away, make_buckets
from commands.dry_run import dry_run_option, list_changes
from commands.options import SETTINGS, config_options, given_config, same_command, settings_of
from commands.program import called_as
from components.shared.cores import available_cores
from components.shared.documents.config import RunConfig, differing_keys
from components.shared.errors import ConfigError, FibstackError
from components.shared.steps import STEPS, steps_from, steps_until
from components.shared.storage.run_buckets import part_uri
from components.shared.text import count, listed
from pipeline.here.processes import Failure, Processes
from pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.here.progress import Prediction, StepUse

_OVERRIDES_SHOWN = 3
"""Overrides that a sentence names."""
_COMMAND = re.compile(r'"fibstack .+?"(?=[.;)]|$)|--set [^\s.,)]+')
"""A command in a sentence, or a flag with its value."""
_UNFOLDED = "\xa0"
"""The space that `textwrap` does not fold at."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Extent:
    """The steps that a run does."""

    until: str = "report"
    """The last step."""
    again_from: str | None = None
    """The first step whose units are done again although they are complete; None for none."""


def run_options(function: _Function) -> _Function:
    """Decorator that adds the options of `run_as_asked` to a command."""
    for decorate in reversed(
        (
            click.option(
                "--until",
                type=click.Choice([*STEPS]),
                default="report",
                show_default=True,
                help="Stop when this step is done. The same command without it goes on.",
            ),
            click.option(
                "--runner",
                type=click.Choice(["process", "docker"]),
                default="process",
                show_default=True,
                help="How a task runs: as a process, or in a container of the images of `make images`.",
            ),
            click.option(
                "--jobs",
                type=click.IntRange(min=1),
                help="Most processes at a time.  [default: number of cores]",
            ),
            SETTINGS,
            click.option(
                "--log-dir",
                type=click.Path(path_type=Path),
                help="Folder that gets a folder of logs.  [default: ~/.local/state/fibstack/runs]",
            ),
            dry_run_option,
        )
    ):
        function = decorate(function)
    return function


@click.command(
    epilog="\b\nExamples:\n  fibstack run raw\n  fibstack run raw --set resolution=4 --output aligned\n"
    "  fibstack run run.yaml --until compose"
)
@config_options
@click.option(
    "--from",
    "again_from",
    type=click.Choice([*STEPS]),
    help="Do this step and all later ones again, though they are done; what is there stays until then.",
)
@run_options
def run(
    what: str | None,
    changes: tuple[str, ...],
    again_from: str | None,
    until: str,
    runner: str,
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
    dry_run: bool,
    **flags: str | None,
) -> None:
    """Run the whole pipeline on this machine, or a part of it.

    Of a FOLDER or URI of slices, their names tell the pattern and the numbers; the results go beside it, to
    FOLDER-aligned, or to --output. CONFIG.yaml holds 'key: value' lines (YAML or JSON); flags and --set
    overrule it. Relative folders count from the folder where you are. A run that was stopped goes on where
    it was: give the same command again.

    Exit code: 0 the volume is complete and verified (with --until: the step is done), 65 bad input, 75 try
    again, 78 bad configuration.
    """
    if again_from is not None and again_from not in steps_until(until):
        raise ConfigError(
            f"--from must not name a later step than --until; got --from {again_from} --until {until}. "
            f"Change one of them."
        )
    config = given_config(what, flags, changes)
    run_as_asked(config, Extent(until, again_from), runner, jobs, settings_path, log_dir, dry_run)


def run_as_asked(
    config: RunConfig,
    extent: Extent,
    runner: str,
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
    dry_run: bool,
) -> None:
    """Run with the values of `run_options`, or with their defaults; a dry run lists its changes."""
    settings = settings_of(settings_path)
    if dry_run:
        _list_changes(config, settings, extent)
        return
    processes = _containers(config, settings) if runner == "docker" else _processes()
    run_here(config, settings, extent, processes, jobs or available_cores(), log_dir or _default_log_dir())


def _processes() -> Processes:
    """Tasks as processes; refuses to start without the steps' libraries, since each task would fail."""
    for module in ("cv2", "tensorstore"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    return Processes()


def _containers(config: RunConfig, settings: Settings) -> Processes:
    from pipeline.here.containers import Containers, sandbox_for

    images = [settings.image(step) for step in STEPS]
    return Containers(sandbox_for(config, images, notifier=settings.image("report")))


def _default_log_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state, "fibstack/runs")


def run_here(
    config: RunConfig, settings: Settings, extent: Extent, processes: Processes, jobs: int, log_dir: Path
) -> None:
    """Compile, run, and say how it went; leaves with the exit code of a failure."""
    from pipeline.here.local import RunInterruptedError

    _announce_changes(config)
    started_s = time.time()
    try:
        failure, use = _run_steps(config, settings, extent, processes, jobs, log_dir)
    except (RunInterruptedError, KeyboardInterrupt) as interrupted:
        click.echo(f"Stopped. Go on with: {same_command('again_from')}", err=True)
        sys.exit(getattr(interrupted, "exit_code", 128 + signal.SIGINT))
    if failure is not None:
        click.echo(f"error: {failure.message}\nLog: {failure.log}", err=True)
        if "report" in use and use["report"].n_done and _has_page_since(config.output, started_s):
            click.echo(f"Report: {_page_uri(config.output)}", err=True)
        if extent.again_from:
            click.echo(f"Go on with: {same_command('again_from')}", err=True)
        known = {error.exit_code for error in FibstackError.__subclasses__()}
        sys.exit(failure.exit_code if failure.exit_code in known else 1)
    if extent.until == "report":
        clear_away(config)
        _print_result(config.output)
    else:
        _print_part(config.output, extent.until)


def _run_steps(
    config: RunConfig, settings: Settings, extent: Extent, processes: Processes, jobs: int, log_dir: Path
) -> tuple[Failure | None, Mapping[str, StepUse]]:
    """Run the steps; returns the first failure, and what each step has used."""
    # Imported here: kfp and rich take a second, and the help needs none of it.
    from rich.console import Console

    from pipeline.compiled.compile import compile_ir
    from pipeline.compiled.ir import read_pipeline, step_names, up_to
    from pipeline.here.local import run_pipeline
    from pipeline.here.progress import print_summary, progress_on

    text = compile_ir(settings)
    pipeline = read_pipeline(text)
    folder = _new_folder(log_dir.expanduser().absolute(), config.id)
    (folder / "pipeline.yaml").write_text(text)
    (folder / "config.json").write_text(config.model_dump_json(indent=1) + "\n")
    make_buckets(config)
    console = Console(stderr=True)
    console.print(f"Logs: {folder}", highlight=False, soft_wrap=True, markup=False)

    def run_part(last: str) -> tuple[Failure | None, dict[str, StepUse]]:
        part = up_to(pipeline, last)
        work = None if last == "plan" else partial(planned, console, config, settings)
        progress = progress_on(console, step_names(part), jobs, work)
        with progress:
            failure = run_pipeline(part, config.model_dump(mode="json"), folder, jobs, progress, processes)
        return failure, progress.use

    if extent.again_from:
        # First the plan: what it refuses, such as another stack in this output, must cost no record.
        failure, use = run_part("plan")
        if failure is not None:
            return failure, use
        n_units = _unseal(config, extent.again_from)
        click.echo(
            f"{extent.again_from} and all later steps are done again: {count(n_units, 'part')}.", err=True
        )
    failure, use = run_part(extent.until)
    print_summary(console, use)
    return failure, use


def _new_folder(log_dir: Path, run_id: str) -> Path:
    """A new folder for the logs of one run, named after the time."""
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


# The functions below read storage. They import it inside: a laptop that runs in containers has no such
# libraries, and does without what they would say.


def _announce_changes(config: RunConfig) -> None:
    """Say by which settings a run changes the volume that is published in its output, if there is one."""
    try:
        from components.plan.overrides import read_overrides
        from components.report.run_document import RUN_KEY, RunDocument
        from components.shared.documents.plan import plan_in
        from components.shared.documents.read_document import read_document
        from components.shared.storage.registry import open_store

        process = open_store(part_uri(config.output, "process"))
        published = read_document(process, RUN_KEY, RunDocument)
        if not published.complete:
            return
    except (FibstackError, ModuleNotFoundError):  # nothing is published, or the run itself says what is wrong
        return
    before, now = published.config.model_dump(mode="json"), config.model_dump(mode="json")
    said = [
        f"{key} from {json.dumps(before[key])} to {json.dumps(now[key])}"
        for key in differing_keys(published.config, config)
        if key not in ("source", "output")  # the places of the same slices and of the same volume
    ]
    with suppress(FibstackError):
        plan, overrides = plan_in(process), read_overrides(config)
        if plan.config.overrides == config.overrides and plan.overrides != overrides:
            said.append(f"other decisions in {config.overrides}")
        gone = [override.as_written for override in plan.overrides if override not in overrides]
        if gone:
            said.append(f"no longer decided is {listed(gone, _OVERRIDES_SHOWN)}")
    if said:
        click.echo(f"This would change what is published in {config.output}: {', '.join(said)}.", err=True)


def _list_changes(config: RunConfig, settings: Settings, extent: Extent) -> None:
    """List what a run would write and remove; ends as the run would where that is known to be refused."""
    from commands.run.changes import rehearse

    _announce_changes(config)
    found = rehearse(config, settings, extent.until, extent.again_from)
    list_changes(found.changes())
    if "pyramid" in steps_until(extent.until):
        click.echo("A shard that is black all over is not written.")
    if found.refusal is not None:
        raise found.refusal


def planned(console: Console, config: RunConfig, settings: Settings) -> dict[str, Prediction]:
    """Say what the plan has found of the input, before it costs time; returns the prediction."""
    with suppress(FibstackError, ModuleNotFoundError):
        from components.shared.documents.plan import PLAN_KEY, Plan
        from components.shared.documents.read_document import read_document
        from components.shared.storage.registry import open_store

        for finding in read_document(open_store(part_uri(config.output, "process")), PLAN_KEY, Plan).findings:
            sentence = f"{finding[0].upper()}{finding[1:]}."
            console.print(sentence, highlight=False, markup=False, soft_wrap=not console.is_terminal)
    return predict(config, settings)


def predict(config: RunConfig, settings: Settings) -> dict[str, Prediction]:
    """Estimate the work of each task of the pipeline, as `fibstack design` does, from the plan of the run.

    Returns:
        The prediction by task name; nothing where there is no plan or no library to read it.
    """
    try:
        from components.plan.estimate import estimate
        from components.plan.work import expected_volume
        from components.shared.documents.cost import parse_pods, read_prices
        from components.shared.documents.plan import plan_in
        from components.shared.storage.registry import open_store
        from pipeline.here.progress import Prediction

        process = open_store(part_uri(config.output, "process"))
        plan = plan_in(process)
        estimated = estimate(plan, expected_volume(plan), parse_pods(settings.pods), read_prices())
    except (FibstackError, ModuleNotFoundError):
        return {}
    tasks: Counter[str] = Counter()
    predictions = {}
    for step in estimated.steps:
        tasks[step.step] += 1
        name = step.step if tasks[step.step] == 1 else f"{step.step}-{tasks[step.step]}"
        predictions[name] = Prediction(step.n_pods, 3600 * step.core_hours / max(1, step.n_pods))
    return predictions


def _unseal(config: RunConfig, first: str) -> int:
    """Have the units of a step and of all later ones made again; returns their number."""
    from components.shared.documents.locations import locations_of
    from components.shared.storage.registry import open_store
    from components.shared.work.records import unseal
    from components.shared.work.superseded import note_all

    process = open_store(part_uri(config.output, "process"))
    note_all(process, locations_of(config))
    process.write("plan.json", process.read("plan.json"))  # the report counts the time from here
    return sum(unseal(process, step) for step in steps_from(first))


def _print_result(output: str) -> None:
    """Say where the volume is and what the report says of it."""
    click.echo(f"Volume: {part_uri(output, 'neuroglancer')}/jpeg")
    for line in _report_lines(output):
        click.echo(_indented(line, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    click.echo(f"Report: {_page_uri(output)}")
    click.echo(f"Look at it: {shlex.join([called_as(), 'view', output])}")


def _indented(line: str, width: int | None) -> str:
    """A line below a heading, folded at words but not in a command, which a shell would run in pieces.

    Args:
        line: The text.
        width: Characters of a line of the terminal; None for one line.

    Example:
        >>> print(_indented('Neighbours correlate at 0.9. Look: "fibstack view aligned".', 20))
          Neighbours
            correlate at
            0.9. Look:
            "fibstack view aligned".
    """
    if width is None:
        return f"  {line}"
    folded = textwrap.fill(
        _COMMAND.sub(lambda found: found.group().replace(" ", _UNFOLDED), line),
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return folded.replace(_UNFOLDED, " ")


def _page_uri(output: str) -> str:
    return f"{part_uri(output, 'process')}/report/index.html"


def _has_page_since(output: str, time_s: float) -> bool:
    """Whether the page of the report was written after a time, in seconds from 1970."""
    try:
        from components.shared.storage.registry import open_store

        found = open_store(part_uri(output, "process")).stat("report/index.html")
    except (FibstackError, ModuleNotFoundError):
        return False
    return found is not None and (found.written_s or 0.0) >= time_s


def _report_lines(output: str) -> list[str]:
    """The ready-made lines of `process/run.json`; none where the report wrote none."""
    try:
        from components.shared.storage.registry import open_store

        document = open_store(part_uri(output, "process")).read("run.json")
        lines = json.loads(document).get("summary", [])
    except (FibstackError, ModuleNotFoundError, ValueError, AttributeError):
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


def _print_part(output: str, until: str) -> None:
    """Say which results a run that was to stop early has left, and how it goes on."""
    click.echo(f"Stopped after {until}, as --until asks. The volume is NOT complete.")
    for line in _standing_lines(output, until):
        click.echo(f"  {line}")
    click.echo(f"Go on with: {same_command('until', 'again_from')}")


def _standing_lines(output: str, until: str) -> Iterator[str]:
    """The units that each step has done, and where its results lie; nothing without the storage libraries."""
    try:
        from components.report.unit_counts import read_status

        status = read_status(output)
    except (FibstackError, ModuleNotFoundError):
        return
    for done in status.counts:
        part, key = STEPS[done.step].result
        place = f"  {part_uri(output, part)}/{key}".rstrip("/") if done.step in steps_until(until) else ""
        yield f"{done}{place}"
    for uri in status.published:
        yield f"published by an earlier run: {uri}"
