"""A stub of the real workflow by Argo's rules: every program is called, and nothing of it stays."""

from pathlib import Path

import pytest
import yaml

from components.shared.documents.config import RunConfig
from components.shared.steps import STEPS
from pipeline.compiled.compile import compile_argo
from pipeline.compiled.ir import to_text
from pipeline.settings import Settings
from tests.pipeline.argo.argo_interpreter import Workflow
from tests.pipeline.argo.test_argo_sample import in_this_process


def stubbed(config: RunConfig, folder: Path) -> tuple[str, Workflow]:
    """The status and the workflow of a stub."""
    workflow = Workflow(list(yaml.safe_load_all(compile_argo(Settings()))), folder, program=in_this_process)
    given = {key: to_text(value) for key, value in config.model_dump(mode="json").items()}
    return workflow.run(**given, stub="1f00"), workflow


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    source = tmp_path / "source"
    source.mkdir()
    (source / "img.00003.png").write_bytes(b"a slice")
    return RunConfig(
        source=str(source), image="img.%05d.png", minz=3, maxz=9, output=str(tmp_path / "out"), ome_zarr=True
    )


def test_a_stub_calls_every_program_and_leaves_nothing(config: RunConfig, tmp_path: Path) -> None:
    status, workflow = stubbed(config, tmp_path / "pods")
    assert status == "Succeeded"
    called = [pod.template for pod in workflow.pods]
    assert {step: called.count(step) for step in STEPS} == {
        step.name: step.n_stub_tasks for step in STEPS.values()
    }
    assert {(pod.template, pod.asked_memory) for pod in workflow.pods} == {
        (step, Settings().step(step).memory) for step in STEPS
    }
    assert not list(Path(config.output).rglob("*"))
