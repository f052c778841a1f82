"""`fibstack submit --stub` on a cluster on loopback whose pods are the real programs, in this process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from components.shared.steps import STEPS
from components.shared.storage.registry import open_store
from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings
from tests.builders import cli
from tests.pipeline.submit.argo_server import ArgoServer
from tests.pipeline.submit.loopback import serve
from tests.pipeline.submit.test_submit_argo import UNSCHEDULABLE, write_context

NO_IMAGE = 'ImagePullBackOff: Back-off pulling image "fibstack/align:nope"'


@pytest.fixture(autouse=True)
def _pods_in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let programs run in threads, and a signal reach the command alone."""
    monkeypatch.setattr("components.shared.command._end_when_told", lambda: None)
    told = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(told)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.submit.stub.POLL_S", 0.01)
    monkeypatch.setattr("pipeline.submit.stub.STILL_S", 0.2)
    monkeypatch.setattr("pipeline.submit.stub.HOPELESS_S", 0.05)


@pytest.fixture
def argo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ArgoServer]:
    """A cluster whose pods see the folder of the test on a volume."""
    loopback, server = serve()
    write_context(monkeypatch, tmp_path, loopback.url)
    objects = list(yaml.safe_load_all(compile_argo(Settings())))
    spec = objects[-1]["spec"]
    spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "fibstack-data"}})
    for template in spec["templates"]:
        if "container" in template:
            template["container"]["volumeMounts"].append({"name": "data", "mountPath": str(tmp_path)})
    yield ArgoServer(loopback, objects, tmp_path / "pods")
    server.shutdown()
    server.server_close()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Slices, and an output in which a volume lies already."""
    for path in ("source/img.00003.png", "out/neuroglancer/jpeg/info", "out/process/plan.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"something")
    return tmp_path


def stub(source: object, output: object, *more: str) -> Result:
    words = ["--source", source, "--image", "img.%05d.png", "--minz", 3, "--maxz", 9, "--output", output]
    return cli("submit", "--target", "argo", "--stub", *words, *more)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def lines(result: Result) -> dict[str, str]:
    """What is said of each step."""
    found = (line.partition(" ") for line in result.stdout.splitlines())
    return {step: said.strip() for step, _, said in found if step in STEPS}


def test_every_step_goes_through_on_a_volume_and_nothing_of_it_stays(argo: ArgoServer, volume: Path) -> None:
    before = files(volume / "out")
    result = stub(volume / "source", volume / "out", "--set", "ome_zarr=true")
    assert (result.exit_code, lines(result)) == (0, dict.fromkeys(STEPS, "ok")), result.output
    assert len(argo.nodes) == sum(step.n_stub_tasks for step in STEPS.values())
    assert files(volume / "out") == before
    assert "stays" not in result.output
    assert "Every step went through" in result.output
    assert not argo.shutdowns


def test_every_step_goes_through_in_a_bucket_and_nothing_of_it_stays(argo: ArgoServer, bucket: str) -> None:
    root = open_store(f"gs://{bucket}")
    for key in ("raw/img.00003.png", "out/neuroglancer/jpeg/info", "out/process/plan.json"):
        root.write(key, b"something")
    before = list(root.list())
    result = stub(f"gs://{bucket}/raw", f"gs://{bucket}/out")
    assert (result.exit_code, lines(result)) == (0, dict.fromkeys(STEPS, "ok")), result.output
    assert list(root.list()) == before


def test_a_sentence_of_a_program_is_told_and_the_steps_after_it_are_not_reached(
    argo: ArgoServer, volume: Path
) -> None:
    (volume / "source/img.00003.png").unlink()
    before = files(volume / "out")
    result = stub(volume / "source", volume / "out")
    assert result.exit_code == 65
    assert lines(result) == {
        "plan": "failed: the source must hold slices 'img.%05d.png'; got no such file in "
        f"{volume / 'source'}. Change --source or --image.",
        **dict.fromkeys(("align", "compose", "tile", "pyramid"), "not reached"),
        "report": "ok",
    }
    assert files(volume / "out") == before


def test_a_folder_that_may_not_be_written(argo: ArgoServer, volume: Path) -> None:
    (volume / "out/chunk").write_bytes(b"no folder")
    result = stub(volume / "source", volume / "out")
    assert result.exit_code == 65
    assert "chunk" in lines(result)["pyramid"]
    assert lines(result)["tile"] == "ok"


@pytest.mark.parametrize(
    ("reason", "code", "remedy"),
    [
        (NO_IMAGE, 65, "Push the images of this version with 'make push'"),
        (UNSCHEDULABLE, 75, "lower 'cpu' and 'memory' of the step in the settings"),
    ],
)
def test_a_pod_that_never_starts_is_given_up_with_the_remedy(
    argo: ArgoServer, volume: Path, reason: str, code: int, remedy: str
) -> None:
    argo.before_pod = lambda step: reason if step == "align" else ""
    result = stub(volume / "source", volume / "out")
    assert result.exit_code == code, result.output
    said = lines(result)["align"]
    assert said.startswith(f"still waiting: {reason.rstrip('.')}. ")
    assert remedy in said
    assert lines(result)["plan"] == "ok"
    assert argo.shutdowns == ["Stop"]
    assert "fibstack logs" not in said


def test_what_stays_on_a_volume_is_named_with_the_command_that_removes_it(
    argo: ArgoServer, volume: Path
) -> None:
    argo.before_pod = lambda step: NO_IMAGE if step == "report" else ""
    result = stub(volume / "source", volume / "out")
    assert result.exit_code == 65
    left = [path for path in files(volume / "out") if "/stub." in path]
    command = "rm -r "
    named = {line.removeprefix(command) for line in result.stderr.splitlines() if line.startswith(command)}
    assert named >= {str(volume / "out" / Path(path).parts[0] / Path(path).parts[1]) for path in left}
    assert left


def test_what_may_not_be_removed_from_a_bucket_is_named(
    argo: ArgoServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.shared.errors import UserError
    from components.shared.storage.gcs import GcsStore

    def refuse(self: GcsStore, key: str) -> None:
        if "/" in key:  # from below the root of a part, as this machine does
            raise UserError("permission denied. Grant storage.objects.delete.")

    open_store(f"gs://{bucket}").write("raw/img.00003.png", b"something")
    monkeypatch.setattr(GcsStore, "delete", refuse)
    result = stub(f"gs://{bucket}/raw", f"gs://{bucket}/out")
    assert (result.exit_code, lines(result)) == (0, dict.fromkeys(STEPS, "ok")), result.output
    assert "What the stub has written stays: permission denied." in result.stderr
    assert f"gcloud storage rm --recursive gs://{bucket}/out/process/stub." in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_told_to_end_stops_the_run_and_cleans_up(
    argo: ArgoServer, volume: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("pipeline.submit.stub.STILL_S", 60)
    argo.before_pod = lambda step: UNSCHEDULABLE if step == "compose" else ""
    threading.Thread(target=_tell, args=(argo, number), daemon=True).start()
    result = stub(volume / "source", volume / "out")
    assert result.exit_code == 128 + number, result.output
    assert argo.shutdowns == ["Stop"]
    assert "Stopping argo://em/align-stack-x7" in result.stderr


def _tell(argo: ArgoServer, number: int) -> None:
    """Send a signal while a run goes on, and again where nothing follows: Python drops one in a finalizer."""
    while argo.phase != "Running":
        time.sleep(0.01)
    time.sleep(0.3)
    while argo.phase == "Running" and not argo.shutdowns:
        os.kill(os.getpid(), number)
        time.sleep(5)


def test_a_template_of_another_version_is_refused(argo: ArgoServer, volume: Path) -> None:
    parameters: list[dict[str, Any]] = argo.objects[-1]["spec"]["arguments"]["parameters"]
    parameters[:] = [parameter for parameter in parameters if parameter["name"] != "stub"]
    result = stub(volume / "source", volume / "out")
    assert result.exit_code == 65
    assert "it does not know stub. Install it anew" in result.output
    assert not argo.nodes
