"""Runs on Argo Workflows, against a server that speaks Kubernetes' API and checks what arrives."""

import base64
import functools
import gzip
import json
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hera.workflows import models as argo

from components.report.component import UNIT_COUNTS
from components.shared.documents.config import RunConfig
from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings, read_settings
from tests.builders import cli
from tests.pipeline.argo.argo_crds import RELEASES, refusals
from tests.pipeline.argo.argo_lint import problems
from tests.pipeline.submit.loopback import Answer, serve

CONFIG = ["--source", "gs://em/raw", "--image", "img.%05d.png", "--minz", "3", "--maxz", "9"]
CONFIG += ["--output", "gs://em/out", "--set", "id=007", "--set", "raw_pyramid=true"]
NAMESPACE = "/apis/argoproj.io/v1alpha1/namespaces/em"
TEMPLATE = f"{NAMESPACE}/workflowtemplates/align-stack"
WORKFLOW = f"{NAMESPACE}/workflows/align-stack-x7"
PODS = "/api/v1/namespaces/em/pods"
ON_A_VOLUME = Path("manifests/gke/local-volume/settings.toml")


@functools.cache
def compiled():
    return compile_argo(Settings())


def installed():
    """The WorkflowTemplate of `manifests/argo`, as the cluster has it."""
    _, template = yaml.load_all(compiled(), Loader=yaml.CSafeLoader)
    return template


def failure(status, message):
    """As Kubernetes says no."""
    body = {"kind": "Status", "status": "Failure", "message": message, "code": status}
    return Answer(body | ({"details": {"name": "x7", "kind": "workflows"}} if status == 404 else {}), status)


def created_workflow(request):
    """Answers as Kubernetes and Argo: the types of Argo's API, and a value for each parameter."""
    body = request.body
    argo.Workflow(**body)
    assert [refusals(release, body) for release in RELEASES] == [[]] * len(RELEASES)
    spec = body["spec"]
    if "workflowTemplateRef" in spec:
        assert spec["workflowTemplateRef"] == {"name": "align-stack"}
        assert spec.keys() == {"workflowTemplateRef", "arguments"}
    else:
        assert not problems([limits(), {**installed(), "spec": spec}])
    assert all(isinstance(parameter["value"], str) for parameter in spec["arguments"]["parameters"])
    return Answer({**body, "metadata": {**body["metadata"], "name": "align-stack-x7"}}, 201)


def limits():
    config_map, _ = yaml.load_all(compiled(), Loader=yaml.CSafeLoader)
    return config_map


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    loopback, server = serve()
    loopback.on("GET", TEMPLATE, installed())
    loopback.on("POST", f"{NAMESPACE}/workflows", created_workflow)
    loopback.on("POST", "/api/v1/namespaces/em/configmaps", lambda request: Answer(request.body, 201))
    write_context(monkeypatch, tmp_path, loopback.url)
    yield loopback
    server.shutdown()
    server.server_close()


def write_context(monkeypatch, folder, url, current="here") -> None:
    """A kubeconfig whose current context is the server, namespace em."""
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": current,
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "em"}}],
            }
        )
    )
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))


def submit(*more):
    return cli("submit", "--target", "argo", *CONFIG, *more)


def parameters_of(request):
    return {p["name"]: p["value"] for p in request.body["spec"]["arguments"]["parameters"]}


def test_a_run_of_the_installed_template(cluster: Any) -> None:
    result = submit()
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "Run:    argo://em/align-stack-x7",
        "Status: fibstack status argo://em/align-stack-x7",
        "Logs:   fibstack logs argo://em/align-stack-x7 [STEP]",
        "Units:  fibstack status gs://em/out",
    ]
    (created,) = cluster.asked("POST", f"{NAMESPACE}/workflows")
    assert created.headers["authorization"] == "Bearer secret"
    assert created.body["metadata"] == {
        "generateName": "align-stack-",
        "namespace": "em",
        "labels": {"app.kubernetes.io/name": "fibstack"},
    }
    parameters = parameters_of(created)
    assert parameters.keys() == RunConfig.model_fields.keys() | {"stub"}
    assert parameters["stub"] == ""
    assert (parameters["id"], parameters["minz"], parameters["raw_pyramid"]) == ("007", "3", "true")
    assert (parameters["resolution"], parameters["clip_limit"]) == ("[]", "0.02")
    assert not cluster.asked("POST", "/api/v1/.*")


def test_defaults_arrive_as_the_template_has_them(cluster: Any) -> None:
    submit()
    sent = parameters_of(cluster.asked("POST", f"{NAMESPACE}/workflows")[0])
    for parameter in installed()["spec"]["arguments"]["parameters"]:
        if "value" in parameter and parameter["name"] not in ("id", "raw_pyramid"):
            assert sent[parameter["name"]] == parameter["value"], parameter["name"]


def test_a_run_with_settings_brings_its_own_pipeline(cluster: Any, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('registry = "gcr.io/em"\nservice_account = "runner"\n[tile]\nmemory = "7G"\n')
    result = submit("--settings", str(settings))
    assert result.exit_code == 0, result.output
    (created,) = cluster.asked("POST", f"{NAMESPACE}/workflows")
    spec = created.body["spec"]
    assert spec["serviceAccountName"] == "runner"
    (tile,) = [t for t in spec["templates"] if t["name"] == "tile"]
    assert tile["container"]["image"].startswith("gcr.io/em/tile:")
    assert tile["container"]["resources"]["limits"]["memory"] == "7G"
    assert parameters_of(created)["id"] == "007"
    assert not cluster.asked("GET", TEMPLATE)
    (created,) = cluster.asked("POST", "/api/v1/namespaces/em/configmaps")
    assert created.body["data"] == {"align": "64", "tile": "64", "pyramid": "64"}


def test_limits_that_an_operator_has_set_stay(cluster: Any, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('tag = "1"\n')
    cluster.on("POST", "/api/v1/namespaces/em/configmaps", failure(409, "already exists"))
    result = submit("--settings", str(settings))
    assert result.exit_code == 0, result.output
    assert not [r for r in cluster.requests if r.method not in ("GET", "POST")]


def test_another_namespace(cluster: Any) -> None:
    cluster.on("GET", TEMPLATE.replace("/em/", "/fib/"), installed())
    cluster.on("POST", f"{NAMESPACE}/workflows".replace("/em/", "/fib/"), created_workflow)
    assert submit("--namespace", "fib").output.startswith("Run:    argo://fib/align-stack-x7\n")


def with_volume():
    """The template of the overlay that gives every pod a volume."""
    _, template = yaml.safe_load_all(compile_argo(read_settings(ON_A_VOLUME)))
    return template


def test_folders_of_a_volume_of_the_cluster(cluster: Any) -> None:
    cluster.on("GET", TEMPLATE, with_volume())
    result = submit("--source", "/data/raw", "--output", "/data/out")
    assert result.exit_code == 0, result.output
    assert result.output.endswith("Units:  fibstack status argo://em/align-stack-x7 --units\n")
    (created,) = cluster.asked("POST", f"{NAMESPACE}/workflows")
    assert parameters_of(created)["output"] == "/data/out"
    result = submit("--source", "/database", "--output", "/data/out")
    assert result.exit_code == 78
    assert (
        "got /database. Give a gs:// or s3:// URI, or a path on the pods' volume, below /data."
        in result.output
    )


UNITS = f"{NAMESPACE}/workflows/align-stack-x7-units-1"
COUNTS = "plan            1 of 1        100%\n"


@pytest.fixture
def counting(cluster: Any, monkeypatch: pytest.MonkeyPatch):
    """A run on a volume, and the workflow that counts its units; what becomes of that is still to be said."""
    monkeypatch.setattr("pipeline.submit.argo.POLL_S", 0.02)
    run = {**workflow(STATUS), "apiVersion": "argoproj.io/v1alpha1"}
    run["spec"]["arguments"]["parameters"][0]["value"] = "/data/out"
    spec = with_volume()["spec"]
    (report,) = [template for template in spec["templates"] if template["name"] == "report"]
    report["nodeSelector"] = {"disk": "near"}
    patch = json.loads(report["podSpecPatch"])
    (main,) = [container for container in patch["containers"] if container["name"] == "main"]
    main["volumeMounts"] = [{"name": "more", "mountPath": "/more"}]
    report["podSpecPatch"] = yaml.safe_dump({**patch, "hostUsers": False})
    report["container"]["envFrom"].append({"configMapRef": {"name": "proxies"}})
    report["container"]["env"] = [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    # Argo keeps the run's own spec in it, too.
    spec |= {
        "workflowTemplateRef": {"name": "align-stack"},
        "shutdown": "Stop",
        "podSpecPatch": "{containers: [{name: main, tty: true, resources: {limits: {memory: 64G}}}]}",
        "imagePullSecrets": [{"name": "p"}],
    }
    run["status"] = {**STATUS, "storedWorkflowTemplateSpec": spec}
    cluster.on("GET", WORKFLOW, run)
    made = {"metadata": {"name": "align-stack-x7-units-1"}}
    cluster.on("POST", f"{NAMESPACE}/workflows", Answer(made, 201))
    cluster.on("DELETE", UNITS, {"kind": "Status", "status": "Success"})
    cluster.on("GET", PODS, {"kind": "PodList", "items": [pod("units-1", "units", "", None)]})
    cluster.on("GET", f"{PODS}/units-1/log", EXECUTOR.partition("\n")[0] + "\n" + COUNTS)
    return cluster


def count_units():
    return cli("status", "argo://em/align-stack-x7", "--units")


def test_units_on_a_volume_are_counted_by_a_pod_like_those_of_the_run(counting: Any) -> None:
    phases = ["", "Running", "Succeeded"]
    counting.on("GET", UNITS, lambda *_: workflow({"phase": phases.pop(0)}))
    result = count_units()
    assert (result.exit_code, result.output) == (0, COUNTS)
    assert len(counting.asked("DELETE", UNITS)) == 1
    (created,) = counting.asked("POST", f"{NAMESPACE}/workflows")
    made = argo.Workflow(**created.body)
    assert [refusals(release, created.body) for release in RELEASES] == [[]] * len(RELEASES)
    assert not problems([{**installed(), "spec": created.body["spec"]}])
    spec = made.spec
    assert (spec.entrypoint, spec.service_account_name) == ("units", "fibstack-plan")
    assert (spec.workflow_template_ref, spec.shutdown, spec.on_exit) == (None, None, None)
    assert spec.image_pull_secrets[0].name == "p"
    assert spec.pod_gc.delete_delay_duration == "600s"
    assert spec.security_context.run_as_non_root
    assert spec.security_context.fs_group == 10001
    assert spec.volumes[-1].persistent_volume_claim.claim_name == "fibstack-data"
    (template,) = spec.templates
    (report,) = [t for t in installed()["spec"]["templates"] if t["name"] == "report"]
    container = template.container
    assert [mount.mount_path for mount in container.volume_mounts] == ["/tmp", "/data"]
    assert container.image == report["container"]["image"]
    assert container.command == [*UNIT_COUNTS, "/data/out"]
    assert (container.env[0].name, template.node_selector) == ("HTTPS_PROXY", {"disk": "near"})
    assert [source.config_map_ref.name for source in container.env_from] == [
        "proxies"
    ]  # no mail server's password
    assert container.security_context.read_only_root_filesystem
    assert container.resources.requests["memory"].root == "256Mi"
    patch = json.loads(template.pod_spec_patch)
    own = {container["name"]: container.keys() - {"name"} for container in patch["containers"]}
    assert own == {"wait": {"securityContext"}, "main": {"volumeMounts"}}  # no memory that grows with retries
    assert patch["hostUsers"] is False
    assert json.loads(spec.pod_spec_patch) == {"containers": [{"name": "main", "tty": True}]}


def test_a_pod_that_cannot_count_says_why(counting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counting.on("GET", UNITS, workflow({"phase": "Failed", "message": "child failed"}))
    counting.on("GET", f"{PODS}/units-1/log", f"error: got no plan. Wait.\n{EXECUTOR}")
    result = count_units()
    assert (result.exit_code, result.output) == (
        65,
        "error: the pod that counts the units failed: got no plan. Wait.\n",
    )
    monkeypatch.setattr("pipeline.submit.argo.LONGEST_S", 0.1)
    waiting = by_id(node("-units-1", "Pod", "units", "Pending", UNSCHEDULABLE))
    counting.on("GET", UNITS, workflow({"phase": "Running", "nodes": waiting}))
    result = count_units()
    assert result.exit_code == 75
    assert f"has not ended within 0.1 s: {UNSCHEDULABLE}" in result.output
    assert len(counting.asked("DELETE", UNITS)) == 2


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [("65", 65), ("78", 65), ("75", 75), ("137", 75), (None, 75)],
)
def test_only_a_pod_that_says_so_is_of_no_use_to_try_again(
    counting: Any, exit_code: str | None, code: int
) -> None:
    ended = node("-units-1", "Pod", "units", "Failed", "Error")
    if exit_code:
        ended["outputs"] = {"exitCode": exit_code}
    counting.on("GET", UNITS, workflow({"phase": "Failed", "nodes": by_id(ended)}))
    counting.on("GET", f"{PODS}/units-1/log", "error: storage does not answer. Try again.\n")
    result = count_units()
    assert (result.exit_code, result.output) == (
        code,
        "error: the pod that counts the units failed: storage does not answer. Try again.\n",
    )


def test_a_log_that_is_gone_is_no_count(counting: Any) -> None:
    counting.on("GET", UNITS, workflow({"phase": "Succeeded"}))
    gone = "error: the log of the pod that counts the units is gone. Try again.\n"
    counting.on("GET", f"{PODS}/units-1/log", failure(404, "pods not found"))
    result = count_units()
    assert (result.exit_code, result.output) == (75, gone)
    counting.on("GET", PODS, {"kind": "PodList", "items": []})
    result = count_units()
    assert (result.exit_code, result.output) == (75, gone)


def test_units_of_a_run_that_nobody_has_taken_up(counting: Any) -> None:
    run = {
        **workflow({}),
        "spec": {"workflowTemplateRef": {"name": "align-stack"}, "arguments": {"parameters": []}},
    }
    run["spec"]["arguments"] = workflow({})["spec"]["arguments"]
    counting.on("GET", WORKFLOW, run)
    result = count_units()
    assert result.exit_code == 65
    assert "must have the step 'report', whose image counts the units" in result.output


def test_units_of_what_is_no_run_on_argo(tmp_path: Path) -> None:
    result = cli("status", tmp_path, "--units")
    assert result.exit_code == 78
    assert "--units must be given a run on Argo" in result.output


@pytest.mark.parametrize(("phases", "is_told"), [(["", "Running"], False), ([], True)])
def test_a_run_that_nobody_takes_up_is_told_when_it_is_submitted(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, phases: list[str], is_told: bool
) -> None:
    monkeypatch.setattr("pipeline.submit.runs.NEW_RUN_S", 0.2)
    monkeypatch.setattr("pipeline.submit.runs.POLL_S", 0.05)
    cluster.on("GET", WORKFLOW, lambda *_: workflow({"phase": phases.pop(0)} if phases else {}))
    result = submit()
    assert result.exit_code == 0, result.output
    assert ("Note:   nobody has taken it up: Argo's controller does not run" in result.output) == is_told


@pytest.mark.parametrize("status", ["Running", {"compressedNodes": "AAAA"}], ids=str)
def test_a_run_that_was_submitted_is_told_whatever_the_cluster_says_of_it_then(
    cluster: Any, status: Any
) -> None:
    cluster.on("GET", WORKFLOW, workflow(status))
    result = submit()
    assert result.exit_code == 0, result.output
    assert "Run:    argo://em/align-stack-x7\n" in result.output
    assert "Note:" not in result.output


def test_folders_of_a_volume_that_the_settings_name(cluster: Any) -> None:
    result = submit("--source", "/data/raw", "--output", "/data/out", "--settings", str(ON_A_VOLUME))
    assert result.exit_code == 0, result.output
    (created,) = cluster.asked("POST", f"{NAMESPACE}/workflows")
    (volume,) = [v for v in created.body["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert volume["persistentVolumeClaim"] == {"claimName": "fibstack-data"}
    assert parameters_of(created)["output"] == "/data/out"


def test_folders_without_such_a_volume(cluster: Any) -> None:
    result = submit("--output", "/data/out")
    assert result.exit_code == 78
    assert result.output == (
        "error: 'output' must be in a bucket, since a cluster does not see this machine; got /data/out. "
        "Give a gs:// or s3:// URI.\n"
    )
    assert not cluster.asked("POST", ".*")


def test_a_template_of_another_version_is_refused(cluster: Any) -> None:
    template = installed()
    parameters = template["spec"]["arguments"]["parameters"]
    template["spec"]["arguments"]["parameters"] = [p for p in parameters if p["name"] != "keep_bits"]
    cluster.on("GET", TEMPLATE, template)
    for volume in ((), ("--source", "/data/raw")):  # which it may have, in a way of its own
        result = submit(*volume)
        assert result.exit_code == 65
        assert "must be of this version; it does not know keep_bits. Install it anew" in result.output


def node(name, kind, step, phase, message="", started="", children=()):
    """A node as Argo's controller writes it."""
    found = {
        "id": f"align-stack-x7-{zlib.crc32(name.encode())}",
        "name": f"align-stack-x7{name}",
        "displayName": name.rpartition(".")[2] or "align-stack-x7",
        "type": kind,
        "templateName": step,
        "phase": phase,
        "message": message,
        "startedAt": f"2026-11-22T10:00:{started or '00'}Z",
        "children": [f"align-stack-x7-{zlib.crc32(child.encode())}" for child in children],
    }
    return {key: value for key, value in found.items() if value}


def by_id(*nodes):
    return {node["id"]: node for node in nodes}


UNSCHEDULABLE = "Unschedulable: 0/1 nodes are available: 1 Insufficient memory."
LOCK = "Waiting for em/ConfigMap/align-stack-limits/align lock. Lock status: 3/3"
SENTENCE = "a.png must be a picture; got a text. Replace it."
NODES = by_id(
    node("", "DAG", "main", "Running", children=[".plan"]),
    node(".plan", "Retry", "plan", "Succeeded", children=[".plan(0)"]),
    node(".plan(0)", "Pod", "plan", "Succeeded"),
    node(".align", "TaskGroup", "align", "Running", children=[".align(0:0-7)", ".align(1:8-15)"]),
    node(".align(0:0-7)", "Retry", "align", "Running", children=[".align(0:0-7)(0)", ".align(0:0-7)(1)"]),
    node(".align(0:0-7)(0)", "Pod", "align", "Failed", "OOMKilled (exit code 137)", "01"),
    node(".align(0:0-7)(1)", "Pod", "align", "Running", started="02"),
    node(".align(1:8-15)", "Retry", "align", "Failed", "No more retries left"),
    node(".align(1:8-15)(0)", "Pod", "align", "Failed", f"main: Error (exit code 65): {SENTENCE}"),
    node(".align(2:16-23)", "Retry", "align", "Running"),
    node(".align(2:16-23)(0)", "Pod", "align", "Pending", UNSCHEDULABLE),
    node(".align(3:24-31)", "Retry", "align", "Running"),
    node(".align(3:24-31)(0)", "Pod", "align", "Pending", UNSCHEDULABLE),
    node(".align(4:32-39)", "Retry", "align", "Running", "Backoff for 10 seconds"),
    node(".align(4:32-39)(0)", "Pod", "align", "Error", "pod deleted"),
    node(".align(5:40-47)", "Retry", "align", "Pending", LOCK),
    node(".tile(0:0)", "Pod", "tile", "Pending"),
)
STATUS = {"phase": "Running", "message": "two of three", "nodes": NODES}
STATUS_LINES = [
    "align-stack-x7: Running, two of three",
    "step         done  running   failed  waiting",
    "plan            1        0        0        0",
    "align           0        1        1        4",
    "tile            0        0        0        1",
    f"align(1:8-15) failed: {SENTENCE}",
    f"align: 2 waiting, {UNSCHEDULABLE}",
    "align: 1 waiting, Backoff for 10 seconds, after pod deleted",
    f"align: 1 waiting, {LOCK}",
    "Units: fibstack status gs://em/out",
]


def workflow(status):
    arguments = {"parameters": [{"name": "output", "value": "gs://em/out"}]}
    return {"metadata": {"name": "align-stack-x7"}, "spec": {"arguments": arguments}, "status": status}


@pytest.mark.parametrize("is_compressed", [False, True])
def test_status(cluster: Any, is_compressed: bool) -> None:
    status = STATUS
    if is_compressed:  # as Argo does with many nodes
        packed = base64.b64encode(gzip.compress(json.dumps(NODES).encode())).decode()
        status = {"phase": "Running", "message": "two of three", "compressedNodes": packed}
    cluster.on("GET", WORKFLOW, workflow(status))
    result = cli("status", "argo://em/align-stack-x7")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == STATUS_LINES


def test_status_of_a_run_whose_tasks_are_in_a_database(cluster: Any) -> None:
    cluster.on("GET", WORKFLOW, workflow({"phase": "Running", "offloadNodeStatusVersion": "fnv:1"}))
    said = cli("status", "argo://em/align-stack-x7").output
    assert said.startswith("align-stack-x7: Running, its tasks are kept in a database, which Argo's server")


@pytest.mark.parametrize(("phase", "is_told"), [("Running", True), ("Failed", False)])
def test_status_of_a_run_that_is_suspended(cluster: Any, phase: str, is_told: bool) -> None:
    run = workflow({"phase": phase, "nodes": NODES})
    run["spec"]["suspend"] = True
    cluster.on("GET", WORKFLOW, run)
    said = cli("status", "argo://em/align-stack-x7").output
    assert (
        "no further task begins; go on with: argo resume --namespace em align-stack-x7\n" in said
    ) == is_told


def test_status_of_a_run_whose_message_is_blank(cluster: Any) -> None:
    cluster.on("GET", WORKFLOW, workflow({"phase": "Failed", "message": " \n"}))
    result = cli("status", "argo://em/align-stack-x7")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("align-stack-x7: Failed\n")


def test_nothing_runs_in_a_run_that_was_stopped(cluster: Any) -> None:
    ended = {**STATUS, "phase": "Failed", "message": "Stopped", "finishedAt": "2026-11-22T10:05:00Z"}
    cluster.on("GET", WORKFLOW, workflow(ended))
    lines = cli("status", "argo://em/align-stack-x7").output.splitlines()
    assert lines[3:5] == [
        "align           0        0        6        0",
        "tile            0        0        1        0",
    ]
    assert "align(0:0-7) failed: it was stopped with the run" in lines
    assert f"align(2:16-23) failed: {UNSCHEDULABLE}" in lines
    assert not [line for line in lines if "waiting," in line]


@pytest.mark.parametrize(("age_s", "is_told"), [(5, False), (300, True)])
def test_status_of_a_run_that_nobody_has_taken_up(cluster: Any, age_s: int, is_told: bool) -> None:
    created = datetime.now(UTC) - timedelta(seconds=age_s)
    metadata = {"name": "align-stack-x7", "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ")}
    cluster.on("GET", WORKFLOW, {"metadata": metadata, "spec": {}})
    said = cli("status", "argo://em/align-stack-x7").output
    assert said.startswith("align-stack-x7: Pending, nobody has taken it up: Argo's controller") == is_told
    assert said == "align-stack-x7: Pending\n" or is_told


def pod(name, step, unit, created):
    labels = {"app.kubernetes.io/component": step, **({"fibstack/unit": unit} if unit else {})}
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": created}}


EXECUTOR = (
    'time="2026-11-22T10:00:05.000Z" level=info msg="sub-process exited" argo=true error="<nil>"\n'
    "time=2026-11-22T10:00:05.000Z level=INFO msg=exited argo=true\n"
    "Error: exit status 65\n"
)


def test_logs(cluster: Any) -> None:
    cluster.on("GET", WORKFLOW, workflow(STATUS))
    pods = [
        pod("x7-align-2", "align", "8-15", "2026-11-22T10:00:02Z"),
        pod("x7-align-1", "align", "0-7", "2026-11-22T10:00:01Z"),
    ]
    cluster.on("GET", PODS, {"kind": "PodList", "items": pods})
    cluster.on("GET", f"{PODS}/x7-align-1/log", f"12 pairs\n12% of 5 \\u00b5m\n{EXECUTOR}")
    cluster.on("GET", f"{PODS}/x7-align-2/log", failure(400, 'container "main" is waiting to start'))
    result = cli("logs", "argo://em/align-stack-x7", "align")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "==> align 0-7: x7-align-1 <==",
        "12 pairs",
        "12% of 5 \\u00b5m",
        "==> align 8-15: x7-align-2 <==",
        'no log: container "main" is waiting to start',
    ]
    (listing,) = cluster.asked("GET", PODS)
    assert listing.query["labelSelector"] == (
        "workflows.argoproj.io/workflow=align-stack-x7,app.kubernetes.io/component=align"
    )
    assert cluster.asked("GET", f"{PODS}/x7-align-1/log")[0].query["container"] == "main"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer("", 204), ["no log: the pod waits for a machine"]),  # as a real server answers
        (Answer("", 200), [""]),  # the program has said nothing yet
    ],
)
def test_logs_of_a_pod_that_has_not_begun(cluster: Any, answer: Answer, shown: list[str]) -> None:
    cluster.on("GET", WORKFLOW, workflow(STATUS))
    waiting = pod("x7-align-1", "align", "0-7", "2026-11-22T10:00:01Z")
    cluster.on("GET", PODS, {"kind": "PodList", "items": [waiting]})
    cluster.on("GET", f"{PODS}/x7-align-1/log", answer)
    result = cli("logs", "argo://em/align-stack-x7", "align")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == ["==> align 0-7: x7-align-1 <==", *shown]


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (failure(401, "Unauthorized"), 65, "Unauthorized (HTTP 401). Log in to the cluster"),
        (failure(403, "no access"), 65, "no access (HTTP 403). Ask for a role"),
        (failure(404, "not found"), 65, "not found (HTTP 404). Install it, or give --settings"),
        (Answer("404 page not found\n", 404), 65, "Not Found (HTTP 404). The cluster has no Argo Workflows."),
        (failure(500, "etcd"), 75, "etcd (HTTP 500). Try again."),
    ],
)
def test_a_refusal_is_one_sentence_after_one_request(cluster: Any, answer: Any, code: int, says: str) -> None:
    cluster.on("GET", TEMPLATE, answer)
    result = submit()
    assert result.exit_code == code
    (line,) = result.output.splitlines()
    assert line.startswith(
        "error: cannot find the WorkflowTemplate 'align-stack' in namespace 'em' of http://"
    )
    assert says in line
    assert len(cluster.requests) == 1


def test_an_unknown_run(cluster: Any) -> None:
    cluster.on("GET", WORKFLOW, failure(404, 'workflows.argoproj.io "align-stack-x7" not found'))
    for command in ("status", "logs"):
        result = cli(command, "argo://em/align-stack-x7")
        assert result.exit_code == 65
        assert result.output.endswith("not found (HTTP 404). Check the reference and kubectl's context.\n")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_context(monkeypatch, tmp_path, "http://127.0.0.1:1")
    start = time.monotonic()
    for result in (submit(), cli("status", "argo://em/x")):
        assert result.exit_code == 75
        (line,) = result.output.splitlines()
        assert line.endswith("Check kubectl's context and the network, and try again.")
    assert time.monotonic() - start < 10


def test_nobody_answers(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.submit.argo._TIMEOUT", (0.2, 0.2))
    cluster.on("GET", TEMPLATE, lambda *_: time.sleep(0.5))
    result = submit()
    assert result.exit_code == 75
    assert "timed out" in result.output
    assert len(cluster.requests) == 1


@pytest.mark.parametrize("current", ["elsewhere", "", None])
def test_no_current_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, current: Any) -> None:
    write_context(monkeypatch, tmp_path, "http://127.0.0.1:1", current)
    if current is None:
        (tmp_path / "kubeconfig").unlink()
    result = submit()
    assert result.exit_code == 78, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("error: kubectl must have a current context that names the cluster; got: ")
