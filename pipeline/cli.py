"""`fibstack`: run the pipeline here, compile it, and look at what came out."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from components.shared.config import RunConfig
from components.shared.cores import available_cores
from components.shared.errors import ConfigError, FibstackError
from components.shared.run_buckets import part_uri
from pipeline.buckets import clear_away, make_buckets
from pipeline.command import LazyCommand, Program
from pipeline.options import SETTINGS, config_options, given_config, help_of, settings_of
from pipeline.processes import Processes
from pipeline.resolve import resolved_config
from pipeline.settings import STEPS, Settings

if TYPE_CHECKING:
    from pipeline.compile import Target

_FILE = click.Path(path_type=Path)


def _default_log_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state, "fibstack/runs")


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fibstack", prog_name="fibstack")
def main() -> None:
    """Turn a stack of FIB-SEM slices into an aligned, browsable volume."""


main.add_command(LazyCommand("sample", "components.sample.main:main", "Make a small stack to try things on."))
main.add_command(
    LazyCommand("score", "components.sample.score:main", "Compare a run on a sample with the truth.")
)
main.add_command(LazyCommand("view", "components.report.view:main", "Look at a volume in the browser."))
main.add_command(LazyCommand("link", "components.report.link:main", "Print an address that shows a volume."))
main.add_command(LazyCommand("share", "components.report.share:main", "Let everybody look at a volume."))
main.add_command(
    LazyCommand("clio", "components.report.clio:main", "Print or post the clio-store record of a volume.")
)
main.add_command(
    LazyCommand("notebook", "components.report.notebook:main", "Write a notebook on the result of a run.")
)
main.add_command(LazyCommand("verify", "components.report.verify:main", "Read a finished volume again."))
main.add_command(
    LazyCommand("export", "components.pyramid.export:main", "Write a volume anew: contrast, quality, crop.")
)
main.add_command(
    LazyCommand(
        "explain-shards", "components.pyramid.explain_shards:main", "Levels, shards and bytes of a volume."
    )
)
main.add_command(
    LazyCommand("design", "pipeline.design:design", "Say what a run would do and cost; writes nothing.")
)
main.add_command(LazyCommand("doctor", "pipeline.doctor:doctor", "Say what stands in the way of a run."))
main.add_command(
    LazyCommand("data", "components.data.main:main", "Bring slices to a run, look after what it leaves.")
)
for _name, _help in (
    ("submit", "Start a run on Kubeflow, Vertex AI or Argo."),
    ("status", "Say how far a run is."),
    ("logs", "Print what the tasks of a submitted run have said."),
):
    main.add_command(LazyCommand(_name, f"pipeline.submit_cli:{_name}", _help))


_JOBS = click.option(
    "--jobs", type=click.IntRange(min=1), help="Most processes at a time.  [default: number of cores]"
)
_LOG_DIR = click.option(
    "--log-dir",
    type=_FILE,
    help="Folder that gets a folder of logs for this run.  [default: ~/.local/state/fibstack/runs]",
)


@main.command()
@config_options
@click.option(
    "--runner",
    type=click.Choice(["process", "docker"]),
    default="process",
    show_default=True,
    help="How a task runs: as a process, or in a container of the images that `make images` builds.",
)
@_JOBS
@SETTINGS
@_LOG_DIR
def run(
    config_path: Path | None,
    changes: tuple[str, ...],
    runner: str,
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
    **flags: str | None,
) -> None:
    """Run the whole pipeline on this machine.

    CONFIG.yaml holds 'key: value' lines (YAML or JSON); flags and --set overrule it. Relative folders count
    from the folder where you are. A run that was stopped goes on where it was: give the same command again.

    Exit code: 0 the volume is complete and verified, 65 bad input, 75 try again, 78 bad configuration.
    """
    config = given_config(config_path, flags, changes)
    settings = settings_of(settings_path)
    if runner == "docker":
        processes = _containers(config, settings)
    else:
        _require_steps()
        processes = Processes()
    _run(config, settings, processes, jobs or available_cores(), log_dir or _default_log_dir())


@main.command()
@click.argument("output")
@click.option(
    "--overrides",
    metavar="FILE",
    help=f"{help_of('overrides')} '' takes the decisions of an earlier file back.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key to change, such as trend=keep or force=true; repeatable.",
)
@_JOBS
@SETTINGS
@_LOG_DIR
def resolve(
    output: str,
    overrides: str | None,
    changes: tuple[str, ...],
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
) -> None:
    """Solve a run anew without matching again.

    OUTPUT is the output of an earlier run, whose configuration is taken from its records. Overrides and other
    keys may change, but not those that say what is matched and how. Only the parts of the volume that come
    out differently are written again.
    """
    config = resolved_config(output, overrides, changes)
    _require_steps()
    settings = settings_of(settings_path)
    _run(config, settings, Processes(), jobs or available_cores(), log_dir or _default_log_dir())


def _require_steps() -> None:
    """Refuse to start where the steps' libraries are missing: each task would fail, and be tried again."""
    for module in ("cv2", "tensorstore"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)


def _containers(config: RunConfig, settings: Settings) -> Processes:
    from pipeline.containers import Containers
    from pipeline.sandbox import sandbox_for

    images = [settings.image(step) for step in STEPS]
    return Containers(sandbox_for(config, images, notifier=settings.image("report")))


def _run(config: RunConfig, settings: Settings, processes: Processes, jobs: int, log_dir: Path) -> None:
    """Compile, run, and say how it went; leaves with the exit code of a failure."""
    from pipeline.compile import compile_kfp
    from pipeline.dataflow import steps
    from pipeline.ir import read_pipeline
    from pipeline.local import RunInterruptedError, run_pipeline
    from pipeline.progress import print_summary, progress_on

    text = compile_kfp(settings)
    pipeline = read_pipeline(text)
    folder = _new_folder(log_dir.expanduser().absolute(), config.id)
    (folder / "pipeline.yaml").write_text(text)
    (folder / "config.json").write_text(config.model_dump_json(indent=1) + "\n")
    make_buckets(config)
    console = Console(stderr=True)
    console.print(f"Logs: {folder}", highlight=False, soft_wrap=True, markup=False)
    progress = progress_on(console, steps(pipeline))
    try:
        with progress:
            failure = run_pipeline(
                pipeline, config.model_dump(mode="json"), folder, jobs, progress, processes
            )
    except RunInterruptedError as interrupted:
        click.echo("Stopped. Give the same command again to go on.", err=True)
        sys.exit(interrupted.exit_code)
    print_summary(console, progress.use)
    if failure is not None:
        click.echo(f"error: {failure.message}\nLog: {failure.log}", err=True)
        known = {error.exit_code for error in FibstackError.__subclasses__()}
        sys.exit(failure.exit_code if failure.exit_code in known else 1)
    clear_away(config)
    _print_result(config.output)


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
    click.echo(f"Look at it: fibstack view {output}")


def _report_lines(output: str) -> list[str]:
    """The ready-made lines of `process/run.json`; none where the report wrote none."""
    try:
        # Imported by name: a laptop that only submits, or runs in containers, has no storage libraries.
        storage = importlib.import_module("components.shared.storage")
        document = storage.open_store(part_uri(output, "process")).read("run.json")
        lines = json.loads(document).get("summary", [])
    except (FibstackError, ModuleNotFoundError, ValueError, AttributeError):
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


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
    from pipeline.compile import MANIFESTS, compile_target

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
