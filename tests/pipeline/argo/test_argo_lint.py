"""The lint on Argo manifests: each way to break the real one is found, alone."""

import copy
from typing import Any

import pytest
import yaml

from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings
from tests.pipeline.argo.argo_lint import problems


@pytest.fixture(scope="module")
def sound() -> list[dict]:
    return list(yaml.safe_load_all(compile_argo(Settings())))


def test_the_pipeline_is_sound(sound: Any) -> None:
    assert problems(sound) == []


def template(objects, name: str) -> dict:
    (found,) = [t for t in objects[1]["spec"]["templates"] if t["name"] == name]
    return found


def task(objects, name: str) -> dict:
    (found,) = [t for t in template(objects, "main")["dag"]["tasks"] if t["name"] == name]
    return found


def put(place: dict, key: str, value: object) -> None:
    place[key] = value


BREAKS = {
    "must be a field that Argo knows": lambda o: put(template(o, "tile"), "nodeSelectr", {}),
    "spec.activeDeadlineSeconds": lambda o: put(o[1]["spec"], "activeDeadlineSeconds", "soon"),
    "retryPolicy must be one of": lambda o: put(
        template(o, "tile")["retryStrategy"], "retryPolicy", "Sometimes"
    ),
    "podGC.strategy must be one of": lambda o: put(o[1]["spec"]["podGC"], "strategy", "OnPodSucces"),
    "entrypoint must name a template; got 'gone'": lambda o: put(o[1]["spec"], "entrypoint", "gone"),
    "onExit must name a template; got 'gone'": lambda o: put(o[1]["spec"], "onExit", "gone"),
    "use a template that exists; got 'gone'": lambda o: put(task(o, "tile"), "template", "gone"),
    "depend on tasks of its own DAG; got 'gone'": lambda o: put(
        task(o, "tile"), "depends", "compose && gone && plan"
    ),
    "got '{{tasks.compose.outputs.parameters.slabs}}'": lambda o: put(task(o, "tile"), "depends", "plan"),
    "got '{{tasks.compose.outputs.parameters.gone}}'": lambda o: put(
        task(o, "tile"), "withParam", "{{tasks.compose.outputs.parameters.gone}}"
    ),
    "got '{{item}}'": lambda o: task(o, "tile").pop("withParam"),
    "must give what 'tile' takes": lambda o: task(o, "tile")["arguments"]["parameters"].pop(),
    "got '{{workflow.status}}'": lambda o: put(
        task(o, "compose")["arguments"]["parameters"][0], "value", "{{workflow.status}}"
    ),
    "got '{{inputs.parameters.gone}}'": lambda o: template(o, "tile")["container"]["command"].append(
        "{{inputs.parameters.gone}}"
    ),
    "must use its input 'gone'": lambda o: (
        template(o, "compose")["inputs"]["parameters"].append({"name": "gone"}),
        task(o, "compose")["arguments"]["parameters"].append({"name": "gone", "value": ""}),
    ),
    "a quantity as limits.cpu; got 'lots'": lambda o: put(
        template(o, "tile")["container"]["resources"]["limits"], "cpu", "lots"
    ),
    "got 'lastTry.exitCode'": lambda o: put(
        template(o, "tile")["retryStrategy"], "expression", "lastTry.exitCode == '1'"
    ),
    "a duration as its backoff; got 'long'": lambda o: put(
        template(o, "tile")["retryStrategy"]["backoff"], "cap", "long"
    ),
    "a number as the limit of retries": lambda o: put(template(o, "tile")["retryStrategy"], "limit", "many"),
    "must patch quantities; got '8 GB'": lambda o: put(
        template(o, "tile"), "podSpecPatch", template(o, "tile")["podSpecPatch"].replace("'8G'", "'8 GB'")
    ),
    "must have JSON as podSpecPatch": lambda o: put(
        template(o, "tile"), "podSpecPatch", template(o, "tile")["podSpecPatch"].replace("}]}", "}]")
    ),
    "must write its outputs to a volume; got '/outputs/slabs'": lambda o: put(
        template(o, "compose")["outputs"]["parameters"][2]["valueFrom"], "path", "/outputs/slabs"
    ),
    "must mount volumes that exist; got 'scratch'": lambda o: put(
        template(o, "tile")["container"]["volumeMounts"][0], "name", "scratch"
    ),
    "explicit command": lambda o: put(template(o, "plan")["container"], "command", []),
    "got align-stack-limits.tile": lambda o: o[0]["data"].pop("tile"),
    "a name must be lower-case": lambda o: put(o[1]["metadata"], "name", "Align_Stack"),
}


@pytest.mark.parametrize("expected", BREAKS)
def test_each_fault_is_found(sound: Any, expected: str) -> None:
    objects = copy.deepcopy(sound)
    BREAKS[expected](objects)
    found = problems(objects)
    assert any(expected in problem for problem in found), found
