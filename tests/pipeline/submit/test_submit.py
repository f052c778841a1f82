"""`fibstack submit`, `status` and `logs` before any service is asked."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import requests
import urllib3
import yaml
from hypothesis import given
from hypothesis import strategies as st

from commands.main import main
from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.steps import STEPS
from pipeline.compiled.compile import compile_kfp
from pipeline.compiled.ir import step_of
from pipeline.settings import Settings
from pipeline.submit.runs import RunState, RunTask, refused, require_reachable, unreachable
from tests.builders import cli

CONFIG = [
    "--source",
    "gs://em/raw",
    "--image",
    "%d.png",
    "--minz",
    "0",
    "--maxz",
    "9",
    "--output",
    "gs://em/o",
]
KFP = ["--target", "kfp", "--host", "http://127.0.0.1:1"]
VERTEX = ["--target", "vertex", "--project", "p", "--region", "r"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "kfp"], "--target kfp must be given --host. Add it."),
        (["--target", "vertex", "--project", "p"], "--target vertex must be given --region. Add it."),
        ([*KFP, "--region", "r"], "--region must go with --target vertex; got --target kfp. Remove it."),
        (["--target", "argo", "--host", "h"], "--host must go with --target kfp; got --target argo."),
        (
            [*VERTEX, "--namespace", "n"],
            "--namespace must go with --target kfp or argo; got --target vertex.",
        ),
        ([*KFP, "--pipeline-root", "gs://r"], "--pipeline-root must go with --target vertex"),
        (
            ["--target", "argo", "--service-account", "a"],
            "--service-account must go with --target kfp or vertex",
        ),
    ],
)
def test_options_belong_to_their_target(words: Any, says: str) -> None:
    result = cli("submit", *words, *CONFIG)
    assert result.exit_code == 78, result.output
    assert result.output.startswith(f"error: {says}")


def test_the_configuration_is_read_as_run_reads_it(tmp_path: Path) -> None:
    assert "the slices must be given" in cli("submit", *KFP).output
    path = tmp_path / "config.yaml"
    path.write_text("source: gs://em/raw\nimage: '%d.png'\nminz: 0\nmaxz: 9\noutput: out\nclip-limit: 7\n")
    assert (
        "'clip_limit': input should be less than or equal to 1; got 7"
        in cli("submit", *KFP, str(path)).output
    )
    result = cli("submit", *KFP, str(path), "--set", "clip_limit=0")
    assert result.exit_code == 78
    assert (
        f"'output' must be in a bucket, since a cluster does not see this machine; got {'/'}" in result.output
    )


@pytest.mark.parametrize("reference", ["http://host/pipelines", "ftp://x", "kfp://x", "workflow://x"])
def test_what_names_no_run(reference: str) -> None:
    for command in ("status", "logs"):
        result = cli(command, reference)
        assert result.exit_code == 78
        assert result.output.startswith("error: a run must be named as 'fibstack submit' prints it: ")


def test_logs_of_an_output_lie_elsewhere(tmp_path: Path) -> None:
    result = cli("logs", str(tmp_path))
    assert result.exit_code == 65
    assert "'fibstack run' keeps its logs on this machine" in result.output
    assert cli("logs", "argo://n/x", "weld").exit_code == 2


@pytest.mark.parametrize("key", ["source", "output", "overrides"])
def test_locations_that_a_cluster_sees(key: str) -> None:
    config = RunConfig(
        source="gs://b", image="%d.png", minz=0, maxz=1, output="gs://b/o", overrides="gs://b/x.yaml"
    )
    require_reachable(config)
    for location in ("/data/x", "file:///data/x", "/data"):
        with pytest.raises(ConfigError, match=f"'{key}' must be in a bucket"):
            require_reachable(config.model_copy(update={key: location}))
        require_reachable(config.model_copy(update={key: location}), ["/data"])
    with pytest.raises(ConfigError, match="below /data"):
        require_reachable(config.model_copy(update={key: "/database/x"}), ["/data"])


@given(st.integers(400, 599), st.text(max_size=500))
def test_a_refusal_is_one_line_that_ends(status: int, reason: str) -> None:
    error = refused("cannot ask h", status, reason, {404: "Look."})
    assert len(str(error).splitlines()) == 1
    assert f"(HTTP {status}). " in str(error)
    assert isinstance(error, TransientError if status >= 500 or status in (408, 429) else UserError)


def test_what_libraries_say_of_a_service_that_is_not_there() -> None:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", 1, retries=False, timeout=1)
    for get in (lambda: pool.request("GET", "/"), lambda: requests.get("http://127.0.0.1:1", timeout=1)):
        with pytest.raises((urllib3.exceptions.HTTPError, OSError)) as caught:
            get()
        error = unreachable("cannot reach h", caught.value, "Try again.")
        assert str(error) == "cannot reach h: Connection refused. Try again."


def test_every_task_of_the_pipeline_has_its_step() -> None:
    ir = next(yaml.safe_load_all(compile_kfp(Settings())))
    dags = [ir["root"]["dag"], *(c["dag"] for c in ir["components"].values() if "dag" in c)]
    tasks = {name: task["componentRef"]["name"] for dag in dags for name, task in dag["tasks"].items()}
    for name, component in tasks.items():
        step = step_of(component.removeprefix("comp-"))
        assert step_of(name) == step, name
        assert step in (*STEPS, "")
    assert {step_of(name) for name in tasks} == {*STEPS, ""}


def test_counts_come_in_the_order_of_the_steps() -> None:
    tasks = [RunTask(name="x", step=step, state="done") for step in ("report", "tile", "plan", "tile")]
    counts = RunState(name="r", state="s", tasks=tuple(tasks)).counts()
    assert {step: dict(count) for step, count in counts.items()} == {
        "plan": {"done": 1},
        "tile": {"done": 2},
        "report": {"done": 1},
    }
    assert list(counts) == ["plan", "tile", "report"]


def test_the_command_line_starts_without_the_services_libraries() -> None:
    code = "import sys, commands.main; print({'kfp', 'kubernetes', 'google.auth'} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def documented():
    """The commands of the guide, in words."""
    text = Path("docs/submit.md").read_text().replace("\\\n", " ")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(("fibstack", "kfp"))]
    return [shlex.split(line.partition(" | ")[0], comments=True) for line in lines]


def test_the_guide_names_commands_and_options_that_exist() -> None:
    commands = [words[1:] for words in documented() if words[0] == "fibstack"]
    assert {words[0] for words in commands} == {"submit", "status", "logs", "compile"}
    for name, *words in commands:
        main.commands[name].make_context(name, list(words), parent=click.Context(main))
