"""Runs on Kubeflow Pipelines, against a server that speaks its v2beta1 API and checks what arrives."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.shared.documents.config import RunConfig
from pipeline.compiled.compile import compile_kfp
from pipeline.settings import Settings
from tests.builders import cli
from tests.pipeline.submit.loopback import Answer, serve

CONFIG = ["--source", "gs://em/raw", "--image", "img.%05d.png", "--minz", "3", "--maxz", "9"]
CONFIG += ["--output", "gs://em/out", "--set", "id=007", "--set", "raw_pyramid=true"]
JSON_TYPES = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
}


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither kfp's own file of contexts nor its environment variables."""
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    for name in [name for name in os.environ if name.startswith("KF_PIPELINES")]:
        monkeypatch.delenv(name)


def created_run(request):
    """Answers as the API server: a parameter must be declared and of its type."""
    run = request.body
    declared = run["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    given = run["runtime_config"]["parameters"]
    for name, value in given.items():
        if name not in declared:
            return Answer({"error": f"unknown {name}", "code": 3, "message": f"{name} is not declared"}, 400)
        wanted = JSON_TYPES[declared[name]["parameterType"]]
        if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
            return Answer({"code": 3, "message": f"input parameter {name} requires type {wanted}"}, 400)
    missing = [n for n, d in declared.items() if not d.get("isOptional") and n not in given]
    if missing:
        return Answer({"code": 3, "message": f"no value for {missing}"}, 400)
    made = {"run_id": "run-1", "state": "PENDING", "created_at": "2026-11-22T10:00:00Z"}
    return {**run, **made}


@pytest.fixture
def kfp():
    loopback, server = serve()
    loopback.on("GET", "/apis/v2beta1/healthz", {"multi_user": False})
    loopback.on("GET", "/apis/v2beta1/experiments", {"experiments": []})
    loopback.on("POST", "/apis/v2beta1/experiments", {"experiment_id": "exp-1", "display_name": "fibstack"})
    loopback.on("POST", "/apis/v2beta1/runs", created_run)
    loopback.on("GET", "/apis/v2beta1/runs/run-1", RUN)
    yield loopback
    server.shutdown()
    server.server_close()


def node(name, number, children=(), template="impl", state="SUCCEEDED", **more):
    """A task of KFP's run details: a node of the workflow, named by its pod; children by the node's ID."""
    pods = [{"pod_name": f"align-stack-x-{child}"} for child in children]
    return {
        "display_name": name,
        "pod_name": f"align-stack-x-{template}-{number}",
        "state": state,
        "child_tasks": pods,
        **more,
    }


# As Argo links its nodes: a graph has its first tasks as children, and a pod has what waits for it.
TASKS = [
    node("align-stack-x", 1, [2], template="root"),
    node("root-driver", 2, [32]),
    node("plan-driver", 32, [3]),
    node("plan", 3, [31], template="executor"),
    node("executor", 31, [40]),
    node("for-loop-1-driver", 40, [4]),
    node("for-loop-1", 4, [41, 42], template="loop"),
    node("iteration-item(0:0)", 41, [43], template="iteration"),
    node("iteration-item(1:1)", 42, [52], template="iteration"),
    node("align-driver", 43, [44]),
    node("align", 44, [46], template="executor", state="RUNNING"),
    node("executor", 46, [47, 48], template="retry", state="RUNNING"),
    node("executor(0)", 47, state="FAILED", error={"code": 9, "message": "OOMKilled"}),
    node("executor(1)", 48, state="RUNNING"),
    node("align-driver(0)", 52, [45]),
    node("align(0)", 45, [49], template="executor"),
    node("executor", 49, [50], template="retry", state="FAILED", error={"code": 9, "message": "gone\nmore"}),
    node("executor(0)", 50, [60], state="FAILED"),
    node("compose-driver", 60, [61]),
    node("compose", 61, [62], template="executor"),
    node("executor", 62, state="PENDING"),
]
RUN = {
    "run_id": "run-1",
    "display_name": "007 2026-11-22",
    "state": "RUNNING",
    "created_at": "2026-11-22T10:00:00Z",
    "runtime_config": {"parameters": {"output": "gs://em/out"}},
    "run_details": {"task_details": TASKS[::-1]},
}


def submit(host, *more):
    return cli("submit", "--target", "kfp", "--host", host, *CONFIG, *more)


def test_a_run_arrives_with_its_configuration_and_the_compiled_pipeline(kfp: Any) -> None:
    result = submit(kfp.url)
    assert result.exit_code == 0, result.output
    reference = f"{kfp.url}/#/runs/details/run-1"
    assert result.output.splitlines() == [
        f"Run:    {reference}",
        f"Status: fibstack status '{reference}'",
        f"Logs:   fibstack logs '{reference}' [STEP]",
        "Units:  fibstack status gs://em/out",
    ]
    (experiment,) = kfp.asked("POST", "/apis/v2beta1/experiments")
    assert experiment.body["display_name"] == "fibstack"
    (run,) = kfp.asked("POST", "/apis/v2beta1/runs")
    assert run.body["experiment_id"] == "exp-1"
    assert run.body["display_name"].startswith("007 20")
    parameters = run.body["runtime_config"]["parameters"]
    assert parameters.keys() == RunConfig.model_fields.keys()
    assert parameters["id"] == "007"
    assert (parameters["minz"], parameters["raw_pyramid"], parameters["resolution"]) == (3, True, [])
    ir, platform = yaml.safe_load_all(compile_kfp(Settings()))
    assert run.body["pipeline_spec"] == {"pipeline_spec": ir, "platform_spec": platform}
    assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-tile"]["podMetadata"]
    assert not caching_in(run.body)


def caching_in(body):
    """Names of tasks whose result may come from a cache."""
    ir = body["pipeline_spec"]["pipeline_spec"]
    dags = [ir["root"]["dag"], *(c["dag"] for c in ir["components"].values() if "dag" in c)]
    tasks = {name: task for dag in dags for name, task in dag["tasks"].items()}
    assert {"plan", "align", "tile", "pyramid-3", "report"} <= tasks.keys()
    return [name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")]


def test_an_experiment_is_used_again(kfp: Any) -> None:
    found = {"experiments": [{"experiment_id": "exp-0", "display_name": "fibstack"}]}
    kfp.on("GET", "/apis/v2beta1/experiments", found)
    assert submit(kfp.url).exit_code == 0
    assert not kfp.asked("POST", "/apis/v2beta1/experiments")
    (listing,) = kfp.asked("GET", "/apis/v2beta1/experiments")
    (predicate,) = json.loads(listing.query["filter"])["predicates"]
    assert (predicate["key"], predicate["stringValue"]) == ("display_name", "fibstack")
    assert "namespace" not in listing.query
    (run,) = kfp.asked("POST", "/apis/v2beta1/runs")
    assert run.body["experiment_id"] == "exp-0"


def test_profile_account_and_settings(kfp: Any, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('registry = "gcr.io/em"\ntag = "9"\n[tile]\nmemory = "7G"\n')
    result = submit(
        kfp.url + "/", "--namespace", "jane", "--service-account", "runner", "--settings", str(settings)
    )
    assert result.exit_code == 0, result.output
    assert kfp.asked("GET", "/apis/v2beta1/experiments")[0].query["namespace"] == "jane"
    assert kfp.asked("POST", "/apis/v2beta1/experiments")[0].body["namespace"] == "jane"
    (run,) = kfp.asked("POST", "/apis/v2beta1/runs")
    assert run.body["service_account"] == "runner"
    executors = run.body["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    assert executors["exec-tile"]["container"]["image"] == "gcr.io/em/tile:9"
    assert executors["exec-tile"]["container"]["resources"]["resourceMemoryRequest"] == "7G"


def test_status(kfp: Any) -> None:
    result = cli("status", f"{kfp.url}/#/runs/details/run-1")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "007 2026-11-22: RUNNING",
        "step         done  running   failed  waiting",
        "plan            1        0        0        0",
        "align           0        1        1        0",
        "compose         0        0        0        1",
        "align failed: gone",
        "Units: fibstack status gs://em/out",
    ]


def test_logs(kfp: Any) -> None:
    kfp.on("GET", "/apis/v1alpha1/runs/run-1/nodes/([^/]+)/log", lambda _, pod: f"{pod} says\nhello\n")
    reference = f"{kfp.url}/#/runs/details/run-1"
    result = cli("logs", reference, "align")
    assert result.exit_code == 0, result.output
    titles = [line for line in result.output.splitlines() if line.startswith("==>")]
    assert titles == [f"==> align: align-stack-x-impl-{number} <==" for number in (47, 48, 50)]
    assert "align-stack-x-impl-47 says\nhello\n==>" in result.output
    assert "plan: align-stack-x-impl-31" in cli("logs", reference).output
    kfp.on("GET", "/apis/v1alpha1/.*", '{"error_message":"pod is gone","error_details":"at line 1"}')
    assert cli("logs", reference, "plan").output.endswith("<==\nno log: pod is gone\n")
    assert cli("logs", reference, "tile").stderr == "No task of tile has begun, or its logs are gone.\n"


@pytest.mark.parametrize(
    ("status", "body", "code", "says"),
    [
        (401, "<html>", 65, "(HTTP 401). Log in"),
        (
            403,
            {"message": "no access to namespace", "code": 7},
            65,
            "no access to namespace (HTTP 403). Log in",
        ),
        (404, {"message": "Run run-1 not found", "code": 5}, 65, "Run run-1 not found (HTTP 404). Check"),
        (429, {}, 75, "(HTTP 429). Try again."),
        (503, {"message": "no healthy upstream"}, 75, "no healthy upstream (HTTP 503). Try again."),
    ],
)
def test_a_refusal_is_one_sentence_after_one_request(
    kfp: Any, status: int, body: Any, code: int, says: str
) -> None:
    kfp.on("GET", "/apis/v2beta1/runs/run-1", Answer(body, status))
    result = cli("status", f"{kfp.url}/#/runs/details/run-1")
    assert result.exit_code == code
    (line,) = result.output.splitlines()
    assert line.startswith(f"error: cannot look at a run on {kfp.url}: ")
    assert says in line
    assert len(kfp.asked("GET", "/apis/v2beta1/runs/run-1")) == 1


@pytest.mark.parametrize("path", ["healthz", "experiments", "runs"])
def test_a_refused_submission_leaves_at_once(kfp: Any, path: str) -> None:
    for method in ("GET", "POST"):
        kfp.on(method, f"/apis/v2beta1/{path}", Answer({"message": "no"}, 403))
    start = time.monotonic()
    result = submit(kfp.url)
    assert result.exit_code == 65
    assert result.output.startswith(f"error: cannot submit to {kfp.url}: no (HTTP 403). ")
    assert time.monotonic() - start < 10
    assert len([r for r in kfp.requests if r.path.endswith(path)]) == 1


@pytest.mark.parametrize("answer", ["<html>Log in</html>", Answer("", 303, {"Location": "/login"})])
def test_a_page_to_log_in_is_no_run(kfp: Any, answer: Any) -> None:
    kfp.on("GET", "/login", "<html>Log in</html>")
    for method in ("GET", "POST"):
        kfp.on(method, "/apis/.*", answer)
    for result in (submit(kfp.url), cli("status", f"{kfp.url}/#/runs/details/run-1")):
        assert result.exit_code == 65, result.output
        assert "must answer as Kubeflow Pipelines does; got something else" in result.output


def test_nobody_there(kfp: Any) -> None:
    start = time.monotonic()
    for result in (
        submit("http://127.0.0.1:1"),
        cli("status", "http://127.0.0.1:1/#/runs/details/run-1"),
        submit("nowhere.invalid"),
    ):
        assert result.exit_code == 75, result.output
        (line,) = result.output.splitlines()
        assert line.endswith("Check the address and the network, and try again.")
    assert time.monotonic() - start < 10


def test_nobody_answers(kfp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.submit.kubeflow._TIMEOUT", (0.2, 0.2))
    kfp.on("GET", "/apis/v2beta1/runs/run-1", lambda *_: time.sleep(0.5))
    result = cli("status", f"{kfp.url}/#/runs/details/run-1")
    assert result.exit_code == 75
    assert "timed out" in result.output
    assert len(kfp.asked("GET", "/apis/v2beta1/runs/run-1")) == 1


def test_data_of_this_machine_is_refused_before_anything_is_sent(kfp: Any, tmp_path: Path) -> None:
    result = submit(kfp.url, "--source", str(tmp_path))
    assert result.exit_code == 78
    assert result.output == (
        f"error: 'source' must be in a bucket, since a cluster does not see this machine; got {tmp_path}. "
        "Give a gs:// URI.\n"
    )
    assert not kfp.requests


def test_more_parameters_than_the_server_takes(kfp: Any) -> None:
    channels = json.dumps([f"{'c' * 900}{n}-%d.png" for n in range(12)])
    result = submit(kfp.url, "--set", f"more_channels={channels}")
    assert result.exit_code == 78
    assert "at most 10,000 bytes; got 1" in result.output


# The plain YAML with the command line of kfp itself.


GOLDEN = "manifests/align-stack.kfp.yaml"


def kfp_cli(kfp, tmp_path, verb, *parameters, file=GOLDEN):
    command = [Path(sys.executable).with_name("kfp"), "--endpoint", kfp.url, "run", verb]
    command += ["-e", "fibstack", "-r", "by hand", "-f", file, *parameters]
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    return subprocess.run(command, env=home, capture_output=True, text=True, timeout=120, check=False)


def test_the_guide_has_such_a_command(kfp: Any, tmp_path: Path) -> None:
    text = Path("docs/submit.md").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^kfp .* run create .*$", text, re.MULTILINE)
    assert GOLDEN in line
    ended = kfp_cli(kfp, tmp_path, "create", *shlex.split(line.partition(GOLDEN)[2]))
    assert ended.returncode == 0, ended.stderr
    (run,) = kfp.asked("POST", "/apis/v2beta1/runs")
    assert run.body["runtime_config"]["parameters"]["id"] == "007"


PLAIN = ["source=gs://em/raw", "image=img.%05d.png", "minz=3", "maxz=9", "output=gs://em/out"]


@pytest.mark.parametrize("verb", ["create", "submit"])
def test_kfps_own_command_line(kfp: Any, tmp_path: Path, verb: str) -> None:
    quoted = ['id="007"', "resolution=[4,4,8]", "raw_pyramid=true", "clip_limit=0"]
    file = tmp_path / "pipeline.yaml"
    file.write_text(compile_kfp(Settings()))
    ended = kfp_cli(kfp, tmp_path, verb, *PLAIN, *quoted, file=file)
    assert ended.returncode == 0, ended.stderr
    (run,) = kfp.asked("POST", "/apis/v2beta1/runs")
    parameters = run.body["runtime_config"]["parameters"]
    assert parameters["id"] == "007"
    assert parameters["resolution"] == [4, 4, 8]
    assert (parameters["minz"], parameters["clip_limit"], parameters["raw_pyramid"]) == (3, 0, True)
    assert not caching_in(run.body)
    submit(kfp.url)
    ours = kfp.asked("POST", "/apis/v2beta1/runs")[-1]
    assert messages(ours.body) == messages(run.body)


def messages(body):
    """The pipeline and its platform as the API server reads them."""
    spec = body["pipeline_spec"]
    return (
        json_format.ParseDict(spec["pipeline_spec"], pipeline_spec_pb2.PipelineSpec()),
        json_format.ParseDict(spec["platform_spec"], pipeline_spec_pb2.PlatformSpec()),
    )


def test_kfps_own_command_line_takes_text_that_looks_like_a_number_for_one(kfp: Any, tmp_path: Path) -> None:
    ended = kfp_cli(kfp, tmp_path, "create", *PLAIN, "id=007")
    assert ended.returncode != 0
    assert "input parameter id requires type" in ended.stderr + ended.stdout
