"""Shows how a local run goes: bars on a terminal, plain lines elsewhere, and a table of what it cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

from pipeline.attempt import Failure
from pipeline.processes import Ended

LINE_EVERY_S = 1.0
"""A step prints at most one line in this time, besides its last."""


@dataclass(slots=True)
class StepUse:
    """What a step has done and used so far."""

    n_expected: int | None = None
    n_done: int = 0
    n_running: int = 0
    first_start_s: float | None = None
    last_end_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0

    @property
    def wall_s(self) -> float:
        """Time from the start of the first task to the end of the last."""
        return 0.0 if self.first_start_s is None else self.last_end_s - self.first_start_s


class Progress:
    """Counts what happens (a `pipeline.local.Watcher`) and prints a line now and then."""

    def __init__(self, console: Console, steps: Sequence[str]) -> None:
        self.use = {step: StepUse() for step in steps}
        self._console = console
        self._last_line_s = dict.fromkeys(steps, float("-inf"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def expect(self, step: str, n_tasks: int) -> None:
        self.use[step].n_expected = (self.use[step].n_expected or 0) + n_tasks

    def started(self, step: str, item: str) -> None:  # noqa: ARG002 - the protocol's signature
        use = self.use[step]
        use.n_running += 1
        if use.first_start_s is None:
            use.first_start_s = time.monotonic()

    def ended(self, step: str, item: str, ended: Ended) -> None:
        use = self.use[step]
        use.n_running -= 1
        use.n_done += ended.exit_code == 0
        use.last_end_s = time.monotonic()
        use.cpu_s += ended.cpu_s
        use.peak_bytes = max(use.peak_bytes, ended.peak_bytes)
        if ended.exit_code == 0:
            self._show_done(step, item, ended)

    def retrying(self, failure: Failure, pause_s: float) -> None:
        self._print(f"{_name(failure)}: {failure.message} Trying again in {pause_s:.0f} s.")

    def failed(self, failure: Failure) -> None:
        self._print(f"{_name(failure)} failed: {failure.message}")
        running = sum(use.n_running for use in self.use.values())
        if running:
            self._print(f"Waiting for {running} running tasks; nothing else starts.")

    def _print(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _show_done(self, step: str, item: str, ended: Ended) -> None:
        use = self.use[step]
        now = time.monotonic()
        if use.n_done == use.n_expected or now - self._last_line_s[step] >= LINE_EVERY_S:
            self._last_line_s[step] = now
            self._print(f"{step} {use.n_done}/{use.n_expected}  {item or '-'}  {ended.wall_s:.1f} s")


class LiveProgress(Progress):
    """Shows a bar for each step on a terminal."""

    def __init__(self, console: Console, steps: Sequence[str]) -> None:
        super().__init__(console, steps)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._ids: dict[str, TaskID] = {
            step: self._bars.add_task(step, start=False, total=None, note="") for step in steps
        }

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def expect(self, step: str, n_tasks: int) -> None:
        super().expect(step, n_tasks)
        nothing = "nothing to do" if self.use[step].n_expected == 0 else ""
        self._bars.update(self._ids[step], total=self.use[step].n_expected, note=nothing)

    def started(self, step: str, item: str) -> None:
        super().started(step, item)
        self._bars.start_task(self._ids[step])
        self._bars.update(self._ids[step], note=self._note(step))

    def ended(self, step: str, item: str, ended: Ended) -> None:
        super().ended(step, item, ended)
        self._bars.update(self._ids[step], note=self._note(step))

    def _show_done(self, step: str, item: str, ended: Ended) -> None:  # noqa: ARG002 - the line's arguments
        self._bars.update(self._ids[step], completed=self.use[step].n_done)

    def _note(self, step: str) -> str:
        running = self.use[step].n_running
        return f"{running} running" if running else ""


def progress_on(console: Console, steps: Sequence[str]) -> Progress:
    """The display that suits the console."""
    return (LiveProgress if console.is_terminal else Progress)(console, steps)


def print_summary(console: Console, use: dict[str, StepUse]) -> None:
    """Print what each step did and used."""
    table = Table("step", box=None, padding=(0, 2, 0, 0))
    for column in ("tasks", "wall s", "CPU s", "peak MiB"):
        table.add_column(column, justify="right")
    for step, used in use.items():
        if used.first_start_s is not None:
            measured = (
                [f"{used.cpu_s:.1f}", f"{used.peak_bytes / 2**20:.0f}"] if used.peak_bytes else ["-"] * 2
            )
            table.add_row(escape(step), str(used.n_done), f"{used.wall_s:.1f}", *measured)
    console.print(table)


def _name(failure: Failure) -> str:
    return f"{failure.step} {failure.item}".strip()
