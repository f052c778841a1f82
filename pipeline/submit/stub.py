"""Follows a stub to its end, and says of each step whether its pods could do their work.

A cluster that lacks something mostly does not say no: the pod waits, for an image that nobody can pull or a
machine that nobody can give. So a stub is given up when nothing has happened for a while.
"""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from components.shared.errors import FibstackError, TransientError
from components.shared.steps import STEPS, Step
from pipeline.submit.runs import NOT_TAKEN_UP, RunState, RunTask, says_why, task_state
from pipeline.submit.targets import Target

POLL_S = 5
STILL_S = 900
"""Time in which something must happen. A machine that has to be added is there within 10 minutes."""
HOPELESS_S = 120
"""Shorter time for a pod that waits for what does not come by itself."""
STOP_S = 120
"""Time that a run gets to end when it is stopped, for a last pod to clear a volume."""
_SHOWN = 100
"""Characters of a reason to wait that are shown while it lasts."""

_HOPELESS = re.compile(
    r"ImagePull|ErrImage|InvalidImageName|CreateContainer(Config)?Error|not found|exceeded quota|forbidden"
)
_REMEDIES = (
    (
        r"ImagePull|ErrImage|InvalidImageName",
        "Push the images of this version with 'make push', or correct 'registry' and 'tag' in the settings; "
        "for a private registry, give the pods' service account a pull secret.",
    ),
    (
        r"(?i)persistentvolumeclaim|FailedMount|FailedAttachVolume",
        "Look at the volume with: kubectl describe pvc --namespace NAMESPACE",
    ),
    (r"(?i)service ?account", "Make the account that the settings name, as docs/gke.md says."),
    (r"(?i)secrets? .*not found|CreateContainer(Config)?Error", "Make the Secret that the settings name."),
    (
        r"(?i)quota|ResourceExhausted",
        "Ask for more quota, or lower 'cpu', 'memory' and 'parallelism' of the step in the settings.",
    ),
    (r"(?i)PodSecurity|violates|admission webhook", "Let the namespace's policy admit the pods."),
    (
        r"Unschedulable|nodes are available|FailedScheduling",
        "Give the cluster such nodes, or lower 'cpu' and 'memory' of the step in the settings; look at its "
        "'node_selector', 'tolerations' and 'spot' too.",
    ),
    (r"OOMKilled|exit code 137", "Give the step more 'memory' in the settings."),
    (r"No such option|exit code 2\)", "The image must be of this version: push it anew with 'make push'."),
)
"""Remedies by the words of a cluster, the first that fits; a program's sentence has its own."""

Say = Callable[[str], None]
"""Shows a line to whoever waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """The end of a step in a stub."""

    step: str
    is_done: bool
    may_pass: bool = False
    """It has not failed: it was not reached, or waited until the stub was given up."""
    sentence: str = ""
    """The failure and its remedy; empty for a step that is done."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a stub."""

    state: RunState
    """The run when it ended, or when it was given up."""
    has_cleared: bool
    """The last step has done its part, so it has removed what it may remove."""


def follow(service: Target, reference: str, say: Say) -> Ending:
    """Wait until a stub has ended; one in which nothing happens any more is stopped, as on any error.

    Args:
        service: What runs it.
        reference: The run.
        say: Shows a line whenever something has happened.

    Raises:
        TransientError: the service has not answered for a while.
    """
    try:
        state = last = _at_end(service, reference, say)
    except BaseException:
        say(f"Stopping {reference}")
        _stop(service, reference, say)
        raise
    if not _has_ended(state):
        say(f"Nothing has happened for a while: stopping {reference}")
        last = _stop(service, reference, say) or state
    ends = (task for task in last.tasks if task.step and STEPS[task.step].is_last)
    return Ending(state, any(task.state == "done" for task in ends))


def outcomes(state: RunState, reference: str) -> list[StepOutcome]:
    """The end of each step, in the order of the pipeline.

    Args:
        state: State of the stub at its end.
        reference: The run, for a command that looks into it.
    """
    return [_outcome(step, state, reference) for step in STEPS.values()]


def others(state: RunState) -> list[str]:
    """Lines on failures beside the steps: of a service's own pods, and of a run without a failed task."""
    own = [task for task in state.tasks if not task.step and task.message]
    lines = [f"{task.name}: {task.message}" for task in own]
    if task_state(state.state) != "done" and all(task.state == "done" for task in state.tasks):
        nothing = NOT_TAKEN_UP if not state.tasks else "it has ended like this without a reason"
        lines.append(f"{state.name}: {state.state}, {state.message or nothing}")
    return lines


def may_go_through_later(state: RunState, steps: Iterable[StepOutcome]) -> bool:
    """True where nothing has failed, but a stub that did not end was given up.

    Args:
        state: State of the stub then.
        steps: The end of each step.
    """
    return not _has_ended(state) and all(outcome.is_done or outcome.may_pass for outcome in steps)


def _at_end(service: Target, reference: str, say: Say) -> RunState:
    """The state of a run that has ended, or in which nothing has happened for a while."""
    state: RunState | None = None
    shown, happened_at = "", time.monotonic()
    while True:
        before = state
        try:
            state = service.state(reference)
        except TransientError:
            if time.monotonic() - happened_at > STILL_S:
                raise
            time.sleep(POLL_S)
            continue
        if _has_ended(state):
            return state
        if before is None or state.counts() != before.counts():
            happened_at = time.monotonic()
        line = _progress(state)
        if line != shown:
            say(line)
            shown = line
        if time.monotonic() - happened_at > (HOPELESS_S if _is_hopeless(state) else STILL_S):
            return state
        time.sleep(POLL_S)


def _is_hopeless(state: RunState) -> bool:
    """True where a pod, or the run, waits for what does not come by itself."""
    waits = (task.message for task in state.tasks if task.state == "waiting")
    return state.message == NOT_TAKEN_UP or any(map(_HOPELESS.search, waits))


def _has_ended(state: RunState) -> bool:
    return task_state(state.state) in ("done", "failed")


def _progress(state: RunState) -> str:
    """The tasks of each step that are done, running, failed and waiting, and a reason to wait, in a line."""
    words = []
    for step, counts in state.counts().items():
        n_done = f"{step} {counts['done']} of {STEPS[step].n_stub_tasks}"
        unfinished = [f"{counts[kind]} {kind}" for kind in ("running", "waiting", "failed") if counts[kind]]
        words.append(" ".join([n_done, *([f"({', '.join(unfinished)})"] if unfinished else [])]))
    reason = next((task.message for task in state.tasks if task.state == "waiting" and task.message), "")
    return ", ".join(words) + (f": {reason[:_SHOWN]}" if reason else "") or "it waits to be taken up"


def _stop(service: Target, reference: str, say: Say) -> RunState | None:
    """End a run; returns its state then, None where it did not end."""
    try:
        for at_once in (False, True):
            service.stop(reference, at_once=at_once)
            until = time.monotonic() + STOP_S
            while time.monotonic() < until:
                state = service.state(reference)
                if _has_ended(state):
                    return state
                time.sleep(POLL_S)
        say(f"It has not ended yet. Look with: fibstack status {shlex.quote(reference)}")
    except FibstackError as error:
        say(f"It may go on: {error}")
    return None


def _outcome(step: Step, state: RunState, reference: str) -> StepOutcome:
    tasks = [task for task in state.tasks if task.step == step.name]
    failed = [task for task in tasks if task.state == "failed"]
    unfinished = [task for task in tasks if task.state in ("waiting", "running")]
    n_done = sum(task.state == "done" for task in tasks)
    if failed:
        return StepOutcome(step=step.name, is_done=False, sentence=f"failed: {_sentence(failed, reference)}")
    if unfinished:
        may_pass = not any(_HOPELESS.search(task.message) for task in unfinished)
        sentence = f"still {unfinished[0].state}: {_sentence(unfinished, reference)}"
        return StepOutcome(step=step.name, is_done=False, may_pass=may_pass, sentence=sentence)
    if n_done >= step.n_stub_tasks:
        return StepOutcome(step=step.name, is_done=True)
    sentence = f"only {n_done} of {step.n_stub_tasks} tasks were done" if n_done else "not reached"
    return StepOutcome(step=step.name, is_done=False, may_pass=True, sentence=sentence)


def _sentence(tasks: list[RunTask], reference: str) -> str:
    """The message of most tasks of a step, with the remedy."""
    ((message, _),) = Counter(" ".join(task.message.split()) for task in tasks).most_common(1)
    run = shlex.quote(reference)
    has_log = tasks[0].state != "waiting"
    look = f"Look with: fibstack {f'logs {run} {tasks[0].step}' if has_log else f'status {run}'}"
    if not message:
        return look
    remedy = next((remedy for words, remedy in _REMEDIES if re.search(words, message)), "")
    if not remedy and not says_why(message):
        remedy = look
    return f"{message.rstrip('.')}. {remedy}".strip()
