"""The estimate of a run on this machine: time on its cores, memory at a time, and space on its disk."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

from commands.doctor.machine import memory_bytes
from components.plan.estimate import Estimate, StepEstimate
from components.shared.cores import available_cores
from components.shared.storage.schemes import folder_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The estimate of a run on this machine."""

    cores: int
    jobs: int
    """Tasks at a time: one for each core, or fewer where the memory holds no more."""
    steps_s: tuple[tuple[str, float], ...]
    """Wall time of each step, by its title."""
    used_bytes: int
    """Most memory at a time."""
    machine_bytes: int
    """Memory of the machine, or of its container."""
    largest_step: str
    """The step whose tasks need most memory."""
    stored_bytes: int
    """Space that is used while the run goes on."""
    kept_bytes: int
    """Space that its results take."""
    free_bytes: int | None
    """Free space where the results go; None where that is no folder."""

    @property
    def wall_s(self) -> float:
        return sum(seconds for _, seconds in self.steps_s)


def here(estimate: Estimate, output: str) -> Here:
    """Say what a run takes on this machine.

    Args:
        estimate: The estimate of the run.
        output: Where its results go.
    """
    cores, machine_bytes = available_cores(), memory_bytes()
    largest = max(estimate.steps, key=lambda step: step.memory_bytes)
    jobs = max(1, min(cores, machine_bytes // largest.memory_bytes))
    kept_bytes = estimate.output_bytes + estimate.process_bytes
    return Here(
        cores=cores,
        jobs=jobs,
        steps_s=tuple((step.title, _wall_s(step, jobs)) for step in estimate.steps),
        used_bytes=max(min(jobs, step.n_pods) * step.memory_bytes for step in estimate.steps),
        machine_bytes=machine_bytes,
        largest_step=largest.title,
        stored_bytes=kept_bytes + estimate.tiles_bytes,
        kept_bytes=kept_bytes,
        free_bytes=_free_bytes(output),
    )


def _wall_s(step: StepEstimate, jobs: int) -> float:
    """Time of a step whose tasks are alike, so many of them at a time."""
    return 3600 * step.core_hours / step.n_pods * math.ceil(step.n_pods / jobs)


def _free_bytes(output: str) -> int | None:
    folder = folder_of(output)
    if folder is None:
        return None
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free
