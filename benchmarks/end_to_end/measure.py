"""Runs the compiled pipeline as `fibstack run` does, and adds up what its tasks use."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path

import click
from pydantic import BaseModel

from benchmarks.end_to_end.shares import parts_of_steps, sampled
from components.shared.cores import available_cores
from components.shared.documents.config import RunConfig
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import read_pipeline, step_names
from pipeline.here.local import run_pipeline
from pipeline.here.processes import Ended, Failure, Processes
from pipeline.settings import Settings


class StepUse(BaseModel):
    """CPU time and memory that the tasks of a step have used."""

    n_tasks: int = 0
    cpu_s: float = 0.0
    """CPU seconds of all its processes, from their start to their end."""
    peak_mib: float = 0.0
    """Greatest resident memory of a process."""
    start_cpu_s: float = 0.0
    """CPU seconds of one process until it has loaded its libraries: what `--help` takes."""
    parts_s: dict[str, float] = {}
    """CPU seconds of each part of its work, as samples share them out; empty where none were taken."""

    @property
    def work_s(self) -> float:
        """CPU seconds beyond those that its processes take to start."""
        return self.cpu_s - self.n_tasks * self.start_cpu_s


class Measured(BaseModel):
    """CPU time and memory that a run on one stack has used."""

    n_slices: int
    side_px: int
    steps: dict[str, StepUse]
    """In the order of the data; the passes of the pyramid are one step."""
    wall_s: float
    error_px: float
    """Mean error of the alignment between neighbours."""

    @property
    def gigabytes(self) -> float:
        """Grey levels of the input."""
        return self.n_slices * self.side_px**2 / 1e9

    @property
    def cpu_s(self) -> float:
        """Of all steps."""
        return sum(use.cpu_s for use in self.steps.values())


class Tally:
    """Adds up what tasks use, tries that failed too (a `pipeline.here.local.Watcher`)."""

    def __init__(self, names: list[str]) -> None:
        self.steps = {_of(name): StepUse() for name in names}

    def expect(self, step: str, n_tasks: int) -> None:
        pass

    def started(self, step: str, item: str) -> None:
        pass

    def ended(self, step: str, item: str, ended: Ended) -> None:  # noqa: ARG002 - the protocol's signature
        use = self.steps[_of(step)]
        use.n_tasks += 1
        use.cpu_s += ended.cpu_s
        use.peak_mib = max(use.peak_mib, ended.peak_bytes / 2**20)

    def retrying(self, failure: Failure, pause_s: float) -> None:
        click.echo(f"{failure.step}: {failure.message} Trying again in {pause_s:.0f} s.", err=True)

    def failed(self, failure: Failure) -> None:
        pass

    def goes_on(self) -> None:
        pass

    def stopping(self) -> None:
        pass


def _of(name: str) -> str:
    """The step that a task belongs to: `pyramid-2` is a pass of `pyramid`."""
    return name.partition("-")[0]


def run(
    source: Path, image: str, output: Path, n_slices: int, *, with_parts: bool = False
) -> tuple[dict[str, StepUse], float]:
    """Run the pipeline with its default configuration; returns what its steps used, and wall seconds.

    Call it in a process that has loaded little: no task counts less memory than the one that starts it.

    Args:
        source: Folder of the slices.
        image: Pattern of their names.
        output: Where the volume is written.
        n_slices: Number of slices, from 0.
        with_parts: Sample what each step spends its time on, which adds some hundredths.

    Raises:
        RuntimeError: a task failed.
    """
    config = RunConfig(source=str(source), image=image, minz=0, maxz=n_slices - 1, output=str(output))
    pipeline = read_pipeline(compile_kfp(Settings()))
    tally = Tally(step_names(pipeline))
    logs = output.with_name(f"{output.name}-logs")
    started = time.monotonic()
    left = output.with_name(f"{output.name}-parts")
    with sampled(left) if with_parts else nullcontext():
        failure = run_pipeline(pipeline, config.model_dump(mode="json"), logs, available_cores(), tally)
    if failure is not None:
        raise RuntimeError(f"{failure.step} {failure.item} failed: {failure.message}")
    wall_s = time.monotonic() - started
    for step, parts_s in parts_of_steps(left).items():
        tally.steps[step].parts_s = parts_s
    for step, use in tally.steps.items():
        argv = [sys.executable, "-m", f"components.{step}.main", "--help"]
        use.start_cpu_s = Processes().run(argv, logs, logs / "help.txt").cpu_s
    return tally.steps, wall_s
