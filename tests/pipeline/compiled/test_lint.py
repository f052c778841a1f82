"""The lint on IR that kfp compiles without a word, and on IR broken by hand."""

import copy
from pathlib import Path
from typing import Any, Optional

import pytest
import yaml
from kfp import dsl
from kfp.compiler import Compiler

from pipeline.compiled.compile import compile_kfp, compile_pipeline
from pipeline.compiled.lint import problems
from pipeline.settings import Settings
from tests.pipeline.toys import items, note, say, uncached


@pytest.fixture(scope="module")
def sound() -> dict:
    return next(yaml.safe_load_all(compile_kfp(Settings())))


def raw(pipeline, tmp_path) -> dict:
    path = tmp_path / "p.yaml"
    Compiler().compile(pipeline, str(path))
    return yaml.safe_load(path.read_text())


def test_the_pipeline_is_sound(sound: Any) -> None:
    assert problems(sound) == []


def only_problem(ir: dict, *parts: str) -> None:
    found = problems(ir)
    assert len(found) == 1, found
    for part in parts:
        assert part in found[0]


def test_resource_limit_from_a_parameter_in_a_loop(tmp_path: Path) -> None:
    @dsl.pipeline(name="limit")
    def limit(cpu: str = "2") -> None:
        listed = uncached(items(n=2))
        with dsl.ParallelFor(listed.outputs["out"]) as item:
            uncached(note(folder="f", name=item, text="", seconds=0.0)).set_cpu_limit(cpu)

    assert any("from an input of its group" in problem for problem in problems(raw(limit, tmp_path)))
    with pytest.raises(ValueError, match="broken"):
        compile_pipeline(limit)


def test_f_string_over_a_field_of_an_item(tmp_path: Path) -> None:
    @dsl.pipeline(name="field")
    def field() -> None:
        listed = uncached(items(n=2))
        with dsl.ParallelFor(listed.outputs["out"]) as item:
            uncached(note(folder=f"f/{item.z}", name="n", text="", seconds=0.0))

    assert any("listed" in problem or "items" in problem for problem in problems(raw(field, tmp_path)))


def test_caching(tmp_path: Path) -> None:
    @dsl.pipeline(name="cached")
    def cached() -> None:
        say(text="x")

    only_problem(raw(cached, tmp_path), "root/say", "cached")


def test_nullable_parameter(tmp_path: Path) -> None:
    @dsl.container_component
    def maybe(text: Optional[str] = None):  # noqa: UP045 - kfp knows no other way
        return dsl.ContainerSpec(image="x", command=["python"], args=[text])

    @dsl.pipeline(name="nullable")
    def nullable() -> None:
        uncached(maybe())

    only_problem(raw(nullable, tmp_path), "comp-maybe", "'text'", "default")


def test_implicit_command(tmp_path: Path) -> None:
    @dsl.container_component
    def implicit():
        return dsl.ContainerSpec(image="x")

    @dsl.pipeline(name="implicit-command")
    def pipeline() -> None:
        uncached(implicit())

    only_problem(raw(pipeline, tmp_path), "comp-implicit", "explicit command")


def test_artifact_in_a_loop(tmp_path: Path) -> None:
    @dsl.container_component
    def drawn(name: str, page: dsl.Output[dsl.HTML]):
        return dsl.ContainerSpec(image="x", command=["python"], args=[name, page.path])

    @dsl.pipeline(name="artifact")
    def artifact() -> None:
        with dsl.ParallelFor(["a", "b"]) as item:
            uncached(drawn(name=item))

    assert any("artifacts in a loop" in problem for problem in problems(raw(artifact, tmp_path)))


def exit_dag(ir: dict) -> dict:
    return ir["components"]["comp-exit-handler-1"]["dag"]["tasks"]


def break_reference(ir) -> str:
    ir["components"]["comp-for-loop-3"]["dag"]["tasks"]["tile"]["componentRef"]["name"] = "comp-gone"
    return "comp-gone"


def break_order(ir) -> str:
    exit_dag(ir)["compose"]["dependentTasks"].append("gone")
    return "wait for a task of its own group; got 'gone'"


def break_producer(ir) -> str:
    exit_dag(ir)["compose"]["inputs"]["parameters"]["process_uri"]["taskOutputParameter"]["producerTask"] = (
        "gone"
    )
    return "from a task of its own group; got 'gone'"


def break_output(ir) -> str:
    source = exit_dag(ir)["compose"]["inputs"]["parameters"]["process_uri"]["taskOutputParameter"]
    source["outputParameterKey"] = "gone"
    return "from an output of 'plan'; got 'gone'"


def break_parent(ir) -> str:
    exit_dag(ir)["plan"]["inputs"]["parameters"]["minz"] = {"componentInputParameter": "gone"}
    return "take 'minz' from an input of its group; got 'gone'"


def break_required(ir) -> str:
    del exit_dag(ir)["plan"]["inputs"]["parameters"]["minz"]
    return "must be given the input 'minz'"


def break_undeclared(ir) -> str:
    exit_dag(ir)["plan"]["inputs"]["parameters"]["gone"] = {"runtimeValue": {"constant": 1}}
    return "only be given inputs of its component; got 'gone'"


def break_template(ir) -> str:
    constant = {"runtimeValue": {"constant": "{{$.inputs.parameters['gone']}}/x"}}
    exit_dag(ir)["plan"]["inputs"]["parameters"]["source"] = constant
    return "that 'source' is made of; got 'gone'"


def break_iterator(ir) -> str:
    exit_dag(ir)["for-loop-2"]["parameterIterator"]["items"]["inputParameter"] = "gone"
    return "loop over one of its inputs; got 'gone'"


def break_status(ir) -> str:
    source = ir["root"]["dag"]["tasks"]["report"]["inputs"]["parameters"]["status"]
    source["taskFinalStatus"]["producerTask"] = "gone"
    return "take 'status' from a task of its own group; got 'gone'"


def break_executor(ir) -> str:
    del ir["deploymentSpec"]["executors"]["exec-tile"]
    return "comp-tile must have a container executor"


def break_argument(ir) -> str:
    ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["args"].append(
        "{{$.inputs.parameters['gone']}}"
    )
    return "comp-tile must only use its own inputs; got 'gone'"


def break_machine(ir) -> str:
    del ir["components"]["comp-for-loop-3"]["dag"]["tasks"]["tile"]["inputs"]["parameters"]["memory_request"]
    resources = ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["resources"]
    resources["resourceMemoryRequest"] = "{{$.inputs.parameters['gone']}}"
    return "comp-for-loop-3/tile must be given what its machine is made of; got 'gone'"


def break_machine_of_text(ir) -> str:
    resources = ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["resources"]
    resources["resourceMemoryRequest"] = "{{$.pipeline_job_name}}"
    return "comp-for-loop-3/tile must have a machine made of parameters alone"


def break_placeholder(ir) -> str:
    ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["args"].append("{{$.pipeline_job_name}}")
    return "comp-tile must only use parameters"


def break_image(ir) -> str:
    ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["image"] = "{{$.inputs.parameters['slabs']}}"
    return "comp-tile must have a fixed image"


BREAKS = [value for name, value in sorted(globals().items()) if name.startswith("break_")]


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda function: function.__name__)
def test_each_dangling_name_is_found(sound: Any, break_it: Any) -> None:
    ir = copy.deepcopy(sound)
    expected = break_it(ir)
    only_problem(ir, expected)
