"""Time and memory of a process."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel


class Measured(BaseModel):
    """What one method has cost."""

    name: str
    wall_s: float
    cpu_s: float
    """CPU seconds of all threads of the writer, its start included."""
    start_cpu_s: float = 0.0
    """CPU seconds of the start of `pyramid`, which reads its run and finds nothing left; 0 of a library."""
    peak_mib: float
    """Greatest resident memory of the process, libraries included."""
    n_bytes: int
    """Written, or encoded."""


class Clock:
    """Wall and CPU seconds of this process, added up over `with` blocks."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> Clock:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        wall, cpu = self._started
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu


def peak_mib() -> float:
    """Greatest resident memory of this process so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def best(runs: list[Measured]) -> Measured:
    """The least time and memory of several runs of a method, each for itself.

    Example:
        >>> rest = {"name": "a", "peak_mib": 9, "n_bytes": 1}
        >>> runs = [Measured(wall_s=wall, cpu_s=cpu, **rest) for wall, cpu in [(1, 4), (2, 3)]]
        >>> best(runs).wall_s, best(runs).cpu_s
        (1.0, 3.0)
    """
    figures = ("wall_s", "cpu_s", "start_cpu_s", "peak_mib")
    return runs[0].model_copy(update={name: min(getattr(run, name) for run in runs) for name in figures})
