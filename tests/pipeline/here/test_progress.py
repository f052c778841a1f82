"""What a run shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.here import local
from pipeline.here.processes import Ended, Failure
from pipeline.here.progress import (
    LiveProgress,
    Prediction,
    Progress,
    StepUse,
    print_summary,
    progress_on,
    time_left,
)

FAILURE = Failure(step="tile", item="0-3", exit_code=65, message="[b]bad[/b] slice.", log=Path("log.txt"))


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def text_of(console: Console) -> str:
    return console.file.getvalue()


def run_tasks(progress: Progress, n: int) -> None:
    progress.expect("align", n)
    for index in range(n):
        progress.started("align", f"{index}-{index}")
        progress.ended("align", f"{index}-{index}", Ended(0, 2.0, 1.5, 100 * 2**20))


def test_display_suits_the_console() -> None:
    assert isinstance(progress_on(console(terminal=True), ["align"]), LiveProgress)
    assert type(progress_on(console(terminal=False), ["align"])) is Progress


def test_lines_are_bounded_and_the_last_is_always_there() -> None:
    out = console(terminal=False)
    with progress_on(out, ["align"]) as progress:
        run_tasks(progress, 500)
    lines = text_of(out).splitlines()
    assert lines[0] == "align 1/500  2 s"
    assert lines[-1] == "align 500/500  2 s"
    assert len(lines) < 10


@pytest.mark.parametrize("terminal", [True, False])
def test_failures_and_retries_are_shown_as_they_are(terminal: bool) -> None:
    out = console(terminal=terminal)
    with progress_on(out, ["tile"]) as progress:
        progress.expect("tile", 2)
        progress.started("tile", "0-3")
        progress.started("tile", "4-7")
        progress.ended("tile", "0-3", Ended(65, 1.0))
        progress.retrying(FAILURE, 20.0)
        progress.failed(FAILURE)
    assert "tile: [b]bad[/b] slice. Trying again in 20 s." in text_of(out)
    assert "tile failed: [b]bad[/b] slice." in text_of(out)
    assert "Waiting for 1 running task;" in text_of(out)


def test_the_reason_of_a_run_is_left_to_its_end_where_nothing_is_waited_for() -> None:
    out = console(terminal=False)
    with progress_on(out, ["tile"]) as progress:
        progress.failed(FAILURE)
        progress.failed(FAILURE)  # a later one is no reason of the run's
    assert text_of(out).splitlines() == ["tile failed.", "tile failed: [b]bad[/b] slice."]


def test_bars_show_counts_and_empty_loops() -> None:
    out = console(terminal=True)
    with progress_on(out, ["align", "pyramid-3"]) as progress:
        run_tasks(progress, 3)
        progress.expect("pyramid-3", 0)
    assert "3/3" in text_of(out)
    assert "nothing to do" in text_of(out)


def test_summary_adds_up() -> None:
    out = console(terminal=False)
    progress = Progress(out, ["align", "tile"])
    run_tasks(progress, 4)
    progress.started("align", "x")
    progress.ended("align", "x", Ended(1, 9.0, 0.5, 300 * 2**20))
    assert progress.use["align"].n_done == 4
    print_summary(out, progress.use)
    row = text_of(out).splitlines()[-1].split()
    assert row[:2] == ["align", "4"]
    assert row[4:] == ["6.5", "s", "300"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_pipe_gets_a_line_a_minute_at_least_with_the_time_left(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("pipeline.here.progress.time.monotonic", lambda: now[0])
    out = console(terminal=terminal)
    lines_at: list[float] = []
    with progress_on(out, ["plan", "align"], 2, lambda: {"align": Prediction(4, 500.0)}) as progress:
        progress.expect("plan", 1)
        progress.started("plan", "")
        progress.ended("plan", "", Ended(0, 1.0))
        progress.expect("align", 4)
        progress.started("align", "0-3")
        progress.started("align", "4-7")
        n_lines = text_of(out).count("\n")
        for _ in range(60):
            now[0] += local.TOLD_EVERY_S
            progress.goes_on()
            if text_of(out).count("\n") > n_lines:
                n_lines += 1
                lines_at.append(now[0])
    if terminal:
        assert lines_at == [], "the bars say it"
        return
    assert max(b - a for a, b in itertools.pairwise([1000.0, *lines_at, now[0]])) <= 60
    last = text_of(out).splitlines()[-1]
    assert re.fullmatch(r"align 0/4  5 min 0 s so far  all \d+%, \d+ min( \d+ s)? left", last), last


def predict():
    return {"plan": Prediction(1, 1.0), "align": Prediction(4, 5000.0)}


@pytest.mark.parametrize("terminal", [True, False])
def test_the_whole_run_is_told_once_the_plan_is_made(terminal: bool) -> None:
    out = console(terminal=terminal)
    with progress_on(out, ["plan", "align"], 2, predict) as progress:
        progress.expect("plan", 1)
        progress.started("plan", "")
        assert "left" not in text_of(out)
        progress.ended("plan", "", Ended(0, 1.0))
    shown = text_of(out)
    assert re.search(r"all .*0%.* 2 h 4\d min left", shown), shown


def test_no_line_of_the_bars_is_wider_than_a_terminal() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = LiveProgress(out, ["pyramid-3"], 64, lambda: {"pyramid-3": Prediction(200, 9e4)})
    progress._predicted = progress._predict()
    progress.expect("pyramid-3", 200)
    for item in range(64):
        progress.started("pyramid-3", str(item))
    progress.use["pyramid-3"].first_start_s -= 359_000
    progress.ended("pyramid-3", "0", Ended(0, 1.0))
    out.print(progress._bars.get_renderable())
    row = next(line for line in text_of(out).splitlines() if "running" in line)
    assert "63 running" in row
    assert len(re.sub(r"\x1b\[[\d;]*m", "", row)) <= 80


def test_a_report_after_a_failure_gets_its_bar() -> None:
    out = console(terminal=True)
    with progress_on(out, ["align"]) as progress:
        progress.started("report", "")
        progress.ended("report", "", Ended(0, 1.0))
    assert "report" in text_of(out)


PREDICTED = {"align": Prediction(10, 6.0), "tile": Prediction(20, 3.0)}


def align_at(n_done: int, seconds_each: float = 6.0) -> dict[str, StepUse]:
    align = StepUse(10, n_done, done_s=n_done * seconds_each, first_start_s=100.0)
    return {"align": align, "tile": StepUse()}


def test_a_run_as_predicted() -> None:
    left = time_left(PREDICTED, align_at(5), jobs=1, now_s=130.0)
    assert left.left_s == pytest.approx(90.0)
    assert left.steps_left_s == {"align": pytest.approx(30.0), "tile": pytest.approx(60.0)}
    assert left.part_done == pytest.approx(0.25)


def test_a_slow_machine_makes_later_steps_slow_too() -> None:
    slow = time_left(PREDICTED, align_at(10, 12.0), jobs=1, now_s=220.0)
    assert 100 < slow.left_s < 120, "60 s predicted, twice as slow so far"
    assert slow.steps_left_s["align"] == 0


def test_tasks_side_by_side() -> None:
    assert time_left(PREDICTED, {"align": StepUse(), "tile": StepUse()}, 2, 0.0).left_s == pytest.approx(60)
    assert time_left(PREDICTED, {"align": StepUse(1), "tile": StepUse(0)}, 2, 0.0).left_s == pytest.approx(6)


def test_steps_that_are_not_part_of_the_run_do_not_count() -> None:
    assert time_left(PREDICTED, {"tile": StepUse()}, 1, 0.0).left_s == pytest.approx(60)


def test_without_predictions_only_a_step_that_has_ended_a_task_is_told() -> None:
    left = time_left({}, align_at(5), jobs=1, now_s=130.0)
    assert (left.part_done, left.steps_left_s) == (0.0, {"align": pytest.approx(30.0)})


@pytest.mark.parametrize("slowness", [0.5, 1.0, 3.0])
def test_what_is_told_does_not_jump_up_and_is_right_after_the_first_tasks(slowness: float) -> None:
    """Two tasks at a time that start together, at moments a second apart."""
    predicted = {"align": Prediction(8, 20.0)}
    task_s = 20.0 * slowness
    told = []
    for now_s in range(int(4 * task_s)):
        n_waves = int(now_s / task_s)
        running = {str(item): n_waves * task_s for item in range(2)}
        use = StepUse(8, 2 * n_waves, running, done_s=2 * n_waves * task_s, first_start_s=0.0)
        told.append(time_left(predicted, {"align": use}, 2, float(now_s)).left_s)
    true = [4 * task_s - now_s for now_s in range(len(told))]
    assert max(b - a for a, b in itertools.pairwise(told)) < 0.5 * task_s
    late = slice(int(task_s) + 1, None)
    assert max(abs(a - b) for a, b in zip(told[late], true[late], strict=True)) < 0.1 * task_s + 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), min_size=1, max_size=4),
    st.integers(1, 8),
    st.data(),
)
def test_what_is_done_is_a_part_and_what_is_left_is_no_less_than_nothing(
    steps: Any, jobs: int, data: Any
) -> None:
    predicted = {f"s{i}": Prediction(n, seconds) for i, (n, seconds) in enumerate(steps)}
    use = {}
    for i, (n, _) in enumerate(steps):
        n_done = data.draw(st.integers(0, n))
        n_running = data.draw(st.integers(0, n - n_done))
        running = {str(item): float(item) for item in range(n_running)}
        use[f"s{i}"] = StepUse(n, n_done, running, done_s=float(n_done))
    left = time_left(predicted, use, jobs, now_s=10.0)
    assert 0 <= left.part_done <= 1 + 1e-9
    assert left.left_s >= 0
    assert all(seconds >= 0 for seconds in left.steps_left_s.values())
