"""CPU seconds until programs have loaded what they need: for their help, and for the work of a local run."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.end_to_end.measure import StepUse, run
from commands.main import main as fibstack
from commands.sample.main import IMAGE_PATTERN
from components.shared.steps import STEPS
from pipeline.here.processes import Processes

FIBSTACK = str(Path(sys.executable).with_name("fibstack"))
_LOAD = """
import contextlib, importlib, sys
for name in sys.argv[1:]:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
"""
"""Loads modules; a few of a library's own can be loaded by that library alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """CPU seconds of starts, each the least of some rounds."""

    helps_s: dict[str, float]
    """CPU seconds of `fibstack COMMAND --help`, by command; "" is `fibstack --help`."""
    steps_help_s: dict[str, float]
    """CPU seconds of the program of a step with `--help`."""
    steps_work_s: dict[str, float]
    """CPU seconds of loading all modules that the program of a step has loaded when its work is done."""
    steps: dict[str, StepUse]
    """What the tasks of a local run of the sample have used."""


def starts(
    rounds: int, sample_options: tuple[str, ...] = (), commands: Iterable[str] = ("", *fibstack.commands)
) -> Starts:
    """Measure every command and step, and one local run of the sample.

    Args:
        rounds: Starts of each program; the least counts.
        sample_options: Options of `fibstack sample`.
        commands: Names of the commands; "" for none.
    """
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        folder = Path(scratch)
        return Starts(
            helps_s={
                name: _least_s([FIBSTACK, *([name] if name else []), "--help"], rounds, folder)
                for name in commands
            },
            steps_help_s={
                step: _least_s([sys.executable, "-m", f"components.{step}.main", "--help"], rounds, folder)
                for step in STEPS
            },
            steps=_run_sample(folder, sample_options),
            steps_work_s={
                step: _least_s([sys.executable, "-c", _LOAD, *_loaded_by(step, folder)], rounds, folder)
                for step in STEPS
            },
        )


def _least_s(argv: list[str], rounds: int, folder: Path) -> float:
    ended = [Processes().run(argv, folder, folder / "log.txt") for _ in range(rounds)]
    if any(one.exit_code for one in ended):
        raise RuntimeError(f"{argv[:3]} failed: {(folder / 'log.txt').read_text()[-2000:]}")
    return min(one.cpu_s for one in ended)


def _run_sample(folder: Path, options: tuple[str, ...]) -> dict[str, StepUse]:
    """Run the pipeline on a sample; the logs say which modules each task has loaded."""
    source = folder / "sample"
    _least_s([FIBSTACK, "sample", str(source), *options], 1, folder)
    os.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    n_slices = len([*source.glob("img.*.png")])
    try:
        steps, _ = run(source, IMAGE_PATTERN, folder / "volume", n_slices)
    finally:
        del os.environ["PYTHONPROFILEIMPORTTIME"]
    return steps


def _loaded_by(step: str, folder: Path) -> list[str]:
    """The modules that the tasks of a step have loaded, in their order."""
    logs = sorted((folder / "volume-logs").glob(f"{step}*/**/log.txt"))
    texts = [log.read_text() for log in logs]
    names = [name for text in texts for name in re.findall(r"^import time:.*\| +(\S+)$", text, re.MULTILINE)]
    return [*dict.fromkeys(name for name in names if name != "imported")]
