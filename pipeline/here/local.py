"""Runs a compiled pipeline on this machine, every task a process with the arguments that its pod would get.

What is tested here is what is submitted: the input is the IR, not the Python function. The differences from a
cluster are few: `python` is this interpreter, output files lie in the task's folder, and after the first
failure nothing new starts but the exit task.

kfp has a runner of its own, `kfp.local`, which cannot run this pipeline: in kfp 2.16 it refuses
`dsl.ExitHandler`, without which there is no report after a failure, and it reads no policy of retries.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from components.shared.errors import FINAL_EXIT_CODES, TransientError
from pipeline.compiled.ir import (
    Constant,
    Container,
    Dag,
    FinalStatus,
    ParentInput,
    Pipeline,
    Task,
    TaskOutput,
    Value,
    check_parameters,
    fill,
    task_path,
    tasks_before,
    to_text,
    with_defaults,
)
from pipeline.here.processes import Ended, Failure, Place, Processes, ProcessesStoppedError, attempt

TOLD_EVERY_S = 5.0
"""A watcher hears this often that the run goes on."""
KILL_AFTER_S = 10.0
"""A process that ignores SIGTERM this long is killed."""


class Watcher(Protocol):
    """An object that is told what happens in a run, always from the thread that runs the pipeline."""

    def expect(self, step: str, n_tasks: int) -> None:
        """Hear that a number of further tasks of a step will come."""

    def started(self, step: str, item: str) -> None:
        """Hear that a task was started."""

    def ended(self, step: str, item: str, ended: Ended) -> None:
        """Hear that a try of a task has ended."""

    def retrying(self, failure: Failure, pause_s: float) -> None:
        """Hear that a task failed and is tried again after a pause."""

    def failed(self, failure: Failure) -> None:
        """Hear that a task failed for good."""

    def goes_on(self) -> None:
        """Hear, every few seconds, that the run goes on."""

    def stopping(self) -> None:
        """Hear that a signal arrived, and that the running tasks are told to end."""


class RunInterruptedError(Exception):
    """A signal ended the run."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = 128 + number


def run_pipeline(
    pipeline: Pipeline,
    parameters: Mapping[str, Value],
    folder: Path,
    jobs: int,
    watcher: Watcher,
    processes: Processes | None = None,
) -> Failure | None:
    """Run a pipeline to its end; its logs go to `folder`, at most `jobs` processes run at a time.

    Args:
        pipeline: The compiled pipeline.
        parameters: Values of its parameters, by name.
        folder: Gets a folder for each task.
        jobs: Most tasks at a time.
        watcher: Is told what happens.
        processes: Start the tasks, such as `Containers`; by default plain processes.

    Returns:
        The first task that failed for good, or None.

    Raises:
        ConfigError: a parameter is unknown or missing.
        TransientError: the logs cannot be written.
        RunInterruptedError: SIGINT, SIGTERM or SIGHUP arrived; every process has ended.
    """
    inputs = check_parameters(pipeline.root.inputs, parameters)
    try:
        return asyncio.run(_Run(pipeline, folder, jobs, watcher, processes or Processes()).run(inputs))
    except* OSError as group:
        raise TransientError(
            f"cannot write logs to {folder}: {group.exceptions[0]}. Free the disk."
        ) from None


@dataclass(frozen=True, slots=True)
class _Result:
    """The outputs of a task, or its failure."""

    outputs: dict[str, Value] = field(default_factory=dict)
    failure: Failure | None = None


class _Run:
    """One run of a pipeline: the state that its tasks share."""

    def __init__(
        self, pipeline: Pipeline, folder: Path, jobs: int, watcher: Watcher, processes: Processes
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._watcher = watcher
        self._slots = asyncio.Semaphore(jobs)
        self._threads = ThreadPoolExecutor(jobs)
        self._processes = processes
        self._failure: Failure | None = None
        self._signal: signal.Signals | None = None
        self._failed = asyncio.Event()
        self._interrupted = asyncio.Event()

    async def run(self, inputs: dict[str, Value]) -> Failure | None:
        with self._threads, self._signals_handled():
            self._expect(self._pipeline.root, Place(), 1)
            telling = asyncio.create_task(self._tell_that_it_goes_on())
            try:
                await self._run_dag(self._pipeline.root, inputs, Place())
            except BaseException:
                self._processes.stop(signal.SIGKILL)
                raise
            finally:
                telling.cancel()
        if self._signal is not None:
            raise RunInterruptedError(self._signal)
        return self._failure

    async def _tell_that_it_goes_on(self) -> None:
        while True:
            await asyncio.sleep(TOLD_EVERY_S)
            self._watcher.goes_on()

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup
            handled.append(signal.SIGHUP)
        for number in handled:
            loop.add_signal_handler(number, self._interrupt, number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _interrupt(self, number: signal.Signals) -> None:
        """End every process: politely at the first signal, at once at the second."""
        if self._signal is not None:
            self._processes.stop(signal.SIGKILL)
            return
        self._signal = number
        self._watcher.stopping()
        self._failed.set()
        self._interrupted.set()
        self._processes.stop(signal.SIGTERM)
        asyncio.get_running_loop().call_later(KILL_AFTER_S, self._processes.stop, signal.SIGKILL)

    def _expect(self, component: Dag | Container, place: Place, n_times: int) -> None:
        """Tell how many tasks come, as far as is known before the loops below have their items."""
        if isinstance(component, Container):
            self._watcher.expect(place.step, n_times)
            return
        for task in component.tasks.values():
            if task.loop is None and not task.only_after_failure:
                below = replace(place, path=task_path(place.path, task))
                self._expect(self._pipeline.components[task.component], below, n_times)

    async def _run_dag(self, dag: Dag, inputs: Mapping[str, Value], place: Place) -> _Result:
        results: dict[str, asyncio.Task[_Result]] = {}
        async with asyncio.TaskGroup() as group:
            for name, task in dag.tasks.items():
                results[name] = group.create_task(self._run_task(task, inputs, results, place))
        return _joined(result.result() for result in results.values())

    async def _run_task(
        self,
        task: Task,
        parent_inputs: Mapping[str, Value],
        results: Mapping[str, asyncio.Task[_Result]],
        place: Place,
    ) -> _Result:
        """Run a task, or each iteration of a loop, when the tasks before it have ended."""
        await self._expect_iterations(task, parent_inputs, results, place)
        before = {name: await results[name] for name in tasks_before(task)}
        joined = _joined(before.values())
        is_due = task.always if joined.failure is not None else not task.only_after_failure
        if self._signal is not None or not is_due:
            return joined
        outputs = {name: result.outputs for name, result in before.items()}
        failures = {name: result.failure for name, result in before.items()}
        inputs = task_inputs(task, parent_inputs, outputs, failures)
        place = replace(place, path=task_path(place.path, task), always=place.always or task.always)
        if task.loop is None:
            return await self._run_component(task, inputs, place)
        return await self._run_loop(task, inputs, place)

    async def _expect_iterations(
        self,
        task: Task,
        parent_inputs: Mapping[str, Value],
        results: Mapping[str, asyncio.Task[_Result]],
        place: Place,
    ) -> None:
        """Tell how many iterations a loop will have, as soon as the task that lists its items has ended."""
        if task.loop is None:
            return
        items: object = task.loop.items
        if isinstance(items, str):
            source = task.inputs[items]
            if isinstance(source, TaskOutput):
                items = (await results[source.task]).outputs.get(source.name)
            elif isinstance(source, ParentInput):
                items = parent_inputs[source.name]
        if isinstance(items, list):
            below = replace(place, path=task_path(place.path, task))
            self._expect(self._pipeline.components[task.component], below, len(items))

    async def _run_loop(self, task: Task, inputs: Mapping[str, Value], place: Place) -> _Result:
        assert task.loop is not None
        item_name, items = task.loop.item_name, task.loop.items
        if isinstance(items, str):
            found = inputs[items]
            assert isinstance(found, list), f"{place.step} must loop over a list; got {found!r}"
            items = found
        limit = asyncio.Semaphore(task.loop.parallelism or max(1, len(items)))

        async def iteration(index: int, item: Value) -> _Result:
            here = replace(place, indices=(*place.indices, index), item=to_text(item))
            async with limit:
                return await self._run_component(task, {**inputs, item_name: item}, here)

        return _joined(await asyncio.gather(*itertools.starmap(iteration, enumerate(items))))

    async def _run_component(self, task: Task, inputs: Mapping[str, Value], place: Place) -> _Result:
        component = self._pipeline.components[task.component]
        inputs = with_defaults(component.inputs, inputs)
        if isinstance(component, Dag):
            return await self._run_dag(component, inputs, place)
        return await self._run_container(task, component, inputs, place)

    async def _run_container(
        self, task: Task, container: Container, inputs: Mapping[str, Value], place: Place
    ) -> _Result:
        """Run a program, and again where that can help."""
        for retry in itertools.count(1):
            result = await self._try(container, inputs, place)
            failure = result.failure
            if failure is None or failure is self._failure or self._signal is not None:
                return result
            if retry > task.retry.count or failure.exit_code in FINAL_EXIT_CODES:
                self._fail(failure)
                return result
            pause_s = task.retry.pause_before(retry)
            self._watcher.retrying(failure, pause_s)
            await self._pause(pause_s, place)
        raise AssertionError("a count has no end")

    def _fail(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self._failed.set()
        self._watcher.failed(failure)

    async def _try(self, container: Container, inputs: Mapping[str, Value], place: Place) -> _Result:
        """Run a program once, when there is a free slot and the run is not over."""
        async with self._slots:
            if self._signal is not None or (self._failure is not None and not place.always):
                return _Result(failure=self._failure)
            self._watcher.started(place.step, place.item)
            loop = asyncio.get_running_loop()
            try:
                tried = await loop.run_in_executor(
                    self._threads, attempt, self._processes, container, inputs, place, self._folder
                )
            except ProcessesStoppedError:
                return _Result(failure=self._failure)
            self._watcher.ended(place.step, place.item, tried.ended)
            return _Result(tried.outputs, tried.failure)

    async def _pause(self, pause_s: float, place: Place) -> None:
        """Wait, but not on when the wait has lost its purpose."""
        over = self._interrupted if place.always else self._failed
        try:
            await asyncio.wait_for(over.wait(), pause_s)
        except TimeoutError:
            return


def _joined(results: Iterable[_Result]) -> _Result:
    """The first failure among results, if any."""
    return _Result(failure=next((r.failure for r in results if r.failure is not None), None))


def task_inputs(
    task: Task,
    parent_inputs: Mapping[str, Value],
    outputs: Mapping[str, Mapping[str, Value]],
    failures: Mapping[str, Failure | None],
) -> dict[str, Value]:
    """The values of a task's inputs, from its group's inputs and from the tasks before it."""
    values: dict[str, Value] = {}
    templates: dict[str, str] = {}
    for name, source in task.inputs.items():
        match source:
            case ParentInput(parent_name):
                values[name] = parent_inputs[parent_name]
            case TaskOutput(producer, output):
                values[name] = outputs[producer][output]
            case FinalStatus(producer):
                values[name] = final_status(producer, failures[producer])
            case Constant(str(text)):
                templates[name] = text
            case Constant(value):
                values[name] = value
    return values | {name: fill(text, values) for name, text in templates.items()}


def final_status(producer: str, failure: Failure | None) -> str:
    """The JSON that KFP gives for a `PipelineTaskFinalStatus`."""
    status: dict[str, Value] = {
        "state": "SUCCEEDED" if failure is None else "FAILED",
        "pipelineTaskName": producer,
        "pipelineJobResourceName": "local",
    }
    if failure is not None:
        status["error"] = {"code": failure.exit_code, "message": failure.message}
    return to_text(status)
