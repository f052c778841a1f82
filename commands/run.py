"""`fibstack run` and `fibstack resolve`: the pipeline on this machine."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from commands.options import SETTINGS, config_options, given_config, help_of, settings_of
from commands.resolve import resolved_config
from commands.run_here import Extent, run_here
from components.shared.cores import available_cores
from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError
from pipeline.here.processes import Processes
from pipeline.settings import STEPS, Settings, Step

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _run_options(function: _Function) -> _Function:
    """The options of every run."""
    for decorate in reversed(
        (
            click.option(
                "--until",
                type=click.Choice(STEPS),
                default="report",
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
        )
    ):
        function = decorate(function)
    return function


@click.command()
@config_options
@click.option(
    "--from",
    "again_from",
    type=click.Choice(STEPS),
    help="Do this step and all later ones again, though they are done; what is there stays until then.",
)
@_run_options
def run(
    config_path: Path | None,
    changes: tuple[str, ...],
    again_from: Step | None,
    until: Step,
    runner: str,
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
    **flags: str | None,
) -> None:
    """Run the whole pipeline on this machine, or a part of it.

    CONFIG.yaml holds 'key: value' lines (YAML or JSON); flags and --set overrule it. Relative folders count
    from the folder where you are. A run that was stopped goes on where it was: give the same command again.

    Exit code: 0 the volume is complete and verified (with --until: the step is done), 65 bad input, 75 try
    again, 78 bad configuration.
    """
    if again_from is not None and STEPS.index(again_from) > STEPS.index(until):
        raise ConfigError(
            f"--from must not name a later step than --until; got --from {again_from} --until {until}. "
            f"Change one of them."
        )
    config = given_config(config_path, flags, changes)
    _run(config, Extent(until, again_from), runner, jobs, settings_of(settings_path), log_dir)


@click.command()
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
@_run_options
def resolve(
    output: str,
    overrides: str | None,
    changes: tuple[str, ...],
    until: Step,
    runner: str,
    jobs: int | None,
    settings_path: Path | None,
    log_dir: Path | None,
) -> None:
    """Solve a run anew without matching again.

    OUTPUT is the output of an earlier run, whose configuration is taken from its records. Overrides and other
    keys may change, but not those that say what is matched and how. Only the parts of the volume that come
    out differently are written again; with --until compose, none of them yet.
    """
    config = resolved_config(output, overrides, changes)
    _run(config, Extent(until), runner, jobs, settings_of(settings_path), log_dir)


def _run(
    config: RunConfig,
    extent: Extent,
    runner: str,
    jobs: int | None,
    settings: Settings,
    log_dir: Path | None,
) -> None:
    processes = _containers(config, settings) if runner == "docker" else _processes()
    run_here(config, settings, extent, processes, jobs or available_cores(), log_dir or _default_log_dir())


def _processes() -> Processes:
    """Refuse to start where the steps' libraries are missing: each task would fail, and be tried again."""
    for module in ("cv2", "tensorstore"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    return Processes()


def _containers(config: RunConfig, settings: Settings) -> Processes:
    from pipeline.here.containers import Containers
    from pipeline.here.sandbox import sandbox_for

    images = [settings.image(step) for step in STEPS]
    return Containers(sandbox_for(config, images, notifier=settings.image("report")))


def _default_log_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state, "fibstack/runs")
