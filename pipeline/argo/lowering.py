"""Lowers a compiled pipeline to an Argo `WorkflowTemplate`, which needs Argo Workflows and nothing else.

Each program becomes a template whose pods run it; each group of tasks becomes a DAG. A loop is one task with
`withParam`, so that an iteration is one pod. The task that runs whatever happens becomes `onExit`. A loop's
parallelism becomes a semaphore in a ConfigMap beside the template: it holds over all runs, and an operator
may change it while they go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import Any

import yaml
from hera.workflows import models as argo

from components.shared.errors import ConfigError
from components.shared.steps import STEPS
from pipeline.argo.pod import DATA_VOLUME, MEMORY_INPUT, pod_template
from pipeline.compiled.ir import (
    PLACEHOLDER,
    Constant,
    Container,
    Dag,
    FinalStatus,
    ParentInput,
    Pipeline,
    Source,
    Task,
    TaskOutput,
    tasks_before,
    to_text,
)
from pipeline.here.containers import IMAGE_USER
from pipeline.settings import Settings

Expressions = Mapping[str, str]
"""The value of each input by name: a text, or a placeholder `{{...}}` of Argo."""

_ITEM = "{{item}}"
_DAY_S = 86400


def lower(pipeline: Pipeline, settings: Settings) -> list[dict[str, Any]]:
    """The Kubernetes objects of a pipeline: the ConfigMap of its limits and the WorkflowTemplate.

    Raises:
        ConfigError: the pipeline uses what Argo cannot do alike.
    """
    lowering = _Lowering(pipeline, settings)
    spec = lowering.spec()
    limits = argo.ObjectMeta(name=lowering.limits_name, labels={"app.kubernetes.io/name": "fibstack"})
    template = argo.WorkflowTemplate(
        api_version="argoproj.io/v1alpha1",
        kind="WorkflowTemplate",
        metadata=argo.ObjectMeta(
            name=pipeline.name,
            labels={"app.kubernetes.io/name": "fibstack"},
            annotations={"workflows.argoproj.io/description": pipeline.description}
            if pipeline.description
            else None,
        ),
        spec=spec,
    )
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _plain(limits),
        "data": lowering.limits,
    }
    return [*([config_map] if lowering.limits else []), _plain(template)]


def to_yaml(objects: Iterable[Mapping[str, Any]]) -> str:
    """Kubernetes objects as one YAML text, the same bytes for the same objects."""
    texts = [yaml.safe_dump(o, sort_keys=False, width=110, allow_unicode=True) for o in objects]
    return "---\n".join(texts)


def _plain(model: Any) -> dict[str, Any]:  # noqa: ANN401 - any of hera's models
    """A model as YAML holds it, the name of each thing first."""
    values: dict[str, Any] = json.loads(
        model.model_dump_json(exclude_none=True, by_alias=True, serialize_as_any=True)
    )
    return {key: _name_first(value) for key, value in values.items()}


def _name_first(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        first = {key: value[key] for key in ("apiVersion", "kind", "name", "metadata") if key in value}
        return {key: _name_first(below) for key, below in {**first, **value}.items()}
    if isinstance(value, list):
        return [_name_first(below) for below in value]
    return value


class _Lowering:
    """The templates and limits that have been made so far."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._step_of_image = {settings.image(step): step for step in STEPS}
        self._templates: dict[str, argo.Template] = {}
        self.limits: dict[str, str] = {}
        self.limits_name = f"{pipeline.name}-limits"

    def spec(self) -> argo.WorkflowSpec:
        root = self._pipeline.root
        expressions = {name: f"{{{{workflow.parameters.{name}}}}}" for name in root.inputs}
        exits = [task for task in root.tasks.values() if task.always]
        if len(exits) > 1:
            raise _unsupported("root", "several exit tasks")
        main = [task for task in root.tasks.values() if not task.always]
        if len(main) == 1 and main[0].loop is None:  # the group that the exit task guards
            group = self._pipeline.components[main[0].component]
            if isinstance(group, Dag):
                inputs = self._inputs(main[0], expressions, {})
                return self._spec(self._dag("main", group.tasks.values(), inputs), exits, expressions)
        return self._spec(self._dag("main", main, expressions), exits, expressions)

    def _spec(self, entry: argo.Template, exits: list[Task], expressions: Expressions) -> argo.WorkflowSpec:
        alone = [_on_its_own(task) for task in exits]
        on_exit = self._dag("on-exit", alone, expressions).name if alone else None
        parameters = [
            argo.Parameter(
                name=name,
                description=declared.description or None,
                value=None if declared.default is None else to_text(declared.default),
            )
            for name, declared in self._pipeline.root.inputs.items()
        ]
        return argo.WorkflowSpec(
            entrypoint=entry.name,
            on_exit=on_exit,
            arguments=argo.Arguments(parameters=parameters),
            service_account_name=self._settings.service_account or None,
            security_context=argo.PodSecurityContext(
                run_as_non_root=True,
                run_as_user=IMAGE_USER[0],  # the image of Argo's own containers would run as root
                run_as_group=IMAGE_USER[1],
                seccomp_profile=argo.SeccompProfile(type="RuntimeDefault"),
                fs_group=IMAGE_USER[1] if self._settings.volume else None,  # else root's alone to write
            ),
            volumes=self._volumes(),
            # A finished pod stays a while, so that its log can be read.
            pod_gc=argo.PodGC(strategy="OnPodSuccess", delete_delay_duration="3600s"),
            ttl_strategy=argo.TTLStrategy(
                seconds_after_success=7 * _DAY_S, seconds_after_failure=30 * _DAY_S
            ),
            workflow_metadata=argo.WorkflowMetadata(labels={"app.kubernetes.io/name": "fibstack"}),
            templates=list(self._templates.values()),
        )

    def _volumes(self) -> list[argo.Volume]:
        volumes = [argo.Volume(name="tmp", empty_dir=argo.EmptyDirVolumeSource())]
        if self._settings.volume:
            claim = argo.PersistentVolumeClaimVolumeSource(claim_name=self._settings.volume.claim)
            volumes.append(argo.Volume(name=DATA_VOLUME, persistent_volume_claim=claim))
        return volumes

    def _dag(self, name: str, tasks: Iterable[Task], expressions: Expressions) -> argo.Template:
        """Add the template of a group of tasks, after the templates that it uses."""
        group = {task.name: task for task in tasks}
        if any(task.always for task in group.values()):
            raise _unsupported(name, "an exit task below the root")
        before = {
            key: [other for other in tasks_before(task) if other in group] for key, task in group.items()
        }
        names = {key: self._leaf(task).name for key, task in group.items()}
        if len(set(names.values())) < len(names):
            names = {key: key for key in group}
        lowered = [
            self._task(group[key], expressions, names, before[key])
            for key in TopologicalSorter(before).static_order()
        ]
        template = argo.Template(name=name, dag=argo.DAGTemplate(tasks=lowered))
        used = dict.fromkeys(re.findall(r"{{inputs\.parameters\.([^}]+)}}", template.model_dump_json()))
        if used:
            template.inputs = argo.Inputs(parameters=[argo.Parameter(name=key) for key in used])
        return self._add(template)

    def _leaf(self, task: Task) -> Task:
        """The task that does the work of a task: the only one of a loop's body, if it is one, or itself."""
        body = self._pipeline.components[task.component]
        if task.loop is None or isinstance(body, Container) or len(body.tasks) > 1:
            return task
        (only,) = body.tasks.values()
        return task if only.loop or only.always else only

    def _task(
        self, task: Task, expressions: Expressions, names: Mapping[str, str], before: list[str]
    ) -> argo.DAGTask:
        inputs = self._inputs(task, expressions, names)
        with_param = None
        if task.loop:
            items = task.loop.items
            with_param = inputs[items] if isinstance(items, str) else json.dumps(items, ensure_ascii=False)
            inputs[task.loop.item_name] = _ITEM
        leaf = self._leaf(task)
        if leaf is not task:
            inputs = self._inputs(leaf, inputs, {})
        body = self._pipeline.components[leaf.component]
        if isinstance(body, Container) and body.memory_input:
            inputs[MEMORY_INPUT] = inputs[body.memory_input]
        template = self._component(leaf, inputs, task.loop.parallelism if task.loop else 0)
        taken = template.inputs.parameters if template.inputs else None
        arguments = [argo.Parameter(name=taken.name, value=inputs[taken.name]) for taken in taken or []]
        return argo.DAGTask(
            name=names[task.name],
            depends=" && ".join(names[other] for other in before) or None,
            template=template.name,
            arguments=argo.Arguments(parameters=arguments) if arguments else None,
            with_param=with_param,
        )

    def _inputs(self, task: Task, expressions: Expressions, names: Mapping[str, str]) -> dict[str, str]:
        """The values of the inputs of a task's component, defaults filled in."""
        declared = self._pipeline.components[task.component].inputs
        given = {key: _expression(source, expressions, names) for key, source in task.inputs.items()}
        for key, source in task.inputs.items():
            if isinstance(source, Constant) and isinstance(source.value, str):
                if "{{" in PLACEHOLDER.sub("", source.value):
                    raise _unsupported(f"{task.name}.{key}", "'{{' in a text, which Argo would replace")
                given[key] = PLACEHOLDER.sub(lambda found: given[found["name"]], source.value)
        defaults = {key: to_text(d.default) for key, d in declared.items() if d.default is not None}
        return {**defaults, **given}

    def _component(self, task: Task, inputs: Expressions, parallelism: int) -> argo.Template:
        """Add the template of a task's component; `parallelism` limits it where it is not 0."""
        component = self._pipeline.components[task.component]
        name = task.component.removeprefix("comp-")
        if isinstance(component, Dag):
            below = {key: f"{{{{inputs.parameters.{key}}}}}" for key in component.inputs}
            template, step = self._dag(name, component.tasks.values(), below), name
        else:
            known = self._step_of_image.get(component.image)
            step = known or name
            unit = next((key for key in component.inputs if inputs.get(key) == _ITEM), "")
            template = pod_template(name, step, component, self._settings, task.retry, unit)
        if parallelism:
            self.limits[step] = str(parallelism)
            key = argo.ConfigMapKeySelector(name=self.limits_name, key=step)
            template.synchronization = argo.Synchronization(
                semaphores=[argo.SemaphoreRef(config_map_key_ref=key)]
            )
        return self._add(template)

    def _add(self, template: argo.Template) -> argo.Template:
        """Keep a template, or find the one that says the same under another name."""
        for known in self._templates.values():
            if known.model_copy(update={"name": template.name}) == template:
                return known
        if template.name in self._templates:
            raise _unsupported(str(template.name), "one component in two different ways")
        self._templates[str(template.name)] = template
        return template


def _on_its_own(task: Task) -> Task:
    """The exit task, which Argo starts when the others have ended; kfp gives it none of their outputs."""
    return replace(task, after=frozenset(), always=False)


def _expression(source: Source, expressions: Expressions, names: Mapping[str, str]) -> str:
    match source:
        case ParentInput(name):
            return expressions[name]
        case TaskOutput(task, name):
            return f"{{{{tasks.{names[task]}.outputs.parameters.{name}}}}}"
        case FinalStatus():
            return "{{workflow.status}}"
        case Constant(value):
            return to_text(value)


def _unsupported(where: str, what: str) -> ConfigError:
    return ConfigError(f"a pipeline for Argo must not use {what}; got it in '{where}'. Use target kfp.")
