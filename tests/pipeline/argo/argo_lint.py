"""Finds in Argo manifests what a cluster would take and then fail on, or read otherwise than meant.

Argo's models and its JSON schema accept unknown fields, templates that do not exist, words that no list has
and any text as a quantity. So each name that is used must exist, each `{{...}}` must be known where it
stands, and words, quantities and names must be such as the cluster reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hera.workflows import models as argo
from pydantic import ValidationError

Object = Mapping[str, Any]

_TAG = re.compile(r"{{(.*?)}}")
_REFERENCE = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_DURATION = re.compile(r"\d+(\.\d+)?(ms|s|m|h)?")
_WORDS = {
    "retryPolicy": {"Always", "OnFailure", "OnError", "OnTransientError"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "operator": {"Equal", "Exists"},
    "effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
}
_POD_GC = {"OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"}
_WORKFLOW = {"workflow.name", "workflow.namespace", "workflow.uid"}
_RETRY = {"retries", "lastRetry.exitCode", "lastRetry.message", "lastRetry.status", "lastRetry.duration"}
_EXPRESSION_WORDS = {"contains", "in", "not", "and", "or"}


def problems(objects: Sequence[Object]) -> list[str]:
    """Everything that is wrong with the objects of a workflow, one sentence each; empty where sound."""
    limits = {o["metadata"]["name"]: set(o["data"]) for o in objects if o["kind"] == "ConfigMap"}
    found: list[str] = []
    for workflow in objects:
        if workflow["kind"] != "ConfigMap":
            found += _unknown_fields(workflow)
            found += _workflow(workflow, limits)
    return found


def _unknown_fields(workflow: Object) -> Iterator[str]:
    """What Argo's models drop or refuse when they read the object."""
    try:
        model = argo.WorkflowTemplate.model_validate(_as_argo_4_0(workflow))
    except ValidationError as error:
        for problem in error.errors():
            yield f"{'.'.join(map(str, problem['loc']))} must be as Argo knows it: {problem['msg']}."
        return
    kept = json.loads(model.model_dump_json(exclude_none=True, by_alias=True))
    yield from _dropped(_as_argo_4_0(workflow), kept, "")


def _as_argo_4_0(workflow: Object) -> Object:
    """The object without the field of Argo 4.1 that hera's models do not know."""
    templates = [{k: v for k, v in t.items() if k != "pendingTimeout"} for t in workflow["spec"]["templates"]]
    return {**workflow, "spec": {**workflow["spec"], "templates": templates}}


def _dropped(given: Any, kept: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{where}{key} must be a field that Argo knows."
            else:
                yield from _dropped(value, kept[key], f"{where}{key}.")
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from _dropped(one, other, f"{where}{index}.")
    elif given != kept:
        yield f"{where.rstrip('.')} must be read as it is written; got {given!r}, read as {kept!r}."


def _workflow(workflow: Object, limits: Mapping[str, set[str]]) -> Iterator[str]:
    spec = workflow["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    if len(templates) < len(spec["templates"]):
        yield "templates must have different names."
    for name in (workflow["metadata"]["name"], *templates):
        if not _NAME.fullmatch(name) or len(name) > 63:
            yield f"a name must be lower-case letters, digits and '-'; got '{name}'."
    yield from _spec(spec, templates)
    parameters = {p["name"] for p in spec.get("arguments", {}).get("parameters", ())}
    known = _WORKFLOW | {f"workflow.parameters.{name}" for name in parameters}
    at_exit = _reachable(spec.get("onExit", ""), templates)
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    for name, template in templates.items():
        own = known | ({"workflow.status", "workflow.failures"} if name in at_exit else set())
        own |= {f"inputs.parameters.{key}" for key in _parameters(template, "inputs")}
        if "dag" in template:
            yield from _dag(template, templates, own)
        else:
            yield from _pod(template, own, volumes)
        yield from _unused_inputs(template)
        yield from _semaphores(template, limits)
    yield from _leaves(spec, "spec")


def _spec(spec: Object, templates: Collection[str]) -> Iterator[str]:
    for key in ("entrypoint", "onExit"):
        if key in spec and spec[key] not in templates:
            yield f"{key} must name a template; got '{spec[key]}'."
    collection = spec.get("podGC", {}).get("strategy", "OnPodSuccess")
    if collection not in _POD_GC:
        yield f"podGC.strategy must be one of {', '.join(sorted(_POD_GC))}; got '{collection}'."


def _semaphores(template: Object, limits: Mapping[str, set[str]]) -> Iterator[str]:
    for semaphore in template.get("synchronization", {}).get("semaphores", ()):
        key = semaphore["configMapKeyRef"]
        if key["key"] not in limits.get(key["name"], set()):
            limit = f"{key['name']}.{key['key']}"
            yield f"{template['name']} must take its semaphore from a ConfigMap here; got {limit}."


def _parameters(template: Object, side: str) -> list[str]:
    return [parameter["name"] for parameter in template.get(side, {}).get("parameters", ())]


def _reachable(name: str, templates: Mapping[str, Object]) -> set[str]:
    if name not in templates:
        return set()
    tasks = templates[name].get("dag", {}).get("tasks", ())
    return {name}.union(*(_reachable(task["template"], templates) for task in tasks))


def _dag(template: Object, templates: Mapping[str, Object], known: Collection[str]) -> Iterator[str]:
    tasks = {task["name"]: task for task in template["dag"]["tasks"]}
    if len(tasks) < len(template["dag"]["tasks"]):
        yield f"{template['name']} must have tasks of different names."
    for name, task in tasks.items():
        where = f"{template['name']}/{name}"
        if not _NAME.fullmatch(name):
            yield f"{where} must be named by lower-case letters, digits and '-'."
        if task["template"] not in templates:
            yield f"{where} must use a template that exists; got '{task['template']}'."
            continue
        before = task.get("depends", "").split(" && ") if task.get("depends") else []
        for other in before:
            if other not in tasks:
                yield f"{where} must depend on tasks of its own DAG; got '{other}'."
        outputs = {
            f"tasks.{other}.outputs.parameters.{key}"
            for other in before
            if other in tasks and tasks[other]["template"] in templates
            for key in _parameters(templates[tasks[other]["template"]], "outputs")
        }
        given = task.get("arguments", {}).get("parameters", ())
        taken = set(_parameters(templates[task["template"]], "inputs"))
        if taken != {parameter["name"] for parameter in given}:
            yield f"{where} must give what '{task['template']}' takes: {', '.join(sorted(taken))}."
        item = {"item"} if "withParam" in task else set()
        for text in [*(parameter["value"] for parameter in given), task.get("withParam", "")]:
            yield from _tags(where, text, {*known, *outputs, *item})


def _pod(template: Object, known: Collection[str], volumes: Collection[str]) -> Iterator[str]:
    where, container = template["name"], template["container"]
    if not container.get("command"):
        yield f"{where} must have an explicit command; Argo would look for it in the registry."
    retry = template.get("retryStrategy")
    for text in _texts({key: value for key, value in template.items() if key != "retryStrategy"}):
        yield from _tags(where, text, {*known, *(_RETRY if retry else ())})
    if retry:
        yield from _retry(where, retry)
    yield from _volumes(template, volumes)
    for kind, quantities in container.get("resources", {}).items():
        for key, quantity in quantities.items():
            if not _QUANTITY.fullmatch(quantity):
                yield f"{where} must have a quantity as {kind}.{key}; got '{quantity}'."
    yield from _patch(where, template.get("podSpecPatch", "{}"))


def _retry(where: str, retry: Object) -> Iterator[str]:
    yield from _tags(where, f"{{{{={retry.get('expression', 'true')}}}}}", _RETRY)
    if not str(retry["limit"]).isdigit():
        yield f"{where} must have a number as the limit of retries; got '{retry['limit']}'."
    for key in ("duration", "cap"):
        if key in retry.get("backoff", {}) and not _DURATION.fullmatch(retry["backoff"][key]):
            yield f"{where} must have a duration as its backoff; got '{retry['backoff'][key]}'."


def _volumes(template: Object, volumes: Collection[str]) -> Iterator[str]:
    mounts = template["container"].get("volumeMounts", ())
    for output in template.get("outputs", {}).get("parameters", ()):
        path = output["valueFrom"]["path"]
        if not any(path.startswith(f"{mount['mountPath']}/") for mount in mounts):
            yield f"{template['name']} must write its outputs to a volume; got '{path}'."
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f"{template['name']} must mount volumes that exist; got '{mount['name']}'."


def _patch(where: str, patch: str) -> Iterator[str]:
    for expression in _TAG.findall(patch):
        for word in re.findall(r"'(\d[^']*[A-Za-z])'", expression):
            if not _QUANTITY.fullmatch(word):
                yield f"{where} must patch quantities; got '{word}'."
    if not _is_json(_TAG.sub("0", patch)):
        yield f"{where} must have JSON as podSpecPatch; got '{patch}'."


def _unused_inputs(template: Object) -> Iterator[str]:
    """An input that nothing uses costs its bytes in the status of every pod."""
    text = json.dumps({key: value for key, value in template.items() if key != "inputs"})
    for key in _parameters(template, "inputs"):
        used = rf"{{{{(=[^}}]* )?inputs\.parameters\.{re.escape(key)}( [^}}]*)?}}}}"
        if not re.search(used, text):
            yield f"{template['name']} must use its input '{key}'."


def _tags(where: str, text: str, known: Collection[str]) -> Iterator[str]:
    for tag in _TAG.findall(text):
        if not tag.startswith("="):
            if tag not in known:
                yield f"{where} must only use what is known there; got '{{{{{tag}}}}}'."
            continue
        for name in _REFERENCE.findall(re.sub(r"'[^']*'", "", tag[1:])):
            if name not in known and name not in _EXPRESSION_WORDS:
                yield f"{where} must only use what is known there; got '{name}' in '{tag}'."


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)


def _leaves(value: Any, where: str) -> Iterator[str]:
    """Words that must be of a list."""
    if isinstance(value, list):
        for index, below in enumerate(value):
            yield from _leaves(below, f"{where}.{index}")
    elif isinstance(value, dict):
        for key, below in value.items():
            if key in _WORDS and isinstance(below, str) and below not in _WORDS[key]:
                yield f"{where}.{key} must be one of {', '.join(sorted(_WORDS[key]))}; got '{below}'."
            yield from _leaves(below, f"{where}.{key}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
