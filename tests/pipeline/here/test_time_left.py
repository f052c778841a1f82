"""How long a run will go on."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.here.time_left import Prediction, StepUse, time_left

PREDICTED = {"align": Prediction(10, 6.0), "tile": Prediction(20, 3.0)}


def align_at(n_done: int, seconds_each: float = 6.0) -> dict[str, StepUse]:
    align = StepUse(10, n_done, done_s=n_done * seconds_each, first_start_s=100.0)
    return {"align": align, "tile": StepUse()}


def test_a_run_as_predicted():
    left = time_left(PREDICTED, align_at(5), jobs=1, now_s=130.0)
    assert left.left_s == pytest.approx(90.0)
    assert left.steps_left_s == {"align": pytest.approx(30.0), "tile": pytest.approx(60.0)}
    assert left.part_done == pytest.approx(0.25)


def test_a_slow_machine_makes_later_steps_slow_too():
    slow = time_left(PREDICTED, align_at(10, 12.0), jobs=1, now_s=220.0)
    assert 100 < slow.left_s < 120, "60 s predicted, twice as slow so far"
    assert slow.steps_left_s["align"] == 0


def test_tasks_side_by_side():
    assert time_left(PREDICTED, {"align": StepUse(), "tile": StepUse()}, 2, 0.0).left_s == pytest.approx(60)
    assert time_left(PREDICTED, {"align": StepUse(1), "tile": StepUse(0)}, 2, 0.0).left_s == pytest.approx(6)


def test_steps_that_are_not_part_of_the_run_do_not_count():
    assert time_left(PREDICTED, {"tile": StepUse()}, 1, 0.0).left_s == pytest.approx(60)


def test_without_predictions_only_a_step_that_has_ended_a_task_is_told():
    left = time_left({}, align_at(5), jobs=1, now_s=130.0)
    assert (left.part_done, left.steps_left_s) == (0.0, {"align": pytest.approx(30.0)})


@pytest.mark.parametrize("slowness", [0.5, 1.0, 3.0])
def test_what_is_told_does_not_jump_up_and_is_right_after_the_first_tasks(slowness):
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
def test_what_is_done_is_a_part_and_what_is_left_is_no_less_than_nothing(steps, jobs, data):
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
