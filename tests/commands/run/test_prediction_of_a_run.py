"""The work that is predicted for a run belongs to the steps that the run has."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.scale.stacks import IMAGE, Stack, write_headers
from commands.run.main import planned, predict
from components.plan.main import main as plan
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.storage.registry import open_store
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import read_pipeline, step_names
from pipeline.configuration import read_config
from pipeline.settings import Settings
from tests.builders import invoke

STACK = Stack("small", n_slices=40, side_px=3000)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    write_headers(tmp_path / "raw", STACK, STACK.file_bytes)
    flags = {"source": tmp_path / "raw", "image": IMAGE, "minz": 0, "maxz": 39, "output": tmp_path / "out"}
    words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
    parameters = ["--process-uri-out", str(tmp_path / "a"), "--chunks-out", str(tmp_path / "b")]
    ended = invoke(plan, *words, *parameters)
    assert ended.exit_code == 0, ended.output
    return read_config(None, {key: str(value) for key, value in flags.items()}, [])


def test_each_predicted_step_is_one_of_the_pipeline_in_its_order(config: RunConfig) -> None:
    predicted = predict(config, Settings())
    named = step_names(read_pipeline(compile_kfp(Settings())))
    assert list(predicted) == [step for step in named if step in predicted]
    assert {"plan", "align", "compose", "tile", "pyramid", "pyramid-2", "report"} == predicted.keys()
    assert (predicted["align"].n_tasks, predicted["pyramid-2"].n_tasks) == (5, 1)
    assert all(prediction.task_s > 0 for prediction in predicted.values())


def test_nothing_is_predicted_without_a_plan_or_without_its_libraries(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/process/plan.json").rename(tmp_path / "plan.json")
    assert predict(config, Settings()) == {}
    (tmp_path / "plan.json").rename(tmp_path / "out/process/plan.json")
    monkeypatch.setitem(sys.modules, "components.plan.estimate", None)
    assert predict(config, Settings()) == {}


def test_a_run_says_what_its_plan_has_found_before_it_costs_time(config: RunConfig, tmp_path: Path) -> None:
    document = read_document(open_store(str(tmp_path / "out/process")), PLAN_KEY, Plan)
    turned = document.model_copy(update={"findings": ("pictures are turned by 180 degrees",)})
    (tmp_path / "out/process" / PLAN_KEY).write_bytes(turned.to_json())
    said = io.StringIO()
    predicted = planned(Console(file=said), config, Settings())
    assert said.getvalue() == "Pictures are turned by 180 degrees.\n"
    assert predicted == predict(config, Settings())
