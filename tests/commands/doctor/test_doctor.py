"""`fibstack doctor`: what it finds on machines, in buckets and on clusters, and what mends it."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import Result

import commands.doctor.machine
from commands.buckets import RUN_LABEL
from commands.doctor.buckets import check_login
from commands.doctor.findings import Finding
from components.shared.documents.config import RunConfig
from components.shared.errors import install_command
from components.shared.steps import STUB
from components.shared.storage import gcs
from tests.builders import cli
from tests.hostile_server import HEAD, Behaviour, answer, dribble, flood, hostile, say
from tests.pipeline.submit.loopback import Answer, Loopback, serve

CONFIG = "source: {source}\nimage: img.%05d.png\nminz: 0\nmaxz: 1\noutput: {output}\n"


def doctor(*words: object) -> Result:
    return cli("doctor", *words)


def wrong(result: Result) -> list[str]:
    return [
        line.removeprefix("WRONG").strip() for line in result.output.splitlines() if line.startswith("WRONG")
    ]


def mended_by(result: Result) -> list[str]:
    return [line.strip().removeprefix("-> ") for line in result.output.splitlines() if "-> " in line]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes a shell script the only program of its name."""

    def install(name: str, script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return install


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A cloud with the bucket 'em-raw', in which everything is allowed; it holds one slice."""
    loopback, server = serve()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", loopback.url)
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", loopback.url)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(0.5))
    logged_in = Finding("ok", "there are Google credentials")
    monkeypatch.setattr("commands.doctor.buckets.check_login", lambda: logged_in)
    loopback.on("GET", r"/storage/v1/b/.*", Answer({"error": {"message": "no such bucket"}}, 404))
    grant(loopback, "em-raw", ["get", "list", "create", "delete"])
    loopback.on("GET", r"/storage/v1/b/em-raw", {"name": "em-raw", "cors": []})
    loopback.on("GET", r"/storage/v1/b/em-raw/o", {"items": [{"name": "raw/img.00000.png", "size": "4"}]})
    loopback.on("GET", r".*/b/em-raw/o/raw.*img.00000.png", "the server ignores ranges")
    yield loopback
    server.shutdown()
    server.server_close()


def grant(loopback: Loopback, bucket: str, verbs: list[str]) -> None:
    granted = {"permissions": [f"storage.objects.{verb}" for verb in verbs]}
    loopback.on("GET", f"/storage/v1/b/{bucket}/iam/testPermissions", granted)


def test_a_good_machine() -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "ok     the libraries of the steps are installed" in result.output
    assert result.output.endswith("Nothing is wrong.\n")


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        commands.doctor.machine, "_is_installed", lambda name: name not in ("cv2", "neuroglancer")
    )
    result = doctor()
    assert result.exit_code == 65
    assert wrong(result) == ["libraries of the steps are missing: cv2"]
    assert mended_by(result) == [install_command("step"), install_command("view")]


@pytest.mark.parametrize(
    ("gib", "code", "sentence"),
    [
        (2, 65, "a task of slices of 10,000 x 10,000 px takes up to 3.7 GiB"),
        (9, 0, "-> fibstack run ... --jobs 2"),
        (64, 0, "ok     16 cores, 64.0 GiB of memory"),
    ],
)
def test_memory_decides_how_many_tasks_fit(
    gib: int, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands.doctor.machine, "available_cores", lambda: 16)
    monkeypatch.setattr(commands.doctor.machine, "memory_bytes", lambda: gib * 2**30)
    result = doctor()
    assert (result.exit_code, sentence in result.output) == (code, True), result.output


def test_a_configuration_of_folders(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source=tmp_path / "raw", output=tmp_path / "deep/out"))
    assert wrong(doctor(config)) == [f"no files like img.%05d.png in {tmp_path / 'raw'}"]
    (tmp_path / "raw/img.00000.png").write_bytes(b"1")
    result = doctor(config)
    assert result.exit_code == 0, result.output
    assert f"you may write to {tmp_path / 'deep/out'}" in result.output
    assert "GiB free in" in result.output
    assert not (tmp_path / "deep").exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "img.00000.png").write_bytes(b"1" * 1000)
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source=tmp_path, output=tmp_path / "out"))
    usage = type("Usage", (), {"free": 2999})
    monkeypatch.setattr(commands.doctor.machine.shutil, "disk_usage", lambda _: usage)
    result = doctor(config)
    assert result.exit_code == 65
    assert "needed" in wrong(result)[0]


def test_a_folder_that_is_not_there_and_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    assert wrong(doctor(tmp_path / "nowhere")) == [f"there is no folder {tmp_path / 'nowhere'}"]
    (tmp_path / "run.yaml").write_text("sauce: a\n")
    assert "unknown key 'sauce'. Did you mean 'source'?" in wrong(doctor(tmp_path / "run.yaml"))[0]


def test_docker_without_an_engine_or_images(program: Callable[[str, str], None]) -> None:
    program("docker", "echo is the docker daemon running >&2; exit 1")
    assert wrong(doctor("--runner", "docker"))[0].startswith("no Docker engine answers")
    program("docker", 'case "$1" in info) echo 4;; *) exit 1;; esac')
    assert "must be on this machine. Run: make images" in wrong(doctor("--runner", "docker"))[0]
    program("docker", 'case "$1" in info) echo 4;; esac')
    assert "a Docker engine answers, with 4 cores" in doctor("--runner", "docker").output


def test_a_server_that_ignores_ranges(cloud: Loopback) -> None:
    result = doctor("gs://em-raw/raw")
    assert result.exit_code == 65
    assert "the server ignores ranges" in wrong(result)[0]


@pytest.fixture
def with_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs.GcsStore, "read_range", lambda *_: b"P")


@pytest.mark.usefixtures("with_ranges")
def test_a_good_bucket(cloud: Loopback) -> None:
    result = doctor("gs://em-raw/raw")
    assert result.exit_code == 0, result.output
    for sentence in (
        "you may read gs://em-raw",
        "you may write gs://em-raw",
        "ranges of gs://em-raw/raw/img",
    ):
        assert sentence in result.output
    assert mended_by(result) == ["fibstack data cors gs://em-raw"]
    cloud.on("GET", r"/storage/v1/b/em-raw", {"cors": [{"origin": ["*"], "method": ["GET"]}]})
    assert "gs://em-raw lets pages of other origins read" in doctor("gs://em-raw/raw").output


@pytest.mark.usefixtures("with_ranges")
def test_missing_rights_are_named_with_the_role(cloud: Loopback, tmp_path: Path) -> None:
    grant(cloud, "em-raw", ["get", "list"])
    assert doctor("gs://em-raw/raw").exit_code == 0  # who only looks need not write
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source="gs://em-raw/raw", output="gs://em-raw/out"))
    result = doctor(config)
    assert result.exit_code == 65
    assert "storage.objects.create and storage.objects.delete is missing" in wrong(result)[0]
    assert "gs://em-raw --role roles/storage.objectUser" in mended_by(result)[0]
    grant(cloud, "em-raw", ["get"])
    result = doctor("gs://em-raw/raw")
    assert "you may not read gs://em-raw: storage.objects.list is missing" in wrong(result)[0]
    assert "--role roles/storage.objectViewer" in result.output


@pytest.mark.usefixtures("cloud")
def test_a_bucket_that_is_not_there() -> None:
    assert "there is no bucket 'em-nowhere'" in wrong(doctor("gs://em-nowhere"))[0]


def test_the_buckets_of_a_run(cloud: Loopback) -> None:
    result = doctor("gs://em-raw_*_run1")
    assert result.exit_code == 0, result.output
    assert result.output.count("is made when the run starts; that takes storage.buckets.create") == 4
    cloud.on("GET", "/storage/v1/b/em-raw_ng_run1", {"labels": {RUN_LABEL: "run2"}})
    result = doctor("gs://em-raw_*_run1")
    assert wrong(result) == [
        "gs://em-raw_ng_run1 is there and not of this run: its label fibstack-run is run2"
    ]
    assert mended_by(result) == [
        "gcloud storage buckets update gs://em-raw_ng_run1 --update-labels fibstack-run=run1"
    ]


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    assert check_login().remedy == "gcloud auth application-default login"


class Web(http.server.BaseHTTPRequestHandler):
    """A web server of a volume, as good as `headers` and `ranges` say."""

    ranges = True
    headers_sent: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        found = self.path == "/em/neuroglancer/jpeg/info"
        self.send_response((206 if self.ranges else 200) if found else 404)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"{")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    Web.ranges, Web.headers_sent = True, {"Access-Control-Allow-Origin": "*"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_needs_ranges_and_cors(web: str) -> None:
    assert doctor(f"{web}/em").exit_code == 0
    Web.ranges = False
    assert "gives no ranges of a file" in wrong(doctor(f"{web}/em"))[0]
    Web.ranges, Web.headers_sent = True, {}
    assert "lets no pages of other origins read (CORS)" in wrong(doctor(f"{web}/em/neuroglancer/jpeg"))[0]
    assert "shows no volume" in wrong(doctor(f"{web}/elsewhere"))[0]
    assert "cannot be reached" in wrong(doctor("http://127.0.0.1:1/em"))[0]


@pytest.mark.parametrize(
    "behave", [dribble(b"HTTP/1.1 200 OK\r\nX: "), dribble(), say(b""), say(b"\xff\xfe\r\n")]
)
def test_a_web_server_that_never_ends_is_told(behave: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.doctor.buckets._DEADLINE_S", 0.4)
    with hostile(behave) as server:
        assert f"http://{server}/em cannot be reached" in wrong(doctor(f"http://{server}/em"))[0]


@pytest.mark.parametrize("address", ["http://[/em", "http://a..b/em", "http:///em", f"http://{'x' * 300}/em"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    assert "cannot be reached" in wrong(doctor(address))[0]


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (answer(b"<html>Log in"), "is no Kubeflow Pipelines 2: it answered '<html>Log in'"),
        (answer(b""), "is no Kubeflow Pipelines 2: it answered an empty answer"),
        (answer(b"[]"), "is no Kubeflow Pipelines 2: it answered a list in JSON"),
        (dribble(HEAD), "no Kubeflow Pipelines answers at"),
        (flood(), "more than 67,108,864 bytes"),
        (say(b"\xff"), "no Kubeflow Pipelines answers at"),
    ],
)
def test_what_is_no_kubeflow_is_told(behave: Behaviour, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.doctor.cluster._DEADLINE_S", 10 if "67" in said else 0.4)
    with hostile(behave) as server:
        assert said in wrong(doctor("--target", "kfp", "--host", server))[0]


def test_kubectl_that_leaves_a_program_behind_is_not_waited_for(
    program: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commands.doctor.kubectl._DEADLINE_S", 0.5)
    program("kubectl", "sleep 15 & sleep 15")
    started = time.monotonic()
    assert "kubectl has no current context" in wrong(doctor("--target", "argo"))[0]
    assert time.monotonic() - started < 10


VERSIONS: dict[str, Any] = {
    "clientVersion": {"gitVersion": "v1.31.0"},
    "serverVersion": {"gitVersion": "v1.30.5-gke.1"},
}
KUBECTL = """
case "$*" in
  *current-context*) {context};;
  *"config view"*) echo em;;
  *version*) echo '{versions}';;
  *api-resources*) {kinds};;
  *deployments*) {controller};;
  *"get namespace"*) {place};;
  *configmap*) {config};;
  *persistenceagent*) {agent};;
  *" pvc "*) {claim};;
  *"get secret s3 --namespace {home} --output go-template="*) {secret};;
  *workflowtemplate*) {template};;
  *can-i*) {may};;
esac
"""


def deployment(image: str = "workflow-controller:v4.1.2", n_pods: int = 1, n_wanted: int = 1) -> str:
    """A list of the one controller, as kubectl prints it; Kubernetes leaves a count of none out."""
    pod = {"containers": [{"image": f"quay.io/argoproj/{image}"}]}
    listed = {
        "items": [
            {
                "metadata": {"name": "workflow-controller", "namespace": "argo"},
                "spec": {"replicas": n_wanted, "template": {"spec": pod}},
                "status": {"availableReplicas": n_pods} if n_pods else {},
            }
        ]
    }
    return f"echo '{json.dumps(listed)}'"


def refuses(reason: str, text: str = "no") -> str:
    return f"echo 'Error from server ({reason}): {text}' >&2; exit 1"


def template_of(**spec: object) -> str:
    """Prints a WorkflowTemplate of this version."""
    known = {"parameters": [{"name": key} for key in (*RunConfig.model_fields, STUB)]}
    return f"echo '{json.dumps({'spec': {'arguments': known, **spec}})}'"


OLD_TEMPLATE = template_of(arguments={"parameters": [{"name": "source"}]})


def kubectl(**changes: str) -> str:
    good = {"context": "echo gke_em", "versions": json.dumps(VERSIONS), "controller": deployment()}
    good |= {"kinds": "echo workflows.argoproj.io; echo workflowtemplates.argoproj.io", "place": "true"}
    good |= {"template": template_of(), "may": "echo yes", "config": "echo '{}'", "claim": "echo '{}'"}
    good |= {"agent": "echo '{}'", "home": "em", "secret": "echo access-key secret-key"}
    return KUBECTL.format(**good | changes)


def test_a_good_cluster(program: Callable[[str, str], None]) -> None:
    program("kubectl", kubectl())
    result = doctor("--target", "argo", "--namespace", "fibstack")
    assert result.exit_code == 0, result.output
    assert "kubectl v1.31.0, cluster gke_em: Kubernetes v1.30.5-gke.1" in result.output
    assert "Argo Workflows 4.1, and its controller works" in result.output
    assert "you may create workflows there" in result.output


@pytest.mark.parametrize(
    ("changes", "sentence", "remedy"),
    [
        (
            {"context": "exit 1"},
            "kubectl has no current context",
            "gcloud container clusters get-credentials",
        ),
        (
            {"versions": "{}"},
            "the cluster of kubectl's context gke_em does not answer",
            "kubectl cluster-info",
        ),
        ({"versions": "<html>"}, "does not answer", "kubectl cluster-info"),
        ({"versions": '{"serverVersion": []}'}, "does not answer", "kubectl cluster-info"),
        ({"versions": "[1]"}, "does not answer", "kubectl cluster-info"),
        ({"kinds": "true"}, "the cluster has no Argo Workflows", "kubectl create namespace argo"),
        (
            {"kinds": "echo Unable to connect >&2; exit 1"},
            "the cluster does not tell whether it has Argo Workflows",
            "kubectl api-resources --api-group argoproj.io --output name",
        ),
        (
            {"controller": deployment("workflow-controller:v3.5.10")},
            "Argo Workflows 3.5 is too old; 3.6 is needed",
            "install.yaml",
        ),
        (
            {"controller": deployment(n_pods=0, n_wanted=0)},
            "so nobody takes up a run: argo/workflow-controller has 0 of 0 pods",
            "kubectl scale deployment workflow-controller --namespace argo --replicas 1",
        ),
        (
            {"controller": deployment(n_pods=0)},
            "argo/workflow-controller has 0 of 1 pods",
            "kubectl describe deployment workflow-controller --namespace argo",
        ),
        (
            {"place": refuses("NotFound", 'namespaces "em" not found')},
            "there is no namespace em in the cluster",
            "kubectl create namespace em",
        ),
        ({"may": "echo no; exit 1"}, "you may not create workflows there", "kubectl auth can-i --list"),
    ],
    ids=str,
)
def test_a_bad_cluster(
    changes: dict[str, str], sentence: str, remedy: str, program: Callable[[str, str], None]
) -> None:
    program("kubectl", kubectl(**changes))
    result = doctor("--target", "argo")
    assert result.exit_code == 65
    assert len(wrong(result)) == 1, result.output
    assert sentence in wrong(result)[0]
    assert remedy in mended_by(result)[0]


@pytest.mark.parametrize("changes", [{"kinds": "true"}, {"place": refuses("NotFound")}], ids=str)
def test_no_right_is_told_where_there_is_nothing_to_have_it_on(
    changes: dict[str, str], program: Callable[[str, str], None]
) -> None:
    program("kubectl", kubectl(**changes))
    result = doctor("--target", "argo")
    assert "you may create workflows" not in result.output
    assert "WorkflowTemplate" not in result.output


ON_PREMISES = json.dumps(VERSIONS | {"serverVersion": {"gitVersion": "v1.34.4"}})


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (refuses("NotFound"), "there is no WorkflowTemplate align-stack in"),
        (OLD_TEMPLATE, "of another version"),
        ("true", "of another version"),
    ],
)
@pytest.mark.parametrize(
    ("namespace", "versions", "remedy"),
    [
        ("fibstack", json.dumps(VERSIONS), "kubectl apply -k manifests/gke/spot"),
        ("fibstack", ON_PREMISES, "kubectl apply -k manifests/gke/local-volume"),
        ("lab", ON_PREMISES, "kubectl apply --namespace lab -k manifests/argo"),
    ],
)
def test_a_cluster_without_the_pipeline_of_this_version_is_only_noted(
    template: str,
    sentence: str,
    namespace: str,
    versions: str,
    remedy: str,
    program: Callable[[str, str], None],
) -> None:
    program("kubectl", kubectl(template=template, versions=versions))
    result = doctor("--target", "argo", "--namespace", namespace)
    assert result.exit_code == 0
    assert sentence in result.output
    assert "with --settings, 'fibstack submit' brings its own" in result.output
    assert remedy in mended_by(result)


def test_what_one_may_not_see_is_not_said_to_be_missing(program: Callable[[str, str], None]) -> None:
    forbidden = refuses("Forbidden")
    program("kubectl", kubectl(template=forbidden, place=forbidden, controller=forbidden))
    result = doctor("--target", "argo")
    assert result.exit_code == 0, result.output
    assert "you may not see whether the WorkflowTemplate align-stack is in em" in result.output
    assert "you may not see its controller" in result.output


def test_a_controller_of_another_name_is_not_said_to_be_hidden(program: Callable[[str, str], None]) -> None:
    program("kubectl", kubectl(controller="echo '{\"items\": []}'"))
    result = doctor("--target", "argo")
    assert result.exit_code == 0, result.output
    assert "no deployment workflow-controller tells whether its controller works" in result.output


def template_with_volume() -> str:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "fibstack-data"}}
    container = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return template_of(volumes=[volume], templates=[{"name": "plan", "container": container}])


@pytest.mark.parametrize(
    ("template", "source", "code", "sentence"),
    [
        (
            template_with_volume(),
            "/data/raw",
            0,
            "/data/volume: on the volume that every pod has at /data; not looked at",
        ),
        (
            template_with_volume(),
            "/srv/raw",
            65,
            "'source' must be in a bucket, since a cluster does not see",
        ),
        (template_of(), "/data/raw", 65, "'source' must be in a bucket"),
        (refuses("NotFound"), "/data/raw", 0, "on a volume of the cluster: no template of this version says"),
        (OLD_TEMPLATE, "/data/raw", 0, "on a volume of the cluster: no template of this version says which"),
    ],
)
def test_folders_of_a_run_on_a_cluster_are_not_looked_for_here(
    template: str, source: str, code: int, sentence: str, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    program("kubectl", kubectl(template=template))
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source=source, output="/data/volume"))
    result = doctor(config, "--target", "argo")
    assert result.exit_code == code, result.output
    assert sentence in result.output
    for judged in ("there is no folder", "you may write to", "GiB free"):
        assert judged not in result.output


@pytest.mark.parametrize("target", ["argo", "kfp"])
def test_folders_on_the_volume_of_the_settings(
    target: str, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    program("kubectl", kubectl(template="echo '{\"spec\": {}}'"))
    config, settings = tmp_path / "run.yaml", tmp_path / "settings.toml"
    settings.write_text('volume = { claim = "em", path = "/data" }')
    sentences = {"/data/raw": "that every pod has at /data", "/srv/raw": "must be in a bucket"}
    for source, sentence in sentences.items():
        config.write_text(CONFIG.format(source=source, output="/data/volume"))
        result = doctor(config, "--target", target, "--host", "http://127.0.0.1:1", "--settings", settings)
        assert sentence in result.output, result.output


def test_a_volume_that_the_settings_do_not_name_or_the_target_does_not_know(
    program: Callable[[str, str], None], tmp_path: Path
) -> None:
    program("kubectl", kubectl(template=template_with_volume()))
    config, settings = tmp_path / "run.yaml", tmp_path / "settings.toml"
    config.write_text(CONFIG.format(source="/data/raw", output="/data/volume"))
    settings.write_text('tag = "1"')
    assert "must be in a bucket" in doctor(config, "--target", "argo", "--settings", settings).output
    settings.write_text('volume = { claim = "em", path = "/data" }')
    assert "must be in a bucket" in doctor(config, "--target", "vertex", "--settings", settings).output
    assert "must be in a bucket" in doctor(config, "--target", "kfp", "--host", "http://127.0.0.1:1").output


@pytest.mark.parametrize(
    ("claim", "code", "line"),
    [
        (
            """echo '{"status": {"phase": "Bound"}}'""",
            0,
            "ok     the PersistentVolumeClaim fibstack-data has a",
        ),
        (
            """echo '{"status": {"phase": "Pending"}}'""",
            0,
            "note   the PersistentVolumeClaim fibstack-data has no",
        ),
        (refuses("NotFound"), 65, "WRONG  there is no PersistentVolumeClaim fibstack-data in em"),
        (refuses("Forbidden"), 0, "Nothing is wrong."),
    ],
)
def test_the_claim_of_a_volume(
    claim: str, code: int, line: str, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    program("kubectl", kubectl(template=template_with_volume(), claim=claim))
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source="/data/raw", output="/data/volume"))
    result = doctor(config, "--target", "argo")
    assert result.exit_code == code, result.output
    assert line in result.output


@pytest.mark.parametrize("target", ["argo", "kfp"])
@pytest.mark.parametrize(
    ("secret", "code", "line"),
    [
        ("echo secret-key access-key more", 0, "ok     the Secret s3 has what the pods take from it"),
        ("echo secret-key", 65, "WRONG  the Secret s3 has no access-key, so no pod can start"),
        (refuses("NotFound"), 65, "WRONG  there is no Secret s3 in "),
        (refuses("Forbidden"), 0, "Nothing is wrong."),
    ],
)
def test_the_secrets_of_the_settings(
    target: str,
    secret: str,
    code: int,
    line: str,
    cloud: Loopback,
    program: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    cloud.on("GET", "/apis/v2beta1/healthz", {})
    program("kubectl", kubectl(secret=secret, home={"argo": "em", "kfp": "kubeflow"}[target]))
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[secrets.s3]\nAWS_ACCESS_KEY_ID = "access-key"\nAWS_SECRET_ACCESS_KEY = "secret-key"\n'
    )
    host = ["--host", cloud.url] if target == "kfp" else []
    result = doctor("--target", target, "--settings", settings, *host)
    assert result.exit_code == code, result.output
    assert line in result.output


@pytest.mark.parametrize("what", ["controller", "template", "claim"])
@pytest.mark.parametrize(
    "text",
    [
        *("[]", "null", '{"items": [{}]}', '{"items": "x"}', '{"spec": {"volumes": null}}', '{"status": 3}'),
        *('{"spec": 3}', '{"items": [{"metadata": {"name": "workflow-controller"}, "spec": null}]}'),
    ],
)
def test_an_odd_answer_of_a_cluster_ends_in_no_exception(
    what: str, text: str, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    program("kubectl", kubectl(**{"template": template_with_volume(), what: f"echo '{text}'"}))
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source="/data/raw", output="/data/volume"))
    result = doctor(config, "--target", "argo")
    assert result.exit_code == (65 if "WRONG" in result.output else 0)
    assert result.output.endswith(" wrong.\n" if result.exit_code else "Nothing is wrong.\n")


@pytest.mark.parametrize(
    ("config_map", "is_looked_for"), [("echo '{}'", True), (refuses("NotFound"), False)], ids=str
)
def test_the_claim_of_a_kubeflow_that_kubectl_does_not_show_is_not_looked_for(
    config_map: str, is_looked_for: bool, cloud: Loopback, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    cloud.on("GET", "/apis/v2beta1/healthz", {})
    program("kubectl", kubectl(config=config_map, claim=refuses("NotFound")))
    config, settings = tmp_path / "run.yaml", tmp_path / "settings.toml"
    config.write_text(CONFIG.format(source="/data/raw", output="/data/volume"))
    settings.write_text('volume = { claim = "em", path = "/data" }')
    result = doctor(config, "--target", "kfp", "--host", cloud.url, "--settings", settings)
    assert result.exit_code == (65 if is_looked_for else 0), result.output
    assert ("there is no PersistentVolumeClaim em in kubeflow" in result.output) == is_looked_for


def test_without_kubectl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wrong(doctor("--target", "argo")) == ["kubectl is not on the PATH"]


def test_kubeflow(cloud: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no kubectl
    cloud.on("GET", "/apis/v2beta1/healthz", {"multi_user": False})
    host = cloud.url.removeprefix("http://")
    assert doctor("--target", "kfp", "--host", host).exit_code == 0
    cloud.on("GET", "/apis/v2beta1/healthz", Answer("no", 404))
    result = doctor("--target", "kfp", "--host", host)
    assert "is no Kubeflow Pipelines 2 that lets you in (HTTP 404)" in wrong(result)[0]
    result = doctor("--target", "kfp", "--host", "http://127.0.0.1:1")
    assert "no Kubeflow Pipelines answers at http://127.0.0.1:1" in wrong(result)[0]
    assert mended_by(result) == ["kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"]


@pytest.mark.parametrize(
    "host", ["kfp.example.org", "https://kfp.example.org/", "https://kfp.example.org/#/runs/details/4"]
)
def test_kubeflow_is_asked_where_submit_asks_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(_: str, address: str, **__: Any) -> None:
        asked.append(address)
        raise OSError

    monkeypatch.setattr("commands.doctor.cluster.ask", refuse)
    doctor("--target", "kfp", "--host", host)
    assert asked == ["https://kfp.example.org/apis/v2beta1/healthz"]


FAILED, LOST = "but no program that failed", "but no pod that was lost"
GROUPS = "one failure is tried dozens of times"
DEFAULTS = "spec:\n  templateDefaults:\n    retryStrategy:\n      limit: 2\n      retryPolicy: OnError\n"
EXPRESSION = "      expression: \"lastRetry.message != ''\"\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"workflowDefaults": DEFAULTS}, FAILED),
        ({"config": "workflowDefaults:\n  " + DEFAULTS.replace("\n", "\n  ")}, FAILED),
        ({"workflowDefaults": DEFAULTS.replace("OnError", "Always")}, GROUPS),
        ({"workflowDefaults": DEFAULTS.replace("OnError", "Always") + EXPRESSION}, ""),
        ({"workflowDefaults": DEFAULTS.replace("OnError", "OnFailure")}, LOST),
        ({"executor": "imagePullPolicy: IfNotPresent"}, LOST),
        ({"workflowDefaults": "- {"}, LOST),
    ],
)
def test_what_a_kubeflow_does_not_try_again(
    data: dict[str, str], says: str, cloud: Loopback, program: Callable[[str, str], None], tmp_path: Path
) -> None:
    cloud.on("GET", "/apis/v2beta1/healthz", {})
    (tmp_path / "config").write_text(json.dumps({"data": data}))
    program("kubectl", kubectl(config=f"cat {tmp_path}/config"))
    result = doctor("--target", "kfp", "--host", cloud.url)
    assert result.exit_code == 0, result.output
    assert says in result.output
    assert ("should be Always with the expression lastRetry.message != ''" in result.output) == bool(says)
    edit = "kubectl edit configmap workflow-controller-configmap --namespace kubeflow"
    assert mended_by(result) == ([edit] if says else [])


def test_a_kubeflow_whose_controller_is_down_or_not_seen(
    cloud: Loopback, program: Callable[[str, str], None]
) -> None:
    cloud.on("GET", "/apis/v2beta1/healthz", {})
    program("kubectl", kubectl(controller=deployment(n_pods=0)))
    assert "nobody takes up a run" in wrong(doctor("--target", "kfp", "--host", cloud.url))[0]
    program("kubectl", kubectl(config=refuses("NotFound")))
    result = doctor("--target", "kfp", "--host", cloud.url)
    assert result.exit_code == 0
    assert "kubectl's context does not show the controller of this Kubeflow" in result.output


def test_a_kubeflow_whose_server_hears_nothing_of_runs(
    cloud: Loopback, program: Callable[[str, str], None]
) -> None:
    cloud.on("GET", "/apis/v2beta1/healthz", {})
    name = '"metadata": {"name": "ml-pipeline-persistenceagent"}'
    program("kubectl", kubectl(agent=f"echo '{{{name}, \"status\": {{}}}}'"))
    result = doctor("--target", "kfp", "--host", cloud.url)
    assert "Kubeflow's persistence agent does not work" in wrong(result)[0]
    program("kubectl", kubectl(agent=f'echo \'{{{name}, "status": {{"availableReplicas": 1}}}}\''))
    assert "persistence agent" not in doctor("--target", "kfp", "--host", cloud.url).output
