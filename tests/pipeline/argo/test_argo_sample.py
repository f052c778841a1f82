"""The real workflow on the sample: run by Argo's rules and as the compiled IR, the bytes are the same."""

import hashlib
import importlib
from pathlib import Path

import yaml
from click.testing import CliRunner

from components.shared.documents.config import RunConfig
from components.shared.steps import STEPS
from pipeline.compiled.compile import compile_argo, compile_ir
from pipeline.compiled.ir import read_pipeline, to_text
from pipeline.here.local import run_pipeline
from pipeline.settings import Settings
from tests.pipeline.argo.argo_interpreter import Workflow
from tests.pipeline.toys import Memory

SAYS_HOW_IT_WENT = {"run.json", "index.html"}


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file of a volume."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in SAYS_HOW_IT_WENT
    }


def in_this_process(words: list[str], folder: Path) -> int:
    """Call a pod's program: its libraries are loaded once for all pods."""
    assert words[:2] == ["python", "-m"]
    return CliRunner().invoke(importlib.import_module(words[2]).main, words[3:]).exit_code


def test_workflow_writes_the_volume_that_the_ir_writes(tmp_path: Path) -> None:
    source, output = tmp_path / "sample", tmp_path / "volume"
    words = [str(source), "--size", "203x170", "--slices", "6", "--workers", "1"]
    assert in_this_process(["python", "-m", "commands.sample.main", *words], tmp_path) == 0
    config = RunConfig(
        source=str(source), image="img.%05d.png", minz=0, maxz=5, output=str(output), raw_pyramid=True
    )
    given = config.model_dump(mode="json")

    assert run_pipeline(read_pipeline(compile_ir(Settings())), given, tmp_path / "logs", 2, Memory()) is None
    output.rename(tmp_path / "of-the-ir")  # records name the output, so both runs have the same

    workflow = Workflow(
        list(yaml.safe_load_all(compile_argo(Settings()))), tmp_path / "pods", program=in_this_process
    )
    assert workflow.run(**{key: to_text(value) for key, value in given.items()}) == "Succeeded"
    assert {pod.template for pod in workflow.pods} == set(STEPS)
    assert contents(output) == contents(tmp_path / "of-the-ir")
    assert "neuroglancer/jpeg/info" in contents(output)
