"""What the reader of the IR refuses, and values as the text that programs get and write."""

import copy
import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kfp import dsl

from components.shared.errors import ConfigError
from pipeline.compiled.compile import compile_ir
from pipeline.compiled.ir import Container, Loop, ParentInput, Retry, fill, from_text, read_pipeline, to_text
from pipeline.settings import Settings
from tests.pipeline.toys import compiled, say, uncached


@pytest.fixture(scope="module")
def sound() -> dict:
    return next(yaml.safe_load_all(compile_ir(Settings())))


def test_reads_the_pipeline(sound: Any) -> None:
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


def test_conditions(sound: Any) -> None:
    ir = copy.deepcopy(sound)
    ir["root"]["dag"]["tasks"]["report"]["triggerPolicy"] = {"condition": "true"}
    refuse(ir, "conditions")


def test_artifacts_as_inputs(sound: Any) -> None:
    ir = copy.deepcopy(sound)
    ir["components"]["comp-report"]["inputDefinitions"]["artifacts"] = {"page": {}}
    refuse(ir, "artifacts as inputs")


def test_artifacts_of_a_group(sound: Any) -> None:
    ir = copy.deepcopy(sound)
    ir["root"]["outputDefinitions"] = {"artifacts": {"page": {}}}
    refuse(ir, "outputs of a group")


def test_a_program_is_not_asked_for_artifacts_where_nobody_shows_them(sound: Any) -> None:
    written = sound["deploymentSpec"]["executors"]["exec-report"]["container"]["args"]
    container = read_pipeline(yaml.safe_dump(sound)).components["comp-report"]
    words = container.argv[3:]
    assert written[-6::2] == ["--page-out", "--markdown-out", "--executor-input"]
    assert list(words) == written[:-6]
    assert set(container.outputs) == set()


def test_importers(sound: Any) -> None:
    ir = copy.deepcopy(sound)
    ir["deploymentSpec"]["executors"]["exec-tile"] = {"importer": {}}
    refuse(ir, "other than containers")


def test_environment(sound: Any) -> None:
    ir = copy.deepcopy(sound)
    ir["deploymentSpec"]["executors"]["exec-tile"]["container"]["env"] = [{"name": "A", "value": "b"}]
    refuse(ir, "environment")


@dsl.container_component
def take(texts: list):
    return dsl.ContainerSpec(image="toy", command=["python"], args=[texts])


def test_collected_outputs() -> None:
    @dsl.pipeline(name="collect")
    def collect() -> None:
        with dsl.ParallelFor(["a", "b"]) as item:
            said = uncached(say(text=item))
        uncached(take(texts=dsl.Collected(said.outputs["out"])))

    with pytest.raises(ConfigError, match="outputs of a group of tasks"):
        compiled(collect)


def test_platform_document_is_not_in_the_way(sound: Any) -> None:
    text = yaml.safe_dump(sound) + "---\nplatforms: {}\n"
    assert read_pipeline(text).name == "align-stack"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e21, "1" + "0" * 21),
        (-3, "-3"),
        (0, "0"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("é {x}", "é {x}"),
        ([8.0, 4.5, "ä", True], '[8,4.5,"ä",true]'),
        ({"b": 1.0, "a": []}, '{"a":[],"b":1}'),
    ],
)
def test_text_is_what_kfp_writes(value: Any, text: str) -> None:
    assert to_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_the_same_without_exponent(value: Any) -> None:
    text = to_text(value)
    assert float(text) == value
    assert "e" not in text.lower()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="finite"):
        to_text(value)


@given(st.lists(st.text()))
def test_lists_come_back(value: Any) -> None:
    assert from_text(to_text(value), "LIST") == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5.0", "NUMBER_INTEGER"),
        ("x", "NUMBER_DOUBLE"),
        ("{}", "LIST"),
        ("[]", "STRUCT"),
        ("1", "BOOLEAN"),
        ("[", "LIST"),
    ],
)
def test_output_of_the_wrong_type_is_refused(text: str, kind: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is Python's own
        from_text(text, kind)


def test_text_keeps_its_final_newline() -> None:
    assert from_text("a\n", "STRING") == "a\n"


@given(st.text())
def test_values_are_not_looked_at_again(text: str) -> None:
    hostile = "{{$.inputs.parameters['b']}}" + text
    template = "{{$.inputs.parameters['a']}}|{{$.inputs.parameters[\"b\"]}}"
    assert fill(template, {"a": hostile, "b": 1}) == f"{hostile}|1"


def test_output_file() -> None:
    assert fill("{{$.outputs.parameters['x'].output_file}}", {}, {"x": "/o/x"}) == "/o/x"


def test_unknown_input() -> None:
    with pytest.raises(KeyError):
        fill("{{$.inputs.parameters['a']}}", {})


def test_items_are_strings_after_json() -> None:
    assert json.loads(to_text(["0-15"])) == ["0-15"]
