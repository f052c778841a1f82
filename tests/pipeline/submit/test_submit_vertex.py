"""Runs on Vertex AI, against a server that speaks its REST API and that of Cloud Logging."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Never

import pytest
import yaml

from components.shared.documents.config import RunConfig
from components.shared.errors import install_command
from pipeline.compiled.compile import compile_vertex
from pipeline.settings import Settings
from pipeline.submit import vertex as submit_vertex
from tests.builders import cli
from tests.pipeline.submit.loopback import Answer, serve

has_client = pytest.mark.skipif(
    find_spec("google.cloud.aiplatform_v1") is None,
    reason="needs the extra 'vertex' (google-cloud-aiplatform)",
)
CONFIG = ["--source", "gs://em/raw", "--image", "img.%05d.png", "--minz", "3", "--maxz", "9"]
CONFIG += ["--output", "gs://em/out/", "--set", "id=007", "--set", "raw_pyramid=true"]
PLACE = ["--project", "lab", "--region", "europe-west4"]
JOBS = "/v1/projects/lab/locations/europe-west4/pipelineJobs"
REFERENCE = "vertex://lab/europe-west4/align-stack-1"


@pytest.fixture
def settings(tmp_path: Path):
    path = tmp_path / "settings.toml"
    path.write_text('registry = "gcr.io/em"\n[tile]\nmemory = "7G"\n')
    return ["--settings", str(path)]


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch):
    from google.auth.credentials import AnonymousCredentials

    loopback, server = serve()
    monkeypatch.setattr("google.auth.default", lambda *_, **__: (AnonymousCredentials(), "lab"))
    monkeypatch.setattr(submit_vertex, "endpoint", lambda region: loopback.url)
    monkeypatch.setattr(submit_vertex, "LOGGING_URL", loopback.url)
    loopback.on("POST", JOBS, created_job)
    loopback.on("GET", f"{JOBS}/align-stack-1", JOB)
    yield loopback
    server.shutdown()
    server.server_close()


def created_job(request):
    return {"name": f"{JOBS}/{request.query['pipelineJobId']}".removeprefix("/v1/"), **request.body}


def submit(*more):
    return cli("submit", "--target", "vertex", *PLACE, *CONFIG, *more)


@has_client
def test_a_run_arrives_with_its_configuration_and_the_compiled_pipeline(vertex: Any, settings: Any) -> None:
    result = submit(*settings, "--service-account", "runner@lab.iam.gserviceaccount.com")
    assert result.exit_code == 0, result.output
    (created,) = vertex.asked("POST", JOBS)
    job_id = created.query["pipelineJobId"]
    reference = f"vertex://lab/europe-west4/{job_id}"
    console = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs"
    assert result.output.splitlines() == [
        f"Page:   {console}/{job_id}?project=lab",
        f"Run:    {reference}",
        f"Status: fibstack status {reference}",
        f"Logs:   fibstack logs {reference} [STEP]",
        "Units:  fibstack status gs://em/out/",
    ]
    job = created.body
    assert job["displayName"] == "007"
    assert job["labels"] == {"app": "fibstack"}
    assert job["serviceAccount"] == "runner@lab.iam.gserviceaccount.com"
    runtime = job["runtimeConfig"]
    assert runtime["gcsOutputDirectory"] == "gs://em/out/process/vertex"
    parameters = runtime["parameterValues"]
    assert parameters.keys() == RunConfig.model_fields.keys() | {"stub"}
    assert parameters["stub"] == ""
    assert (parameters["id"], parameters["minz"], parameters["raw_pyramid"]) == ("007", 3, True)
    assert parameters["resolution"] == []
    ir = job["pipelineSpec"]
    assert ir == yaml.safe_load(compile_vertex(Settings(registry="gcr.io/em", tile={"memory": "7G"})))
    dags = [ir["root"]["dag"], *(c["dag"] for c in ir["components"].values() if "dag" in c)]
    tasks = [task for dag in dags for task in dag["tasks"].values()]
    assert len(tasks) > 6
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks)


@has_client
def test_what_is_sent_is_what_the_whole_client_would_send(vertex: Any, settings: Any, tmp_path: Path) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform
    from google.protobuf import json_format

    submit(*settings, "--pipeline-root", "gs://em/root")
    ours = vertex.asked("POST", JOBS)[0].body
    path = tmp_path / "pipeline.yaml"
    path.write_text(compile_vertex(Settings(registry="gcr.io/em", tile={"memory": "7G"})))
    job = aiplatform.PipelineJob(
        display_name="007",
        template_path=str(path),
        pipeline_root="gs://em/root",
        parameter_values=ours["runtimeConfig"]["parameterValues"],
        labels={"app": "fibstack"},
        credentials=AnonymousCredentials(),
        project="lab",
        location="europe-west4",
    )
    theirs = json_format.MessageToDict(job._gca_resource._pb)
    assert without_empty(ours) == without_empty(theirs)


def without_empty(body):
    """A request without what is empty, and with numbers of one kind."""
    if isinstance(body, dict):
        return {
            key: kept for key, value in body.items() if (kept := without_empty(value)) not in ({}, "", [])
        }
    if isinstance(body, list):
        return [without_empty(value) for value in body]
    return float(body) if isinstance(body, int) and not isinstance(body, bool) else body


def machine(name, state, job="", failed=(), **more):
    base = "projects/1/locations/europe-west4/customJobs"
    container = {"mainJob": f"{base}/{job}", "failedMainJobs": [f"{base}/{number}" for number in failed]}
    return {"taskName": name, "state": state, "executorDetail": {"containerDetail": container}, **more}


JOB = {
    "name": f"{JOBS}/align-stack-1",
    "displayName": "007",
    "state": "PIPELINE_STATE_FAILED",
    "error": {"code": 9, "message": "The DAG failed because some tasks failed.\nmore"},
    "runtimeConfig": {"parameterValues": {"output": "gs://em/out"}},
    "jobDetail": {
        "taskDetails": [
            {"taskName": "align-stack", "state": "RUNNING"},
            {"taskName": "for-loop-2", "state": "RUNNING"},
            machine("plan", "SUCCEEDED", "11"),
            machine("align", "RUNNING", "13", failed=["12"]),
            machine("align", "FAILED", "14", error={"code": 9, "message": "exit code 65"}),
            machine("pyramid-2", "PENDING"),
        ]
    },
}


@has_client
def test_status(vertex: Any) -> None:
    result = cli("status", REFERENCE)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "007: FAILED, The DAG failed because some tasks failed.",
        "step         done  running   failed  waiting",
        "plan            1        0        0        0",
        "align           0        1        1        0",
        "pyramid         0        0        0        1",
        "align failed: exit code 65",
        "Units: fibstack status gs://em/out",
    ]


STUB_JOB = {
    **JOB,
    "state": "PIPELINE_STATE_SUCCEEDED",
    "error": {},
    "jobDetail": {
        "taskDetails": [
            *(machine(task, "SUCCEEDED", "1") for task in ("plan", "compose", "report")),
            *(
                machine(task, "SUCCEEDED", "2")
                for task in ("align", "tile", "pyramid", "pyramid-2", "pyramid-3")
                for _ in range(2)
            ),
        ]
    },
}
"""A stub that went through."""


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is removed when a stub has ended, which takes no time."""
    uris: list[str] = []
    monkeypatch.setattr(
        "commands.submit.stub.remove_scratch", lambda named: uris.extend(named.values()) or {}
    )
    monkeypatch.setattr("pipeline.submit.stub.POLL_S", 0.01)
    monkeypatch.setattr("pipeline.submit.stub.STILL_S", 0.1)
    return uris


@has_client
def test_a_stub_has_the_files_of_the_service_in_its_own_folder(
    vertex: Any, settings: Any, removed: list[str]
) -> None:
    vertex.on("GET", rf"{JOBS}/align-stack-\d+", STUB_JOB)
    result = submit(*settings, "--stub")
    assert result.exit_code == 0, result.output
    runtime = vertex.asked("POST", JOBS)[0].body["runtimeConfig"]
    folder = f"gs://em/out/process/stub.{runtime['parameterValues']['stub']}"
    assert runtime["gcsOutputDirectory"] == f"{folder}/vertex"
    assert removed[0] == folder


@has_client
def test_a_stub_for_which_no_machine_comes_is_cancelled(
    vertex: Any, settings: Any, removed: list[str]
) -> None:
    details = {"taskDetails": [machine("plan", "PENDING", error={"code": 8, "message": "ResourceExhausted"})]}
    waiting = {**STUB_JOB, "state": "PIPELINE_STATE_RUNNING", "jobDetail": details}
    vertex.on("GET", rf"{JOBS}/align-stack-\d+", waiting)

    def cancelled(*_: object) -> dict[str, Any]:
        vertex.on("GET", rf"{JOBS}/align-stack-\d+", {**waiting, "state": "PIPELINE_STATE_CANCELLED"})
        return {}

    vertex.on("POST", rf"{JOBS}/align-stack-\d+:cancel", cancelled)
    result = submit(*settings, "--stub")
    assert result.exit_code == 75, result.output
    assert "plan     still waiting: ResourceExhausted. Ask for more quota" in result.stdout
    assert len(vertex.asked("POST", rf"{JOBS}/align-stack-\d+:cancel")) == 1
    assert removed


@has_client
def test_logs(vertex: Any) -> None:
    def entries(request):
        job = request.body["filter"].rpartition("=")[2].strip('"')
        assert request.body["resourceNames"] == ["projects/lab"]
        if "pageToken" in request.body:
            return {"entries": [{"textPayload": "the end\n"}]}
        said = {"jsonPayload": {"message": f"job {job} says"}}
        return {"entries": [said], **({"nextPageToken": "more"} if job == "13" else {})}

    vertex.on("POST", "/v2/entries:list", entries)
    result = cli("logs", REFERENCE, "align")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "==> align: custom job 12 <==",
        "job 12 says",
        "==> align: custom job 13 <==",
        "job 13 says",
        "the end",
        "==> align: custom job 14 <==",
        "job 14 says",
    ]
    vertex.on("POST", "/v2/entries:list", Answer({}, 403))
    result = cli("logs", REFERENCE)
    assert result.exit_code == 65
    assert "cannot read the logs of project lab: Forbidden (HTTP 403). Ask for the roles" in result.output


@has_client
@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, 65, "Log in with"),
        (403, 65, "no (HTTP 403). Ask for the roles"),
        (404, 65, "no (HTTP 404). Check the project"),
        (429, 75, "no (HTTP 429). Try again."),
        (503, 75, "no (HTTP 503). Try again."),
    ],
)
def test_a_refusal_is_one_sentence_after_one_request(
    vertex: Any, settings: Any, status: int, code: int, says: str
) -> None:
    refusal = Answer({"error": {"code": status, "message": "no"}}, status)
    vertex.on("GET", ".*", refusal)
    vertex.on("POST", ".*", refusal)
    for result in (submit(*settings), cli("status", REFERENCE)):
        assert result.exit_code == code, result.output
        (line,) = result.output.splitlines()
        assert line.startswith("error: cannot ")
        assert says in line
    assert len(vertex.requests) == 2


@has_client
def test_nobody_there(vertex: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_vertex, "endpoint", lambda region: "http://127.0.0.1:1")
    start = time.monotonic()
    for result in (submit(*settings), cli("status", REFERENCE)):
        assert result.exit_code == 75, result.output
        (line,) = result.output.splitlines()
        assert line.endswith("Check the region and the network, and try again.")
    assert time.monotonic() - start < 10


@has_client
def test_no_credentials(vertex: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    def none(*_, **__) -> Never:
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr("google.auth.default", none)
    result = submit(*settings)
    assert result.exit_code == 65
    assert result.output == (
        "error: cannot submit to Vertex AI in europe-west4: Your default credentials were not found. "
        "Log in with 'gcloud auth application-default login'.\n"
    )


def test_without_the_client(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "google.cloud.aiplatform_v1", None)
    for result in (submit(*settings), cli("status", REFERENCE)):
        assert result.exit_code == 78
        assert result.output == (
            "error: Vertex AI needs the package google-cloud-aiplatform, which is not installed. "
            f"Install it with: {install_command('vertex')}\n"
        )


def test_images_of_this_machine_are_refused() -> None:
    result = submit()
    assert result.exit_code == 78
    assert "must be able to pull the images; got fibstack/plan:" in result.output


def test_data_of_this_machine_is_refused(settings: Any) -> None:
    result = submit(*settings, "--source", "raw")
    assert result.exit_code == 78
    assert "'source' must be in a bucket" in result.output


def test_a_reference_that_is_none() -> None:
    for text in ("vertex://lab/europe-west4", "vertex://"):
        result = cli("status", text)
        assert result.exit_code == 78
        assert "must be named vertex://PROJECT/REGION/ID" in result.output
