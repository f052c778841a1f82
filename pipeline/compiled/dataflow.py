"""What the IR says of the order of tasks and of the values that flow between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter

from components.shared.errors import ConfigError
from components.shared.steps import steps_until
from pipeline.compiled.ir import (
    Constant,
    Dag,
    FinalStatus,
    Input,
    ParentInput,
    Pipeline,
    Task,
    TaskOutput,
    Value,
)
from pipeline.compiled.values import fill, to_text
from pipeline.here.attempt import Failure
from pipeline.submit.runs import step_of

_GROUPS = ("comp-for-loop-", "comp-exit-handler-")
"""Components that kfp makes of `with` blocks; users never named them, so paths leave them out."""


def up_to(pipeline: Pipeline, last: str) -> Pipeline:
    """The pipeline up to and including a step; the report is made only where something fails."""
    if last == "report":
        return pipeline
    done = steps_until(last)

    def belongs(task: Task) -> bool:
        component = pipeline.components[task.component]
        if isinstance(component, Dag):
            return any(map(belongs, component.tasks.values()))
        return task.always or step_of(task.name) in done

    def part(dag: Dag) -> Dag:
        tasks = {name: task for name, task in dag.tasks.items() if belongs(task)}
        return replace(
            dag, tasks={name: replace(task, only_after_failure=task.always) for name, task in tasks.items()}
        )

    components = {
        name: part(component) if isinstance(component, Dag) else component
        for name, component in pipeline.components.items()
    }
    return replace(pipeline, root=part(pipeline.root), components=components)


def steps(pipeline: Pipeline) -> list[str]:
    """The steps that run programs if nothing fails, in the order of the data flow."""
    return list(_steps(pipeline, pipeline.root, ()))


def _steps(pipeline: Pipeline, dag: Dag, path: tuple[str, ...]) -> Iterator[str]:
    order = TopologicalSorter({name: tasks_before(task) for name, task in dag.tasks.items()})
    for name in order.static_order():
        if dag.tasks[name].only_after_failure:
            continue
        component = pipeline.components[dag.tasks[name].component]
        below = task_path(path, dag.tasks[name])
        if isinstance(component, Dag):
            yield from _steps(pipeline, component, below)
        else:
            yield "/".join(below)


def task_path(path: tuple[str, ...], task: Task) -> tuple[str, ...]:
    """The names that lead to a task below `path`."""
    return path if task.component.startswith(_GROUPS) else (*path, task.name)


def tasks_before(task: Task) -> list[str]:
    """The tasks that a task waits for, in a fixed order."""
    producers = {s.task for s in task.inputs.values() if isinstance(s, TaskOutput | FinalStatus)}
    return sorted(task.after | producers)


def check_parameters(declared: Mapping[str, Input], given: Mapping[str, Value]) -> dict[str, Value]:
    """The values of a pipeline's parameters, defaults filled in.

    Raises:
        ConfigError: a parameter is unknown or missing.
    """
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        raise ConfigError(f"the pipeline has no parameter '{unknown[0]}'. Known: {', '.join(declared)}.")
    return with_defaults(declared, given)


def with_defaults(declared: Mapping[str, Input], given: Mapping[str, Value]) -> dict[str, Value]:
    """The given values, and the defaults of what is not given.

    Raises:
        ConfigError: a value without a default is missing.
    """
    values = dict(given)
    for name, definition in declared.items():
        if name not in values:
            if definition.default is None:
                raise ConfigError(f"the parameter '{name}' must be given. Known: {', '.join(declared)}.")
            values[name] = definition.default
    return values


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
    """What KFP gives for a `PipelineTaskFinalStatus`, as JSON."""
    status: dict[str, Value] = {
        "state": "SUCCEEDED" if failure is None else "FAILED",
        "pipelineTaskName": producer,
        "pipelineJobResourceName": "local",
    }
    if failure is not None:
        status["error"] = {"code": failure.exit_code, "message": failure.message}
    return to_text(status)
