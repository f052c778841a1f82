"""A key and a step that exist in this test only go all the way: pipeline, run, estimate, status, report.

They are added to a copy of the code as a developer adds them, each in the place that says so.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KEY = '    colour: str = Field("grey", description="Colour of the polish.")\n'
STEP = """\
        Step(
            name="polish",
            loops=(StepLoop(items="chunks", item="chunk"),),
            memory="3G",
            result=("process", "polish"),
            records=("polish",),
            result_version=1,
            hashed_keys=frozenset({"colour"}),
        ),
"""


def insert(path: Path, new: str, before: str) -> None:
    """Write a text into a file, before the only line that begins with another."""
    text = path.read_text()
    assert text.count(f"\n{before}") == 1, (path, before)
    path.write_text(text.replace(f"\n{before}", f"\n{new}{before}"))


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with one more key and one more step."""
    folder = tmp_path_factory.mktemp("code")
    for room in ("commands", "pipeline", "components"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(__file__).parent / "polish", folder / "components/polish")
    insert(folder / "components/shared/documents/config.py", KEY, before="    keep_tiles: bool = ")
    insert(folder / "components/shared/steps.py", STEP, before='        Step(\n            name="report"')
    graph = folder / "pipeline/align_stack.py"
    insert(graph, "from components.polish.component import polish\n", before="from components.pyramid")
    insert(graph, '    "polish": polish,\n', before='    "report": report,')
    return folder


def fibstack(code: Path, *words: object) -> str:
    """What a command prints that runs with the copied code, as its children do."""
    done = subprocess.run(
        [sys.executable, "-c", "from commands.main import main; main()", *map(str, words)],
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sample(code: Path) -> Path:
    fibstack(code, "sample", code / "sample", "--size", "203x170", "--slices", "6", "--workers", "1")
    return code / "sample/run.yaml"


@pytest.fixture(scope="module")
def output(code: Path, sample: Path) -> Path:
    """The output of a run with the key set."""
    fibstack(code, "run", sample, "--output", code / "volume", "--set", "colour=red", "--jobs", "2")
    return code / "volume"


def test_the_compiled_pipelines_have_them(code: Path) -> None:
    fibstack(code, "compile", "--target", "argo", "--output", code / "argo.yaml")
    limits, workflow = yaml.safe_load_all((code / "argo.yaml").read_text())
    parameters = {p["name"]: p for p in workflow["spec"]["arguments"]["parameters"]}
    assert parameters["colour"] == {"name": "colour", "description": "Colour of the polish.", "value": "grey"}
    templates = {template["name"]: template for template in workflow["spec"]["templates"]}
    assert "--colour" in templates["plan"]["container"]["command"]
    assert templates["polish"]["container"]["image"].startswith("fibstack/polish:")
    assert templates["polish"]["container"]["resources"]["requests"]["memory"] == "3G"
    tasks = {task["name"]: task for task in templates["main"]["dag"]["tasks"]}
    assert tasks["polish"]["withParam"] == "{{tasks.plan.outputs.parameters.chunks}}"
    assert limits["data"]["polish"] == "64"


def test_design_estimates_the_step(code: Path, sample: Path) -> None:
    found = json.loads(fibstack(code, "design", sample, "--output", code / "none", "--json"))
    (polish,) = (step for step in found["steps"] if step["step"] == "polish")
    (align,) = (step for step in found["steps"] if step["step"] == "align")
    assert polish["n_pods"] == align["n_pods"] > 0
    assert polish["core_hours"] > 0


def test_a_run_on_this_machine_does_the_step_with_the_key(output: Path) -> None:
    plan = json.loads((output / "process/plan.json").read_text())
    assert plan["config"]["colour"] == "red"
    written = list((output / "process/polish").iterdir())
    assert {path.read_text() for path in written} == {"red"}
    assert len(written) == len(list((output / "process/records/polish").iterdir())) > 0


def test_status_counts_its_units(code: Path, output: Path) -> None:
    n = len(list((output / "process/polish").iterdir()))
    (line,) = (line for line in fibstack(code, "status", output).splitlines() if line.startswith("polish"))
    assert line.split() == ["polish", str(n), "of", str(n), "100%"]


def test_the_report_tells_its_time_its_cost_and_the_key(output: Path) -> None:
    cost = json.loads((output / "process/cost.json").read_text())
    assert cost["core_hours"]["polish"] > 0
    assert cost["pods"]["polish"]["memory_bytes"] == 3e9
    page = (output / "process/report/index.html").read_text()
    assert '<td class="text">polish</td>' in page
    assert '<th class="text" scope="row">colour</th><td class="text">red</td>' in page


def test_a_run_may_end_with_it(code: Path, sample: Path, output: Path) -> None:
    words = [sample, "--output", output, "--set", "colour=red", "--until", "polish"]
    said = fibstack(code, "run", *words).splitlines()
    assert said[0] == "Stopped after polish, as --until asks. The volume is NOT complete."
    (line,) = (line.split() for line in said if line.startswith("  polish"))
    assert line[-1] == f"{output}/process/polish"
