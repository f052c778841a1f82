"""The compiled pipeline (KFP's IR, schema 2.1.0) as typed values: the part of it that fibstack uses.

A pipeline is a tree of *components*. A `Container` runs a program; a `Dag` holds *tasks*, each of which
applies a component to inputs. A loop is a task whose component runs once for each item of a list. Whatever
the IR says beyond this subset (artifacts as inputs, conditions, collected outputs) is refused. Artifacts that
a program writes are for the console of KFP and Vertex AI alone: here, it does not get the arguments that ask
for them.

Besides the types: values as the text that programs get and write, and the order that tasks run in.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from graphlib import TopologicalSorter
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from components.shared.errors import ConfigError
from components.shared.steps import STEPS, steps_until

Value = str | int | float | bool | list[Any] | dict[str, Any]
"""A parameter's value, as JSON knows it."""

PLACEHOLDER = re.compile(
    r"\{\{\$\.(?P<way>inputs|outputs)\.parameters\[(?P<quote>['\"])(?P<name>.+?)(?P=quote)\](?P<file>\.output_file)?\}\}"
)
"""`{{$.inputs.parameters['x']}}` and `{{$.outputs.parameters['x'].output_file}}`."""

ARTIFACT = re.compile(r"\{\{\$(?:\.outputs\.artifacts\[(?P<quote>['\"])(?P<name>.+?)(?P=quote)\]\.path)?\}\}")
"""`{{$.outputs.artifacts['x'].path}}`, and `{{$}}`, which tells where metadata go."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known when the pipeline was compiled; text may hold placeholders of the task's other inputs."""

    value: Value


@dataclass(frozen=True, slots=True)
class ParentInput:
    """An input of the DAG that the task is in."""

    name: str


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """An output of another task of the same DAG."""

    task: str
    name: str


@dataclass(frozen=True, slots=True)
class FinalStatus:
    """The state in which another task of the same DAG has ended."""

    task: str


Source = Constant | ParentInput | TaskOutput | FinalStatus


@dataclass(frozen=True, slots=True)
class Input:
    """A declared input of a component."""

    type: str
    default: Value | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The number of times that a failed task is tried again, and the pauses before."""

    count: int = 0
    pause_s: float = 0.0
    factor: float = 2.0
    longest_s: float = 3600.0

    def pause_before(self, retry: int) -> float:
        """Seconds to wait before retry number `retry`, which counts from 1.

        Example:
            >>> [Retry(3, 10, 2, 30).pause_before(n) for n in (1, 2, 3)]
            [10, 20, 30]
        """
        return min(self.pause_s * self.factor ** (retry - 1), self.longest_s)


@dataclass(frozen=True, slots=True)
class Loop:
    """The task's component runs for each item of a list."""

    item_name: str
    """Input of the component that receives the item."""
    items: list[Value] | str
    """The items, or the name of the task's input that holds them."""
    parallelism: int
    """Upper limit on the items at a time; 0 is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A component applied to inputs."""

    name: str
    component: str
    inputs: dict[str, Source]
    after: frozenset[str]
    """Tasks of the same DAG that must have ended."""
    always: bool
    """Runs even where the tasks before it failed."""
    retry: Retry
    loop: Loop | None
    only_after_failure: bool = False
    """Runs only where the tasks before it failed, as the report of a part of the pipeline does."""


@dataclass(frozen=True, slots=True)
class Container:
    """A component that runs a program."""

    inputs: dict[str, Input]
    outputs: dict[str, str]
    """Type of each output."""
    image: str
    argv: tuple[str, ...]
    """Command and arguments, with placeholders."""
    cpu_limit: str = ""
    """Limit on cores, such as `2` or `500m`; empty where there is none."""
    memory_limit: str = ""
    """Limit on memory, such as `4G`; empty where there is none."""
    memory_input: str = ""
    """Input of the task that says how much memory a pod asks for, which the component does not declare; empty
    where that is fixed."""


@dataclass(frozen=True, slots=True)
class Dag:
    """A component made of tasks."""

    inputs: dict[str, Input]
    tasks: dict[str, Task] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A compiled pipeline."""

    name: str
    root: Dag
    components: dict[str, Container | Dag]
    description: str = ""


def read_pipeline(text: str) -> Pipeline:
    """Read a compiled pipeline.

    Raises:
        ConfigError: the pipeline uses a part of the IR that fibstack does not.
    """
    import yaml

    document = next(yaml.safe_load_all(text))  # a second document would hold platform settings
    executors = document.get("deploymentSpec", {}).get("executors", {})
    components = {
        name: _component(name, component, executors) for name, component in document["components"].items()
    }
    root = _component("root", document["root"], executors)
    if not isinstance(root, Dag):
        raise _unsupported("root", "a program as the whole pipeline")
    info = document["pipelineInfo"]
    return Pipeline(info["name"], root, components, info.get("description", ""))


def _unsupported(where: str, what: str) -> ConfigError:
    return ConfigError(
        f"the compiled pipeline must not use {what}; got it in '{where}'. See pipeline/compiled/lint.py."
    )


def _component(name: str, spec: Mapping[str, Any], executors: Mapping[str, Any]) -> Container | Dag:
    if "artifacts" in spec.get("inputDefinitions", {}):
        raise _unsupported(name, "artifacts as inputs")
    inputs = {
        key: Input(
            definition["parameterType"], definition.get("defaultValue"), definition.get("description", "")
        )
        for key, definition in spec.get("inputDefinitions", {}).get("parameters", {}).items()
    }
    outputs = spec.get("outputDefinitions", {}).get("parameters", {})
    if "dag" in spec:
        if spec.get("outputDefinitions"):
            raise _unsupported(name, "outputs of a group of tasks")
        return Dag(inputs, {key: _task(key, task) for key, task in spec["dag"]["tasks"].items()})
    container = executors.get(spec["executorLabel"], {}).get("container")
    if container is None:
        raise _unsupported(name, "executors other than containers")
    if container.get("env"):
        raise _unsupported(name, "environment variables")
    argv = (*container.get("command", ()), *_without_artifacts(container.get("args", ())))
    types = {key: definition["parameterType"] for key, definition in outputs.items()}
    resources = container.get("resources", {})
    asked = PLACEHOLDER.fullmatch(resources.get("resourceMemoryRequest", ""))
    return Container(
        inputs,
        types,
        container["image"],
        argv,
        cpu_limit=resources.get("resourceCpuLimit", ""),
        memory_limit=resources.get("resourceMemoryLimit", ""),
        memory_input=asked["name"] if asked else "",
    )


def _without_artifacts(words: Sequence[str]) -> Iterator[str]:
    """The arguments without the flags that ask for artifacts."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if not ARTIFACT.fullmatch(word) and not ARTIFACT.fullmatch(following):
            yield word


def _task(name: str, spec: Mapping[str, Any]) -> Task:
    trigger = spec.get("triggerPolicy", {})
    if "condition" in trigger:
        raise _unsupported(name, "conditions")
    if "artifactIterator" in spec or "artifacts" in spec.get("inputs", {}):
        raise _unsupported(name, "artifacts")
    return Task(
        name=name,
        component=spec["componentRef"]["name"],
        inputs={
            key: _source(f"{name}.{key}", source)
            for key, source in spec.get("inputs", {}).get("parameters", {}).items()
        },
        after=frozenset(spec.get("dependentTasks", ())),
        always=trigger.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED",
        retry=_retry(spec.get("retryPolicy", {})),
        loop=_loop(spec),
    )


def _source(where: str, spec: Mapping[str, Any]) -> Source:
    match spec:
        case {"parameterExpressionSelector": _}:
            raise _unsupported(where, "a field of a structured loop item")
        case {"runtimeValue": {"constant": value}}:
            return Constant(value)
        case {"componentInputParameter": name}:
            return ParentInput(name)
        case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": name}}:
            return TaskOutput(task, name)
        case {"taskFinalStatus": {"producerTask": task}}:
            return FinalStatus(task)
    raise _unsupported(where, f"the input {dict(spec)}")


def _retry(spec: Mapping[str, Any]) -> Retry:
    return Retry(
        count=int(spec.get("maxRetryCount", 0)),
        pause_s=_seconds(spec.get("backoffDuration", "0s")),
        factor=float(spec.get("backoffFactor", 2.0)),
        longest_s=_seconds(spec.get("backoffMaxDuration", "3600s")),
    )


def _seconds(duration: str) -> float:
    """A protobuf duration, such as `1.5s`."""
    return float(duration.removesuffix("s"))


def _loop(spec: Mapping[str, Any]) -> Loop | None:
    if "parameterIterator" not in spec:
        return None
    iterator = spec["parameterIterator"]
    items = iterator["items"]
    return Loop(
        item_name=iterator["itemInput"],
        items=json.loads(items["raw"]) if "raw" in items else items["inputParameter"],
        parallelism=int(spec.get("iteratorPolicy", {}).get("parallelismLimit", 0)),
    )


_NO_FILES: Mapping[str, str] = MappingProxyType({})


def to_text(value: Value) -> str:
    """A value as KFP writes it into an argument.

    Example:
        >>> [to_text(v) for v in ("a b", 2.0, 0.02, 1e-7, True, [8.0, 8.5], "")]
        ['a b', '2', '0.02', '0.0000001', 'true', '[8,8.5]', '']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(value)
    return json.dumps(_whole_numbers(value), separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _number_text(value: float) -> str:
    """The shortest decimal that reads back as the same number, as Go's `FormatFloat(v, 'f', -1)`."""
    if not math.isfinite(value):
        raise ValueError(f"a parameter must be finite; got {value}")
    whole = int(value)
    return str(whole) if value == whole else format(Decimal(repr(value)), "f")


def _whole_numbers(value: Value) -> Value:
    """JSON numbers carry no type: 8.0 is written as 8."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value


def from_text(text: str, parameter_type: str) -> Value:
    """Read an output file as KFP does.

    Raises:
        ValueError: the text is not of the type.

    Example:
        >>> from_text('["0-15"]', "LIST"), from_text("5", "NUMBER_INTEGER"), from_text("x ", "STRING")
        (['0-15'], 5, 'x ')
    """
    if parameter_type == "STRING":
        return text
    if parameter_type == "NUMBER_INTEGER":
        return int(text)
    if parameter_type == "NUMBER_DOUBLE":
        return float(text)
    expected = {"BOOLEAN": bool, "LIST": list, "STRUCT": dict}[parameter_type]
    value: Value = json.loads(text)
    if not isinstance(value, expected):
        raise ValueError(f"must be {parameter_type}; got {text[:100]!r}")
    return value


def fill(text: str, inputs: Mapping[str, Value], output_files: Mapping[str, str] = _NO_FILES) -> str:
    """Replace the placeholders of a text; the text of a value is never looked at again.

    Raises:
        KeyError: a placeholder names no input or output.

    Example:
        >>> fill("{{$.inputs.parameters['uri']}}/x", {"uri": "gs://b"})
        'gs://b/x'
    """
    return PLACEHOLDER.sub(
        lambda found: output_files[found["name"]] if found["file"] else to_text(inputs[found["name"]]), text
    )


_GROUPS = ("comp-for-loop-", "comp-exit-handler-")
"""Components that kfp makes of `with` blocks; users never named them, so paths leave them out."""


def step_of(task_name: str) -> str:
    """The step that a task of the pipeline runs, '' for none; a step may have several tasks and iterations.

    Example:
        >>> [step_of(name) for name in ("align", "pyramid-2", "tile(3:48-63)", "align-driver", "for-loop-1")]
        ['align', 'pyramid', 'tile', '', '']
    """
    found = re.fullmatch(rf"({'|'.join(STEPS)})(-\d+)*(\(.*\))?", task_name)
    return found[1] if found else ""


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


def step_names(pipeline: Pipeline) -> list[str]:
    """The steps that run programs if nothing fails, in the order of the data flow."""
    return list(_step_names(pipeline, pipeline.root, ()))


def _step_names(pipeline: Pipeline, dag: Dag, path: tuple[str, ...]) -> Iterator[str]:
    order = TopologicalSorter({name: tasks_before(task) for name, task in dag.tasks.items()})
    for name in order.static_order():
        if dag.tasks[name].only_after_failure:
            continue
        component = pipeline.components[dag.tasks[name].component]
        below = task_path(path, dag.tasks[name])
        if isinstance(component, Dag):
            yield from _step_names(pipeline, component, below)
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
