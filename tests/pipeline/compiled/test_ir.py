"""What the reader of the IR refuses, so that the runner never leaves something out."""

import copy

import pytest
import yaml
from kfp import dsl

from components.shared.errors import ConfigError
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import Container, Loop, ParentInput, Retry, read_pipeline
from pipeline.settings import Settings
from tests.pipeline.toys import compiled, say, uncached


@pytest.fixture(scope="module")
def sound() -> dict:
    return next(yaml.safe_load_all(compile_kfp(Settings())))


def test_reads_the_pipeline(sound):
    pipeline = read_pipeline(yaml.safe_dump(sound))
    assert pipeline.name == "align-stack"
    tasks = pipeline.components["comp-exit-handler-1"].tasks
    assert tasks["for-loop-2"].loop == Loop(
        "pipelinechannel--plan-chunks-loop-item", "pipelinechannel--plan-chunks", 64
    )
    assert tasks["plan"].retry == Retry(3, 10, 2, 300)
    assert tasks["plan"].inputs["minz"] == ParentInput("pipelinechannel--minz")
    assert pipeline.root.tasks["report"].always
    assert isinstance(pipeline.components["comp-plan"], Container)


def refuse(ir: dict, part: str) -> None:
    with pytest.raises(ConfigError, match="must not use") as caught:
        read_pipeline(yaml.safe_dump(ir))
    assert part in str(caught.value)


def test_conditions(sound):
    ir = copy.deepcopy(sound)
    ir["root"]["dag"]["tasks"]["report"]["triggerPolicy"] = {"condition": "true"}
    refuse(ir, "conditions")


def test_artifacts_as_inputs(sound):
    ir = copy.deepcopy(sound)
    ir["components"]["comp-report"]["inputDefinitions"]["artifacts"] = {"page": {}}
    refuse(ir, "artifacts as inputs")


def test_artifacts_of_a_group(sound):
    ir = copy.deepcopy(sound)
    ir["root"]["outputDefinitions"] = {"artifacts": {"page": {}}}
    refuse(ir, "outputs of a group")


def test_a_program_is_not_asked_for_artifacts_where_nobody_shows_them(sound):
    written = sound["deploymentSpec"]["executors"]["exec-report"]["container"]["args"]
    container = read_pipeline(yaml.safe_dump(sound)).components["comp-report"]
    words = container.argv[3:]
    assert written[-6::2] == ["--page-out", "--markdown-out", "--executor-input"]
    assert list(words) == written[:-6]
    assert set(container.outputs) == set()


def test_importers(sound):
    ir = copy.deepcopy(sound)
    ir["deploymentSpec"]["executors"]["exec-tile"] = {"importer": {}}
    refuse(ir, "other than containers")


def test_environment(sound):
    ir = copy.deepcopy(sound)
    ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["env"] = [{"name": "A", "value": "b"}]
    refuse(ir, "environment")


@dsl.container_component
def take(texts: list):
    return dsl.ContainerSpec(image="toy", command=["python"], args=[texts])


def test_collected_outputs():
    @dsl.pipeline(name="collect")
    def collect():
        with dsl.ParallelFor(["a", "b"]) as item:
            said = uncached(say(text=item))
        uncached(take(texts=dsl.Collected(said.outputs["out"])))

    with pytest.raises(ConfigError, match="outputs of a group of tasks"):
        compiled(collect)


def test_platform_document_is_not_in_the_way(sound):
    text = yaml.safe_dump(sound) + "---\nplatforms: {}\n"
    assert read_pipeline(text).name == "align-stack"
