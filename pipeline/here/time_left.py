"""How long a run will go on: what was predicted for each step, corrected by how long tasks took so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_TRUST = 0.05
"""The prediction counts like so large a part of the run that went exactly as predicted."""
_MOST_OF_A_TASK = 0.9
"""A task that runs is taken to be done to at most this part."""


@dataclass(slots=True)
class StepUse:
    """What a step has done and used so far."""

    n_expected: int | None = None
    n_done: int = 0
    running_since_s: dict[str, float] = field(default_factory=dict)
    """When each task that runs was started, by its item."""
    done_s: float = 0.0
    """How long the tasks that are done have run, added up."""
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
    """What a run has before it."""

    part_done: float
    """Of all the work, 0 to 1."""
    left_s: float
    steps_left_s: dict[str, float]
    """Of each step of which it can be told."""


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
    """How much longer than predicted the tasks have taken that are done, or ought to be."""
    trusted_s = _TRUST * sum(prediction.n_tasks * prediction.task_s for prediction in predicted.values())
    taken_s = predicted_s = trusted_s
    for step, prediction in predicted.items():
        used = use.get(step, StepUse())
        ages = (now_s - since_s for since_s in used.running_since_s.values())
        late = [age for age in ages if age > prediction.task_s]
        taken_s += used.done_s + sum(late)
        predicted_s += (used.n_done + len(late)) * prediction.task_s
    return taken_s / predicted_s if predicted_s else 1.0
