"""Refuses compiled pipelines that are broken, or that would not run alike everywhere.

kfp compiles some ordinary idioms to IR with dangling references, without a word (a resource limit from a
parameter in a loop, an f-string over a loop item's field). The check is on the IR: on what is submitted.

1. Closure: every parent input, producer, output and required input that is named exists.
2. Portability: explicit commands, fixed images, caching off, no nullable parameters, no artifacts in loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.compiled.ir import ARTIFACT, PLACEHOLDER

_GENERATED = "pipelinechannel--"
"""Prefix of inputs that kfp adds to a task for its own use, undeclared by the component."""
_COPIED = frozenset({"memory_request"})
"""Inputs by which kfp says once more what it makes a task's machine of, undeclared by the component."""


def problems(document: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a compiled pipeline, one sentence each; empty where it is sound."""
    return [*_closure(document), *_containers(document), *_nullable(document), *_mapped_artifacts(document)]


def _dags(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every component made of tasks, the root first."""
    yield "root", document["root"]
    for name, component in document.get("components", {}).items():
        if "dag" in component:
            yield name, component


def _declared(component: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = component.get(side, {}).get("parameters", {})
    return found


def _closure(document: Mapping[str, Any]) -> Iterator[str]:
    components = document.get("components", {})
    for dag_name, dag in _dags(document):
        for task_name, task in dag["dag"]["tasks"].items():
            where = f"{dag_name}/{task_name}"
            if task["componentRef"]["name"] not in components:
                yield f"{where} must apply a component that exists; got '{task['componentRef']['name']}'."
                continue
            yield from _task_order(where, task, dag)
            yield from _task_inputs(where, task, dag, components)
            yield from _task_signature(where, task, components[task["componentRef"]["name"]])


def _task_order(where: str, task: Mapping[str, Any], dag: Mapping[str, Any]) -> Iterator[str]:
    for other in task.get("dependentTasks", ()):
        if other not in dag["dag"]["tasks"]:
            yield f"{where} must wait for a task of its own group; got '{other}'."


def _task_inputs(
    where: str, task: Mapping[str, Any], dag: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterator[str]:
    """Complaints about the sources of a task's inputs, such as an output that does not exist."""
    given = task.get("inputs", {}).get("parameters", {})
    for key, source in given.items():
        match source:
            case {"componentInputParameter": name} if name not in _declared(dag, "inputDefinitions"):
                yield f"{where} must take '{key}' from an input of its group; got '{name}'."
            case {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": output}}:
                if producer not in dag["dag"]["tasks"]:
                    yield f"{where} must take '{key}' from a task of its own group; got '{producer}'."
                    continue
                reference = dag["dag"]["tasks"][producer]["componentRef"]["name"]
                if output not in _declared(components.get(reference, {}), "outputDefinitions"):
                    yield f"{where} must take '{key}' from an output of '{producer}'; got '{output}'."
            case {"taskFinalStatus": {"producerTask": producer}} if producer not in dag["dag"]["tasks"]:
                yield f"{where} must take '{key}' from a task of its own group; got '{producer}'."
            case {"runtimeValue": {"constant": str(text)}}:
                for found in PLACEHOLDER.finditer(text):
                    if found["name"] not in given:
                        yield f"{where} must have the input that '{key}' is made of; got '{found['name']}'."


def _task_signature(where: str, task: Mapping[str, Any], component: Mapping[str, Any]) -> Iterator[str]:
    """Complaints about a task that gives other inputs than its component takes."""
    given = set(task.get("inputs", {}).get("parameters", {}))
    taken = _declared(component, "inputDefinitions")
    iterator = task.get("parameterIterator")
    if iterator:
        items = iterator["items"].get("inputParameter")
        if items is not None and items not in given:
            yield f"{where} must loop over one of its inputs; got '{items}'."
        given.add(iterator["itemInput"])
    for name, definition in taken.items():
        if name not in given and not definition.get("isOptional"):
            yield f"{where} must be given the input '{name}'."
    for name in sorted(given - taken.keys()):
        if not name.startswith(_GENERATED) and name not in _COPIED:
            yield f"{where} must only be given inputs of its component; got '{name}'."


def _containers(document: Mapping[str, Any]) -> Iterator[str]:
    executors = document.get("deploymentSpec", {}).get("executors", {})
    for name, component in document.get("components", {}).items():
        if "dag" in component:
            continue
        container = executors.get(component.get("executorLabel"), {}).get("container")
        if container is None:
            yield f"{name} must have a container executor; got '{component.get('executorLabel')}'."
            continue
        if not container.get("command"):
            yield f"{name} must have an explicit command; Argo would look for it in the registry."
        if not container.get("image") or "{{" in container["image"]:
            yield f"{name} must have a fixed image; got '{container.get('image', '')}'."
        yield from _container_placeholders(name, component, container)
    for dag_name, dag in _dags(document):
        for task_name, task in dag["dag"]["tasks"].items():
            if task.get("cachingOptions", {}).get("enableCache"):
                yield f"{dag_name}/{task_name} must not be cached: a cache cannot see what lies in storage."
            component = document["components"].get(task["componentRef"]["name"], {})
            container = executors.get(component.get("executorLabel"), {}).get("container", {})
            yield from _machine_inputs(f"{dag_name}/{task_name}", task, container)


def _machine_inputs(where: str, task: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    """Complaints about a machine that is made of what its task is not given."""
    given = task.get("inputs", {}).get("parameters", {})
    for value in container.get("resources", {}).values():
        for found in PLACEHOLDER.finditer(str(value)):
            if found["name"] not in given:
                yield f"{where} must be given what its machine is made of; got '{found['name']}'."
        if "{{$" in PLACEHOLDER.sub("", str(value)):
            yield f"{where} must have a machine made of parameters alone; got '{value}'."


def _container_placeholders(
    name: str, component: Mapping[str, Any], container: Mapping[str, Any]
) -> Iterator[str]:
    known = {way: _declared(component, f"{way[:-1]}Definitions") for way in ("inputs", "outputs")}
    for text in [*container.get("command", ()), *container.get("args", ())]:
        for found in PLACEHOLDER.finditer(text):
            if found["name"] not in known[found["way"]]:
                yield f"{name} must only use its own {found['way']}; got '{found['name']}'."
        asked = ARTIFACT.fullmatch(text)
        artifacts = component.get("outputDefinitions", {}).get("artifacts", {})
        if asked and not (asked["name"] in artifacts if asked["name"] else artifacts):
            yield f"{name} must only write its own artifacts; got '{text}'."
        elif not asked and "{{$" in PLACEHOLDER.sub("", text):
            yield f"{name} must only use parameters in its arguments; got '{text}'."


def _nullable(document: Mapping[str, Any]) -> Iterator[str]:
    for name, component in [("root", document["root"]), *document.get("components", {}).items()]:
        for key, definition in _declared(component, "inputDefinitions").items():
            filled_in = definition["parameterType"] == "TASK_FINAL_STATUS"
            if definition.get("isOptional") and "defaultValue" not in definition and not filled_in:
                yield f"{name} must have a value for '{key}': Argo has no absent argument. Give it a default."


def _mapped_artifacts(document: Mapping[str, Any]) -> Iterator[str]:
    components = document.get("components", {})

    def below(name: str) -> Iterator[str]:
        yield name
        for task in components.get(name, {}).get("dag", {}).get("tasks", {}).values():
            yield from below(task["componentRef"]["name"])

    mapped: set[str] = set()
    for dag_name, dag in _dags(document):
        for task_name, task in dag["dag"]["tasks"].items():
            if "artifactIterator" in task:
                yield f"{dag_name}/{task_name} must loop over parameters; got artifacts."
            if "parameterIterator" in task:
                mapped.update(below(task["componentRef"]["name"]))
    for name in sorted(mapped):
        for side in ("inputDefinitions", "outputDefinitions"):
            if components.get(name, {}).get(side, {}).get("artifacts"):
                yield f"{name} must not use artifacts in a loop: services limit their number."
