"""Each step's program understands exactly the arguments that its container gets."""

import importlib

import click
import pytest
import yaml

from components.plan.component import plan
from components.shared.documents.config import RunConfig
from components.shared.steps import STEPS, STUB
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import Container, fill, read_pipeline, to_text
from pipeline.settings import Settings

VALUES = {
    "STRING": "0-3",
    "NUMBER_INTEGER": 5.0,
    "NUMBER_DOUBLE": 0.5,
    "BOOLEAN": True,
    "LIST": [8.0, 8.0, 8.5],
    "TASK_FINAL_STATUS": '{"state":"SUCCEEDED"}',
}
CONFIG = RunConfig(
    source="/in",
    image="img.%05d.png",
    minz=3,
    maxz=9,
    output="/out",
    resolution=(8, 8, 8),
    clip_limit=0.03,
    skip_align=True,
)


@pytest.fixture(scope="module")
def containers() -> dict[str, Container]:
    pipeline = read_pipeline(compile_kfp(Settings()))
    found = {
        c.image.rpartition("/")[2].partition(":")[0]: c
        for c in pipeline.components.values()
        if isinstance(c, Container)
    }
    assert found.keys() == set(STEPS)
    return found


def arguments(container: Container, given: dict) -> list[str]:
    """The arguments after `python -m components.<step>.main`."""
    inputs = {name: given.get(name, VALUES[declared.type]) for name, declared in container.inputs.items()}
    files = {name: f"/outputs/{name}" for name in container.outputs}
    return [fill(word, inputs, files) for word in container.argv]


@pytest.mark.parametrize("step", STEPS)
def test_program_takes_the_arguments_of_its_container(step: str, containers: dict[str, Container]) -> None:
    argv = arguments(containers[step], CONFIG.model_dump(mode="json"))
    assert argv[:3] == ["python", "-m", f"components.{step}.main"]
    command = importlib.import_module(f"components.{step}.main").main
    assert isinstance(command, click.Command)
    context = command.make_context(step, argv[3:])
    given = {word for word in argv[3:] if word.startswith("--")}
    options = {name for p in command.params if isinstance(p, click.Option) for name in p.opts}
    assert given <= options
    assert all(context.params[p.name] is not None for p in command.params if p.required)


def test_plan_gets_the_configuration_that_was_given(containers: dict[str, Container]) -> None:
    argv = arguments(containers["plan"], CONFIG.model_dump(mode="json"))[3:]
    flags = dict(zip(argv[::2], argv[1::2], strict=True))
    for key, value in CONFIG.model_dump(mode="json").items():
        assert flags[f"--{key.replace('_', '-')}"] == to_text(value)
    assert flags["--resolution"] == "[8,8,8]"
    assert flags["--skip-align"] == "true"
    assert flags["--clip-limit"] == "0.03"


@pytest.mark.parametrize("step", STEPS)
def test_every_input_and_output_is_passed_with_a_flag(step: str, containers: dict[str, Container]) -> None:
    container = containers[step]
    words = container.argv[3:]
    passed = [word for word in words if "{{$" in word]
    assert len(passed) == len(container.inputs) + len(container.outputs)
    assert [word.startswith("--") for word in words] == [True, False] * (len(words) // 2)


def test_plan_takes_each_key_as_it_is_described_in_the_configuration() -> None:
    inputs = plan.component_spec.inputs
    for key, field in RunConfig.model_fields.items():
        assert (inputs[key].description, inputs[key].optional) == (field.description, False)
    assert inputs.keys() - RunConfig.model_fields.keys() == {"fan", "pods", STUB}


def test_the_pipeline_takes_each_key_with_its_default() -> None:
    declared = read_pipeline(compile_kfp(Settings())).root.inputs
    defaults = RunConfig(source="s", image="%d.png", minz=0, maxz=1, output="o").model_dump(mode="json")
    assert declared.keys() == RunConfig.model_fields.keys() | {STUB}
    assert declared[STUB].default == ""
    for key, field in RunConfig.model_fields.items():
        assert declared[key].description == field.description
        assert declared[key].default == (None if field.is_required() else defaults[key])


def test_the_report_understands_what_asks_it_for_artifacts() -> None:
    document = next(yaml.safe_load_all(compile_kfp(Settings())))
    words = document["deploymentSpec"]["executors"]["exec-report"]["container"]["args"]
    command = importlib.import_module("components.report.main").main
    context = command.make_context("report", list(words))
    assert context.params["page_out"] == "{{$.outputs.artifacts['page'].path}}"
    assert context.params["executor_input"] == "{{$}}"
