"""Following a stub: when it is given up, how it is stopped, and what is said of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from components.shared.errors import TransientError
from components.shared.steps import STEPS
from pipeline.submit.runs import NOT_TAKEN_UP, Log, RunState, RunTask, TaskState
from pipeline.submit.stub import follow, may_go_through_later, others, outcomes

UNSCHEDULABLE = "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
Answers = Callable[[int], RunState]


@dataclass
class Service:
    """A service whose answers a test gives by their number."""

    answers: Answers
    ends_at: str = "stopped"
    """The word, stopped or stopped at once, after which a run has ended."""
    n_asked: int = 0
    said: list[str] = field(default_factory=list)

    def state(self, reference: str) -> RunState:
        self.n_asked += 1
        if self.ends_at in self.said:
            return RunState(name="x7", state="Failed", tasks=(task("report", "done"),))
        return self.answers(self.n_asked)

    def stop(self, reference: str, *, at_once: bool = False) -> None:
        self.said.append("stopped at once" if at_once else "stopped")

    def is_reference(self, text: str) -> bool:
        return True

    def is_taken_up(self, reference: str) -> bool:
        return True

    def logs(self, reference: str, step: str = "") -> Iterator[Log]:
        return iter(())


def task(step: str, state: TaskState, message: str = "") -> RunTask:
    return RunTask(name=step, step=step, state=state, message=message)


def running(*tasks: RunTask, message: str = "") -> RunState:
    return RunState(name="x7", state="Running", message=message, tasks=tasks)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each pause take its time on a clock of the test alone."""
    now = [0.0]
    monkeypatch.setattr("pipeline.submit.stub.time.monotonic", lambda: now[0])
    monkeypatch.setattr("pipeline.submit.stub.time.sleep", lambda s: now.__setitem__(0, now[0] + s))


def follow_quietly(service: Service) -> tuple[RunState, bool]:
    ending = follow(service, "argo://em/x7", lambda _: None)
    return ending.state, ending.has_cleared


@pytest.mark.parametrize(
    ("waits", "seconds"),
    [
        (UNSCHEDULABLE, 900),
        ("", 900),
        ('ImagePullBackOff: Back-off pulling image "a"', 120),
        ('pods "x" is forbidden: error looking up service account em/a: serviceaccount "a" not found', 120),
    ],
)
def test_a_stub_is_given_up_when_nothing_has_happened_for_a_while(waits: str, seconds: int) -> None:
    service = Service(lambda n: running(task("plan", "waiting", waits + str(n))))
    state, has_cleared = follow_quietly(service)
    assert (service.n_asked - 1) * 5 == pytest.approx(seconds, abs=10)
    assert service.said == ["stopped"]
    assert has_cleared
    assert state.state == "Running"


def test_a_run_that_no_controller_takes_up_is_given_up() -> None:
    service = Service(lambda _: running(message=NOT_TAKEN_UP))
    state, _ = follow_quietly(service)
    assert (service.n_asked - 1) * 5 == pytest.approx(120, abs=10)
    assert others(state) == [f"x7: Running, {NOT_TAKEN_UP}"]
    assert may_go_through_later(state, outcomes(state, "argo://em/x7"))


def test_a_run_that_the_service_refuses_has_failed() -> None:
    state = RunState(name="x7", state="Error", message="invalid spec: no such template")
    assert others(state) == ["x7: Error, invalid spec: no such template"]
    assert not may_go_through_later(state, outcomes(state, "argo://em/x7"))


def test_something_that_happens_gives_more_time() -> None:
    def answers(n: int) -> RunState:
        if n > 600:
            return RunState(name="x7", state="Succeeded")
        return running(task("plan", "done"), *[task("align", "waiting")] * (n // 100))

    service = Service(answers)
    follow_quietly(service)
    assert (service.n_asked, service.said) == (601, [])


def test_a_service_that_is_away_for_a_moment_is_asked_again() -> None:
    def answers(n: int) -> RunState:
        if n < 50:
            raise TransientError("it is away. Try again.")
        return RunState(name="x7", state="Succeeded")

    service = Service(answers)
    assert follow_quietly(service)[0].state == "Succeeded"


def test_a_service_that_stays_away_is_an_error_and_the_run_is_stopped() -> None:
    def answers(n: int) -> RunState:
        raise TransientError("it is away. Try again.")

    service = Service(answers)
    with pytest.raises(TransientError, match="it is away"):
        follow_quietly(service)
    assert service.said == ["stopped"]


def test_a_run_that_does_not_end_when_it_is_stopped_is_ended_at_once() -> None:
    service = Service(lambda _: running(task("plan", "waiting")), ends_at="stopped at once")
    assert follow_quietly(service)[1]
    assert service.said == ["stopped", "stopped at once"]
    service = Service(lambda _: running(task("plan", "waiting")), ends_at="never")
    assert not follow_quietly(service)[1]


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ('ErrImagePull: image "a" not found', "Push the images of this version"),
        ('0/1 nodes are available: persistentvolumeclaim "data" not found', "kubectl describe pvc"),
        (UNSCHEDULABLE, "lower 'cpu' and 'memory' of the step"),
        ('pods "x" is forbidden: exceeded quota: q, requested: cpu=1', "Ask for more quota"),
        ('serviceaccount "a" not found', "Make the account that the settings name"),
        ('secret "fibstack-proxy" not found', "Make the Secret that the settings name"),
        ("main: OOMKilled (exit code 137)", "more 'memory'"),
        ("No such option: --stub", "The image must be of this version"),
        ("main: Error (exit code 1)", "fibstack logs argo://em/x7 tile"),
        ("", "fibstack logs argo://em/x7 tile"),
    ],
)
def test_what_a_cluster_says_is_told_with_the_remedy(message: str, remedy: str) -> None:
    state = RunState(name="x7", state="Failed", tasks=(task("tile", "failed", message),))
    (tile,) = [outcome for outcome in outcomes(state, "argo://em/x7") if outcome.step == "tile"]
    assert remedy in tile.sentence
    assert tile.sentence.startswith(f"failed: {message.rstrip('.')}")
    assert not tile.may_pass


def test_a_programs_own_sentence_has_its_own_remedy() -> None:
    own = (
        "cannot write gs://em/out/tmp/a: permission denied. Grant storage.objects.create on the bucket 'em'."
    )
    state = RunState(name="x7", state="Failed", tasks=(task("tile", "failed", own),))
    (tile,) = [outcome for outcome in outcomes(state, "argo://em/x7") if outcome.step == "tile"]
    assert tile.sentence == f"failed: {own}"


def test_a_step_is_done_when_all_its_tasks_are() -> None:
    done = [task(step.name, "done") for step in STEPS.values() for _ in range(step.n_stub_tasks)]
    state = RunState(name="x7", state="Succeeded", tasks=tuple(done))
    assert all(outcome.is_done for outcome in outcomes(state, "argo://em/x7"))
    fewer = RunState(name="x7", state="Succeeded", tasks=tuple(done[:-2]))
    said = {outcome.step: outcome.sentence for outcome in outcomes(fewer, "argo://em/x7")}
    assert (said["report"], said["pyramid"]) == ("not reached", "only 5 of 6 tasks were done")
