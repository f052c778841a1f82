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
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.work.refusal import leave_refusal
from pipeline.compiled.compile import compile_kfp
from pipeline.settings import Settings
from tests.builders import cli
from tests.pipeline.submit.kfp_server import (
    Node,
    all_tried_again,
    answer,
    answer_workflow,
    call,
    compressed,
    no_such_key,
    pod_of,
    refusal,
)
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
            body = refusal(3, f"input parameter {name} requires type {wanted}", "Failed to create a new run")
            return Answer(body, 400)
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
    answer(loopback, NODES)
    yield loopback
    server.shutdown()
    server.server_close()


LOOP = ".root.exit-handler-1.for-loop-2.iteration-iterations"
GROUPS = [
    Node("", "DAG", "Running", template="entrypoint", children=(".root-driver",)),
    Node(".root-driver", template="system-dag-driver", children=(".root",)),
    Node(".root", "DAG", "Running", template="root", children=(".root.exit-handler-1-driver",)),
    Node(f"{LOOP}(0:0).iteration-item-driver", template="system-dag-driver"),
    Node(f"{LOOP}(0:0).iteration-item", "DAG", "Running", template="comp-for-loop-2"),
]
UNSCHEDULABLE = "Unschedulable: 0/1 nodes are available: 1 Insufficient memory."
NODES = [
    *GROUPS,
    *call(".root.exit-handler-1.plan", "Succeeded"),
    *call(
        f"{LOOP}(0:0).iteration-item.align", "Failed: OOMKilled (exit code 137)", "Running", retry="Running"
    ),
    *call(f"{LOOP}(1:1).iteration-item.align", "Error: pod deleted", about="Max duration limit exceeded"),
    *call(f"{LOOP}(2:2).iteration-item.align", f"Pending: {UNSCHEDULABLE}", retry="Running"),
    *call(f"{LOOP}(3:3).iteration-item.align", f"Pending: {UNSCHEDULABLE}", retry="Running"),
    Node(".root.exit-handler-1.compose-driver", "Skipped", "Omitted", "omitted: depends condition not met"),
    Node(".root.exit-handler-1.compose", "Skipped", "Omitted", "omitted: depends condition not met"),
]
REFUSED = "main: Error (exit code 1): no slice matches 'img.%05d.png'. Change 'image'."


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
    assert parameters.keys() == RunConfig.model_fields.keys() | {"stub"}
    assert parameters["stub"] == ""
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
    resources = executors["exec-tile"]["container"]["resources"]
    assert resources["resourceMemoryLimit"] == "7G"
    assert "tile_memory" in resources["resourceMemoryRequest"]  # what plan has estimated, at most that


def status_of(kfp):
    result = cli("status", f"{kfp.url}/#/runs/details/run-1")
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


STATUS_LINES = [
    "007 2026-11-22: RUNNING",
    "step         done  running   failed  waiting",
    "plan            1        0        0        0",
    "align           0        1        1        2",
    "align(1) failed: pod deleted; Max duration limit exceeded",
    f"align: 2 waiting, {UNSCHEDULABLE}",
    "Units: fibstack status gs://em/out",
]


def test_status(kfp: Any) -> None:
    assert status_of(kfp) == STATUS_LINES


def test_status_where_argo_has_compressed_the_nodes(kfp: Any) -> None:
    nodes = {node.node_id: node.as_argo() for node in NODES}
    answer_workflow(kfp, compressed({"phase": "Running", "nodes": nodes}))
    assert status_of(kfp) == STATUS_LINES


def test_status_where_argo_keeps_the_nodes_in_a_database(kfp: Any) -> None:
    answer_workflow(kfp, {"phase": "Running", "offloadNodeStatusVersion": "fnv:1"})
    assert status_of(kfp)[2] == "plan            1        0        0        0"


@pytest.mark.parametrize("status", [404, 501])
def test_a_server_without_the_api_of_before_tells_steps_and_no_reasons(kfp: Any, status: int) -> None:
    kfp.on("GET", "/apis/v1beta1/.*", Answer({"code": 12, "message": "Not Implemented"}, status))
    assert status_of(kfp) == [
        "007 2026-11-22: RUNNING",
        "step         done  running   failed  waiting",
        "plan            1        0        0        0",
        "align           0        3        1        0",
        "Units: fibstack status gs://em/out",
    ]


def test_an_installation_that_tries_every_node_again_counts_a_call_once(kfp: Any) -> None:
    task = ".root.exit-handler-1.plan"
    nodes = [
        Node(f"{task}-driver", "Retry", template="system-container-driver"),
        Node(f"{task}-driver(0)", template="system-container-driver"),
        Node(task, "Retry", "Running", template="metadata-0-2-retry-system-container-executor"),
        *call(f"{task}(0)", "Error: pod deleted")[1:],
        *call(f"{task}(1)", "Running", second=7)[1:],
    ]
    answer(kfp, nodes)
    assert status_of(kfp)[2] == "plan            0        1        0        0"


def test_status_where_every_node_is_tried_again(kfp: Any) -> None:
    answer(kfp, all_tried_again(NODES))
    assert status_of(kfp) == STATUS_LINES


def test_status_of_a_refused_input_says_why(kfp: Any) -> None:
    nodes = [
        *call(".root.exit-handler-1.plan", REFUSED, REFUSED, about="No more retries left"),
        Node(".root.exit-handler-1.compose", "Skipped", "Omitted", "omitted: depends condition not met"),
        *call(".root.exit-handler-1.onExit.report", "Succeeded", second=9),
    ]
    answer(kfp, nodes, state="FAILED", phase="Failed")
    assert status_of(kfp) == [
        "007 2026-11-22: FAILED",
        "step         done  running   failed  waiting",
        "plan            0        0        1        0",
        "report          1        0        0        0",
        "plan failed: no slice matches 'img.%05d.png'. Change 'image'.",
        "Units: fibstack status gs://em/out",
    ]


def test_that_a_run_is_not_tried_again_is_no_reason(kfp: Any) -> None:
    nodes = {node.node_id: node.as_argo() for node in NODES}
    said = "retryStrategy.expression evaluated to false"
    answer_workflow(kfp, {"phase": "Failed", "message": said, "nodes": nodes})
    assert status_of(kfp)[0] == "007 2026-11-22: RUNNING"


def test_a_refusal_of_which_only_the_exit_code_is_known_is_read_from_the_output(
    kfp: Any, bucket: str
) -> None:
    output, line = f"gs://{bucket}/out", "refused by plan: the source must hold slices. Change 'image'."
    leave_refusal(open_store(f"{output}/process"), "plan", UserError(line.partition(": ")[2]))
    silent = call(".root.exit-handler-1.plan", "Failed: main: Error (exit code 1)")
    answer(kfp, silent, "FAILED", "Failed", output)
    assert status_of(kfp)[3:] == [
        "plan failed: main: Error (exit code 1)",
        line,
        f"Units: fibstack status {output}",
    ]
    kfp.on("GET", "/apis/v1beta1/.*", Answer({"code": 12}, 501))
    assert line in status_of(kfp)
    answer(kfp, call(".root.exit-handler-1.plan", "Failed: pod deleted"), "FAILED", "Failed", output)
    assert line not in status_of(kfp)
    answer(kfp, silent, "FAILED", "Failed", f"gs://{bucket}/elsewhere")
    assert line not in status_of(kfp)


def test_a_driver_that_waits_or_fails_is_told(kfp: Any) -> None:
    no_image = "ImagePullBackOff: Back-off pulling image"
    answer(kfp, [Node(".root-driver", phase="Pending", message=no_image, template="system-dag-driver")])
    assert status_of(kfp)[1] == f"root-driver: 1 waiting, {no_image}"
    failed = Node(".root.exit-handler-1.plan-driver", phase="Failed", message="main: Error (exit code 1)")
    answer(kfp, [failed], output="")
    assert status_of(kfp)[2:4] == [
        "plan            0        0        1        0",
        "plan failed: main: Error (exit code 1)",
    ]


def test_an_account_that_is_missing_is_told(kfp: Any) -> None:
    """No pod begins, so the run has ended before any program has."""
    no_account = 'pods "x" is forbidden: error looking up service account kubeflow/nobody: not found'
    driver = Node(".root-driver", phase="Error", message=no_account, template="system-dag-driver")
    answer(kfp, [driver], state="FAILED", phase="Error")
    assert status_of(kfp)[:2] == ["007 2026-11-22: FAILED", f"root-driver failed: {no_account}"]


def test_nothing_runs_in_a_run_that_has_ended(kfp: Any) -> None:
    answer(kfp, call(".root.exit-handler-1.plan", "Running"), state="FAILED")
    assert status_of(kfp)[2:4] == [
        "plan            0        0        1        0",
        "plan failed: it was stopped with the run",
    ]


def test_a_call_that_a_stopped_run_has_made_ready_does_not_wait(kfp: Any) -> None:
    group = Node(".root.exit-handler-1-driver", template="system-dag-driver")
    driver, *_ = call(".root.exit-handler-1.compose", "Succeeded")
    answer(kfp, [group, driver])
    assert status_of(kfp)[2:-1] == ["compose         0        0        0        1"]
    answer(kfp, [group, driver], state="FAILED", phase="Failed")
    assert status_of(kfp)[2:-1] == [
        "compose         0        0        1        0",
        "compose failed: it was stopped with the run",
    ]


def test_a_run_that_nobody_has_taken_up(kfp: Any) -> None:
    answer(kfp, [], state=None, phase="")
    assert status_of(kfp)[0].startswith("007 2026-11-22: PENDING, nobody has taken it up: Argo's controller")


def test_a_run_of_which_the_server_has_not_been_told(kfp: Any) -> None:
    answer(kfp, [], state="PENDING")
    answer_workflow(kfp, None)
    assert status_of(kfp)[0].startswith(
        "007 2026-11-22: PENDING, Kubeflow has heard nothing of it: its persistence agent does not run"
    )
    assert (
        cli("logs", f"{kfp.url}/#/runs/details/run-1").stderr == "No task has begun, or its logs are gone.\n"
    )


@pytest.mark.parametrize(("state", "is_told"), [("RUNNING", False), ("PENDING", True), (None, True)])
def test_a_run_that_nobody_takes_up_is_told_when_it_is_submitted(
    kfp: Any, monkeypatch: pytest.MonkeyPatch, state: str | None, is_told: bool
) -> None:
    monkeypatch.setattr("pipeline.submit.runs.NEW_RUN_S", 0.1)
    monkeypatch.setattr("pipeline.submit.runs.POLL_S", 0.05)
    answer(kfp, [], state=state, phase="")
    result = submit(kfp.url)
    assert result.exit_code == 0, result.output
    assert ("Note:   nobody has taken it up: Argo's controller does not run" in result.output) == is_told


def test_logs(kfp: Any) -> None:
    said = 'time="2026-11-22" level=info msg="capturing logs" argo=true\nhello\nError: exit status 1\n'
    kfp.on("GET", "/apis/v1alpha1/runs/run-1/nodes/([^/]+)/log", lambda _, pod: f"{pod} says\n{said}")
    reference = f"{kfp.url}/#/runs/details/run-1"
    result = cli("logs", reference, "align")
    assert result.exit_code == 0, result.output
    first, second, lost = (
        pod_of(f"{LOOP}({item}).iteration-item.align.executor({number})")
        for item, number in (("0:0", 0), ("0:0", 1), ("1:1", 0))
    )
    lines = result.output.splitlines()
    assert lines[:3] == [f"==> align(0): {first} <==", f"{first} says", "hello"]
    assert {f"==> align(0): {second} <==", f"==> align(1): {lost} <=="} < set(lines)
    assert f"no log: the pod waits. {UNSCHEDULABLE}" in lines
    plan = pod_of(".root.exit-handler-1.plan.executor(0)")
    assert f"==> plan: {plan} <==\n{plan} says\nhello\n" in cli("logs", reference).output
    assert cli("logs", reference, "tile").stderr == "No task of tile has begun, or its logs are gone.\n"


def test_logs_that_the_server_does_not_have_are_read_with_kubectl(kfp: Any) -> None:
    pod = pod_of(".root.exit-handler-1.plan.executor(0)")
    kubectl = f"kubectl logs --namespace kubeflow {pod} --container main"
    lines = [
        f"==> plan: {pod} <==",
        f"no log: this server keeps none of it. While the pod is there, run: {kubectl}",
    ]
    for missing in (no_such_key, Answer({"error": "no such page"}, 404)):
        kfp.on("GET", "/apis/v1alpha1/runs/run-1/nodes/([^/]+)/log", missing)
        result = cli("logs", f"{kfp.url}/#/runs/details/run-1", "plan")
        assert (result.exit_code, result.output.splitlines()) == (0, lines)


def test_logs_of_pods_that_the_server_does_not_name(kfp: Any) -> None:
    kfp.on("GET", "/apis/v1beta1/.*", Answer({"code": 12, "message": "Not Implemented"}, 501))
    result = cli("logs", f"{kfp.url}/#/runs/details/run-1", "plan")
    assert result.exit_code == 65
    assert result.output.endswith("--prefix --tail -1 --selector pipeline/runid=run-1\n")
    result = cli("logs", f"{kfp.url}/#/runs/details/run-1", "tile")
    assert result.output == "No task of tile has begun, or its logs are gone.\n"


@pytest.mark.parametrize("verb", ["status", "logs"])
def test_a_server_that_is_busy_is_not_said_to_lack_an_api(kfp: Any, verb: str) -> None:
    kfp.on("GET", "/apis/v1beta1/.*", Answer({"message": "no healthy upstream"}, 503))
    result = cli(verb, f"{kfp.url}/#/runs/details/run-1")
    assert result.exit_code == 75
    assert result.output.endswith(": no healthy upstream (HTTP 503). Try again.\n")


NOT_FOUND = refusal(5, "Run run-1 not found", "Failed to get a run: Failed to fetch run run-1")


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
        (404, NOT_FOUND, 65, "Run run-1 not found (HTTP 404). Check"),
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
    assert "Failed to" not in line
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
        "Give a gs:// or s3:// URI.\n"
    )
    assert not kfp.requests


def test_data_on_a_volume_of_the_cluster_is_taken(kfp: Any, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('volume = { claim = "em", path = "/data" }\n')
    given = ["--settings", str(settings), "--output", "/data/volume", "--source"]
    result = submit(kfp.url, *given, "/data/raw")
    assert result.exit_code == 0, result.output
    (run,) = kfp.asked("POST", "/apis/v2beta1/runs")
    assert run.body["runtime_config"]["parameters"]["output"] == "/data/volume"
    platform = run.body["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    for pod in platform["deploymentSpec"]["executors"].values():
        assert [mount["mountPath"] for mount in pod["pvcMount"]] == ["/data"]
    result = submit(kfp.url, *given, "/database/raw")
    assert result.exit_code == 78
    assert (
        "got /database/raw. Give a gs:// or s3:// URI, or a path on the pods' volume, below /data."
        in result.output
    )


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


def stub_nodes(**tries: str) -> list[Node]:
    """The nodes of a stub; of a step, a try that is not to succeed."""
    root = ".root.exit-handler-1"
    paths = [("plan", f"{root}.plan"), ("compose", f"{root}.compose"), ("report", ".root.report")]
    for number, (step, task) in enumerate(
        [("align", "align"), ("tile", "tile"), *(("pyramid", f"pyramid{end}") for end in ("", "-2", "-3"))]
    ):
        paths += [(step, f"{root}.for-loop-{number}({n}:{n}).iteration-item.{task}") for n in (0, 1)]
    return [node for step, path in paths for node in call(path, tries.get(step, "Succeeded"))]


@pytest.fixture
def stub_on_kfp(kfp: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    removed: list[str] = []
    monkeypatch.setattr(
        "commands.submit.stub.remove_scratch", lambda uris: removed.extend(uris.values()) or {}
    )
    monkeypatch.setattr("pipeline.submit.stub.POLL_S", 0.01)
    monkeypatch.setattr("pipeline.submit.stub.HOPELESS_S", 0.05)
    kfp.removed = removed
    return kfp


def test_a_stub_whose_steps_all_went_through(stub_on_kfp: Any) -> None:
    answer(stub_on_kfp, stub_nodes(), state="SUCCEEDED", phase="Succeeded")
    result = submit(stub_on_kfp.url, "--stub")
    assert result.exit_code == 0, result.output
    (run,) = stub_on_kfp.asked("POST", "/apis/v2beta1/runs")
    name = run.body["runtime_config"]["parameters"]["stub"]
    assert stub_on_kfp.removed[0] == f"gs://em/out/process/stub.{name}"
    assert "report   ok" in result.stdout


def test_a_stub_in_which_a_program_fails_says_so(stub_on_kfp: Any) -> None:
    answer(stub_on_kfp, stub_nodes(tile=f"Failed: {REFUSED}"), state="FAILED", phase="Failed")
    result = submit(stub_on_kfp.url, "--stub")
    assert result.exit_code == 65, result.output
    assert "tile     failed: no slice matches 'img.%05d.png'. Change 'image'." in result.stdout.splitlines()


def test_a_stub_that_waits_for_an_image_is_terminated(stub_on_kfp: Any) -> None:
    waits = "Pending: ImagePullBackOff: Back-off pulling image"
    answer(stub_on_kfp, stub_nodes(align=waits))

    def terminated(*_: object) -> dict[str, Any]:
        answer(stub_on_kfp, stub_nodes(align=waits), state="CANCELED", phase="Failed")
        return {}

    stub_on_kfp.on("POST", "/apis/v2beta1/runs/run-1:terminate", terminated)
    result = submit(stub_on_kfp.url, "--stub")
    assert result.exit_code == 65, result.output
    assert (
        "align    still waiting: ImagePullBackOff: Back-off pulling image. Push the images" in result.stdout
    )
    assert len(stub_on_kfp.asked("POST", "/apis/v2beta1/runs/run-1:terminate")) == 1
