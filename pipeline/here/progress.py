"""Shows how a local run goes: bars on a terminal, plain lines elsewhere, and a table of what it used.

The time that is left is what was predicted for each step, corrected by how long tasks took so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from components.shared.text import count, duration
from pipeline.here.processes import Ended, Failure

_TRUST = 0.05
"""Weight of the prediction: it counts like this part of a run that went exactly as predicted."""
_MOST_OF_A_TASK = 0.9
"""A task that runs is taken to be done to at most this part."""


@dataclass(slots=True)
class StepUse:
    """Tasks that a step has done, and the time and memory that it has used so far."""

    n_expected: int | None = None
    n_done: int = 0
    running_since_s: dict[str, float] = field(default_factory=dict)
    """Start of each task that is running, on the monotonic clock, by the task's item."""
    done_s: float = 0.0
    """Sum of the run times of the tasks that are done."""
    first_start_s: float | None = None
    last_end_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0

    @property
    def n_running(self) -> int:
        return len(self.running_since_s)

    @property
    def wall_s(self) -> float:
        """Time from the start of the first task to the end of the last."""
        return 0.0 if self.first_start_s is None else self.last_end_s - self.first_start_s


@dataclass(frozen=True, slots=True)
class Prediction:
    """A step of a run that starts from nothing."""

    n_tasks: int
    task_s: float
    """CPU time of a task."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """The part of a run that is done, and the time that is left."""

    part_done: float
    """Fraction of all work that is done, 0 to 1."""
    left_s: float
    steps_left_s: dict[str, float]
    """Seconds left by step; a step of which nothing can be told is missing."""


def time_left(
    predicted: Mapping[str, Prediction], use: Mapping[str, StepUse], jobs: int, now_s: float
) -> TimeLeft:
    """Say how long a run and its steps will go on.

    The tasks of a step take as long as those that are done. Where none is, they take what was predicted,
    times how much longer than predicted the tasks of the run have taken so far.

    Args:
        predicted: The work of steps; nothing can be told of one that is not in it until a task is done.
        use: What each step of this run has done.
        jobs: Most tasks at a time.
        now_s: On the clock of the starts.

    Example:
        >>> predicted = {"align": Prediction(4, 10.0), "tile": Prediction(2, 10.0)}
        >>> use = {"align": StepUse(4, n_done=2, done_s=40.0, first_start_s=0.0), "tile": StepUse()}
        >>> left = time_left(predicted, use, jobs=1, now_s=40.0)
        >>> round(left.part_done, 2), left.steps_left_s["align"], round(left.left_s)
        (0.33, 40.0, 77)
    """
    slowness = _slowness(predicted, use, now_s)
    whole, done = 0.0, 0.0
    left: dict[str, float] = {}
    for step, used in use.items():
        prediction = predicted.get(step, Prediction(0, 0.0))
        n_tasks = prediction.n_tasks if used.n_expected is None else used.n_expected
        task_s = used.done_s / used.n_done if used.n_done else prediction.task_s * slowness
        if not task_s:
            continue
        ages = (now_s - since_s for since_s in used.running_since_s.values())
        n_begun = used.n_done + sum(min(age / task_s, _MOST_OF_A_TASK) for age in ages)
        n_left = max(0.0, n_tasks - n_begun)
        n_at_once = max(1, min(jobs, n_tasks - used.n_done))
        left[step] = n_left * task_s / n_at_once
        whole += n_tasks * prediction.task_s
        done += (n_tasks - n_left) * prediction.task_s
    return TimeLeft(done / whole if whole else 0.0, sum(left.values()), left)


def _slowness(predicted: Mapping[str, Prediction], use: Mapping[str, StepUse], now_s: float) -> float:
    """Time over predicted time, of the tasks that are done or ought to be."""
    trusted_s = _TRUST * sum(prediction.n_tasks * prediction.task_s for prediction in predicted.values())
    taken_s = predicted_s = trusted_s
    for step, prediction in predicted.items():
        used = use.get(step, StepUse())
        ages = (now_s - since_s for since_s in used.running_since_s.values())
        late = [age for age in ages if age > prediction.task_s]
        taken_s += used.done_s + sum(late)
        predicted_s += (used.n_done + len(late)) * prediction.task_s
    return taken_s / predicted_s if predicted_s else 1.0


LINE_EVERY_S = 1.0
"""A step prints at most one line in this time, besides its last."""
SILENT_AT_MOST_S = 50.0
"""A run that has printed nothing for so long prints a line: with the time until it is asked, one a minute."""
_BAR_WIDTH = 20
_ALL = "all"
Predict = Callable[[], Mapping[str, Prediction]]


class Progress:
    """Counts what happens (a `pipeline.here.local.Watcher`) and prints a line now and then."""

    def __init__(
        self, console: Console, steps: Sequence[str], jobs: int = 1, predict: Predict | None = None
    ) -> None:
        """Show the progress of some steps.

        Args:
            console: Where to.
            steps: Names of the steps, in their order.
            jobs: Most tasks at a time.
            predict: Called when the plan is made, and says how much work each step has.
        """
        self.use = {step: StepUse() for step in steps}
        self._console = console
        self._jobs = jobs
        self._predict = predict
        self._predicted: Mapping[str, Prediction] = {}
        self._started_s = time.monotonic()
        self._last_line_s = dict.fromkeys(steps, float("-inf"))
        self._last_print_s = self._started_s
        self._has_failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def expect(self, step: str, n_tasks: int) -> None:
        use = self._of(step)
        use.n_expected = (use.n_expected or 0) + n_tasks

    def started(self, step: str, item: str) -> None:
        use = self._of(step)
        use.running_since_s[item] = time.monotonic()
        if use.first_start_s is None:
            use.first_start_s = use.running_since_s[item]

    def ended(self, step: str, item: str, ended: Ended) -> None:
        use = self._of(step)
        use.running_since_s.pop(item, None)
        if ended.exit_code == 0:
            use.n_done += 1
            use.done_s += ended.wall_s
        use.last_end_s = time.monotonic()
        use.cpu_s += ended.cpu_s
        use.peak_bytes = max(use.peak_bytes, ended.peak_bytes)
        if step == "plan" and ended.exit_code == 0 and self._predict is not None:
            self._predicted = self._predict()
        if ended.exit_code == 0:
            self._show_done(step, ended)

    def retrying(self, failure: Failure, pause_s: float) -> None:
        self._print(f"{failure.step}: {failure.message} Trying again in {pause_s:.0f} s.")

    def failed(self, failure: Failure) -> None:
        running = sum(use.n_running for use in self.use.values())
        # The first failure is the run's, whose reason is the last that is said; nobody waits long to read it.
        is_said_soon = not self._has_failed and not running
        self._print(f"{failure.step} failed{'.' if is_said_soon else f': {failure.message}'}")
        self._has_failed = True
        if running:
            self._print(f"Waiting for {count(running, 'running task')}; nothing else starts.")

    def goes_on(self) -> None:
        now = time.monotonic()
        if now - self._last_print_s < SILENT_AT_MOST_S:
            return
        running = [f"{step} {self._counted(step)}" for step, use in self.use.items() if use.n_running]
        if running:
            words = [*running, f"{duration(now - self._started_s)} so far", self._in_all()]
            self._print("  ".join(filter(None, words)))

    def stopping(self) -> None:
        self._print("Stopping. Press Ctrl-C again to stop at once.")

    def _of(self, step: str) -> StepUse:
        return self.use.setdefault(step, StepUse())

    def _left(self) -> TimeLeft:
        return time_left(self._predicted, self.use, self._jobs, time.monotonic())

    def _in_all(self) -> str:
        """The part of the run that is done, and the time that is left; empty where nothing is predicted."""
        left = self._left()
        words = [f"all {left.part_done:.0%}", *_in_words(left.left_s)]
        return ", ".join(words) if self._predicted else ""

    def _counted(self, step: str) -> str:
        """The tasks of a step that are done, and how many it has."""
        use = self.use[step]
        return f"{use.n_done}/{use.n_expected}"

    def _print(self, text: str) -> None:
        self._last_print_s = time.monotonic()
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _show_done(self, step: str, ended: Ended) -> None:
        use = self.use[step]
        now = time.monotonic()
        if use.n_done == use.n_expected or now - self._last_line_s.get(step, 0.0) >= LINE_EVERY_S:
            self._last_line_s[step] = now
            words = [f"{step} {self._counted(step)}", duration(ended.wall_s), self._in_all()]
            self._print("  ".join(filter(None, words)))


class LiveProgress(Progress):
    """Shows a bar for each step, and one for the run, on a terminal."""

    def __init__(
        self, console: Console, steps: Sequence[str], jobs: int = 1, predict: Predict | None = None
    ) -> None:
        super().__init__(console, steps, jobs, predict)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR_WIDTH),
            _TextNow(self._count),
            _TextNow(self._times),
            console=console,
        )
        self._ids: dict[str, TaskID] = {}
        for step in steps:
            self._bar(step)
        self._all = self._bars.add_task(_ALL, total=1.0)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def expect(self, step: str, n_tasks: int) -> None:
        super().expect(step, n_tasks)
        self._update(step)

    def ended(self, step: str, item: str, ended: Ended) -> None:
        super().ended(step, item, ended)
        self._update(step)

    def goes_on(self) -> None:
        pass

    def _show_done(self, step: str, ended: Ended) -> None:
        pass

    def _bar(self, step: str) -> TaskID:
        if step not in self._ids:
            self._ids[step] = self._bars.add_task(step, total=1.0)
        return self._ids[step]

    def _update(self, step: str) -> None:
        use = self.use[step]
        n_tasks = use.n_expected or 0
        self._bars.update(
            self._bar(step),
            total=float(n_tasks) or 1.0,
            completed=use.n_done if n_tasks else 1.0,
        )
        self._bars.update(self._all, completed=self._left().part_done)

    def _count(self, step: str) -> str:
        """The text of a bar's count: tasks of a step that are done, or the fraction of all work."""
        if step == _ALL:
            return f"{self._left().part_done:.0%}" if self._predicted else ""
        use = self.use[step]
        return "" if use.n_expected is None else f"{use.n_done}/{use.n_expected}"

    def _times(self, step: str) -> str:
        """The text of a bar's times: taken and left by a step or by all, and the tasks that run."""
        now = time.monotonic()
        if step == _ALL:
            left = _in_words(self._left().left_s) if self._predicted else []
            return ", ".join([duration(now - self._started_s), *left])
        use = self.use[step]
        if use.n_expected == 0:
            return "nothing to do"
        if use.first_start_s is None:
            return ""
        if use.n_done == use.n_expected:
            return duration(use.wall_s)
        left = _in_words(self._left().steps_left_s.get(step, 0.0))
        running = [f"{use.n_running} running"] if use.n_running else []
        return ", ".join([duration(now - use.first_start_s), *left, *running])


class _TextNow(ProgressColumn):
    """Text that is asked for whenever the bars are drawn."""

    def __init__(self, text_of: Callable[[str], str]) -> None:
        super().__init__()
        self._text_of = text_of

    def render(self, task: Task) -> Text:
        return Text(self._text_of(task.description), no_wrap=True, overflow="ellipsis")


def progress_on(
    console: Console, steps: Sequence[str], jobs: int = 1, predict: Predict | None = None
) -> Progress:
    """The display that suits the console."""
    return (LiveProgress if console.is_terminal else Progress)(console, steps, jobs, predict)


def print_summary(console: Console, use: Mapping[str, StepUse]) -> None:
    """Print what each step did and used."""
    table = Table("step", box=None, padding=(0, 2, 0, 0))
    for column in ("tasks", "time", "CPU time", "peak MiB"):
        table.add_column(column, justify="right")
    for step, used in use.items():
        if used.first_start_s is not None:
            measured = (
                [_exact(used.cpu_s), f"{used.peak_bytes / 2**20:.0f}"] if used.peak_bytes else ["-"] * 2
            )
            table.add_row(escape(step), str(used.n_done), _exact(used.wall_s), *measured)
    console.print(table)


def _in_words(left_s: float) -> list[str]:
    """The time that is left; nothing where it is next to none, or not known."""
    return [f"{duration(left_s)} left"] if left_s >= 1 else []


def _exact(seconds: float) -> str:
    """A time of which tenths of a second count where it is short."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
