"""What `doctor`, `status` and `logs` say before a run, while it waits, while it runs and after it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import NAMESPACE, OVERLAY, Cluster, Object, counted

pytestmark = pytest.mark.timeout(1200)

CONFIG = "source: /data/sample\nimage: img.%05d.png\nminz: 0\nmaxz: 11\noutput: /data/other\n"
NODE_LABEL = "fibstack-test"
SETTINGS = (OVERLAY / "settings.toml").read_text()
WAITS_FOR_A_NODE = SETTINGS.replace("plan = {", f'plan = {{ node_selector = {{ {NODE_LABEL} = "here" }},')


def doctor(cluster: Cluster, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "asked.yaml").write_text(CONFIG)
    words = (str(folder / "asked.yaml"), "--target", "argo", "--namespace", NAMESPACE)
    return cluster.fibstack("doctor", *words)


def test_before_a_run(cluster: Cluster, tmp_path: Path) -> None:
    shown = doctor(cluster, tmp_path)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "and its controller works" in shown.stdout
    assert "the WorkflowTemplate align-stack is there" in shown.stdout
    assert "the PersistentVolumeClaim fibstack-data has a volume" in shown.stdout
    for command in ("status", "logs"):
        refused = cluster.fibstack(command, f"argo://{NAMESPACE}/align-stack-none")
        assert refused.returncode == 65, refused.stdout + refused.stderr
        assert "cannot find the workflow 'align-stack-none'" in refused.stderr


def test_while_it_waits_for_a_machine_and_runs_and_has_ended(
    cluster: Cluster, labelled: list[str], tmp_path: Path
) -> None:
    run = cluster.submit(tmp_path, WAITS_FOR_A_NODE, output="/data/stages")
    shown = cluster.until(
        lambda: said(cluster.fibstack("status", run).stdout, "Unschedulable"), "status says why it waits"
    )
    assert "plan: 1 waiting, Unschedulable" in shown
    assert counted(shown)["plan"] == {"done": 0, "running": 0, "failed": 0, "waiting": 1}
    logs = cluster.fibstack("logs", run)
    assert logs.returncode == 0, logs.stderr
    assert "no log: " in logs.stdout
    assert doctor(cluster, tmp_path).returncode == 0

    cluster.kubectl("label", "nodes", "--all", f"{NODE_LABEL}=here")
    labelled.append(NODE_LABEL)
    seen: list[tuple[str, str]] = []
    while not cluster.has_ended(run):
        status, logs = cluster.fibstack("status", run), cluster.fibstack("logs", run, "align")
        assert (status.returncode, logs.returncode) == (0, 0), status.stderr + logs.stderr
        seen.append((status.stdout, logs.stdout))
    running = [shown for shown, _ in seen if counted(shown).get("align", {}).get("running")]
    assert running, "status has never shown that align runs"
    assert all("Running" in shown for shown in running)
    assert any("slice" in log for _, log in seen), "logs have told nothing of a run that was going on"
    assert doctor(cluster, tmp_path).returncode == 0

    cluster.succeeds(run)
    ended = cluster.fibstack("status", run).stdout
    assert "Succeeded" in ended
    assert not any(count["running"] or count["waiting"] for count in counted(ended).values()), ended


@pytest.fixture
def labelled(cluster: Cluster) -> Iterator[list[str]]:
    """Labels that a test gives to the nodes; they are taken away."""
    labels: list[str] = []
    yield labels
    for label in labels:
        cluster.kubectl("label", "nodes", "--all", f"{label}-")


def test_while_an_image_cannot_be_pulled(cluster: Cluster, tmp_path: Path) -> None:
    run = cluster.submit(tmp_path, f'tag = "none"\n{SETTINGS}', output="/data/no-image")
    shown = cluster.until(
        lambda: said(cluster.fibstack("status", run).stdout, "fibstack/plan:none"), "status names the image"
    )
    assert counted(shown)["plan"] == {"done": 0, "running": 0, "failed": 0, "waiting": 1}
    assert "plan: 1 waiting, " in shown
    logs = cluster.fibstack("logs", run)
    assert logs.returncode == 0, logs.stderr
    assert "no log: " in logs.stdout
    cluster.shut_down(run, "Terminate")
    assert cluster.phase_at_end(run) == "Failed"
    ended = cluster.fibstack("status", run).stdout
    assert not any(count["running"] or count["waiting"] for count in counted(ended).values()), ended


def test_while_the_quota_is_used_up(cluster: Cluster, tmp_path: Path) -> None:
    try:
        cluster.kubectl("patch", "resourcequota", "fibstack", "--type", "merge", "-p", quota("1"))
        run = cluster.submit(tmp_path, output="/data/quota")
        shown = cluster.until(
            lambda: said(cluster.fibstack("status", run).stdout, "quota"), "status names the quota"
        )
        assert counted(shown)["plan"] == {"done": 0, "running": 0, "failed": 0, "waiting": 1}
    finally:
        cluster.kubectl("apply", "-k", str(OVERLAY))
    cluster.until(lambda: cluster.pods(run, "plan"), "the pod is made when the quota allows it")
    cluster.shut_down(run, "Terminate")


def quota(pods: str) -> str:
    return json.dumps({"spec": {"hard": {"pods": pods}}})


def test_while_no_controller_works(cluster: Cluster, tmp_path: Path) -> None:
    try:
        cluster.run_controllers(0)
        run, submitted = cluster.submitted(tmp_path, output="/data/no-controller")
        assert "Note:   nobody has taken it up" in submitted.stdout
        assert "Pending" in cluster.fibstack("status", run).stdout
        told = doctor(cluster, tmp_path)
        assert told.returncode == 65, told.stdout
        assert "no controller of Argo Workflows works, so nobody takes up a run" in told.stdout
        assert "kubectl scale deployment workflow-controller" in told.stdout
        logs = cluster.fibstack("logs", run)
        assert logs.returncode == 0, logs.stderr
        assert "No task has begun" in logs.stderr
        units = cluster.fibstack("status", run, "--units")
        assert units.returncode == 65, units.stdout + units.stderr
        assert "no controller has taken it up" in units.stderr
        cluster.until(
            lambda: said(cluster.fibstack("status", run).stdout, "nobody has taken it up"),
            "status says that nobody takes it up",
        )
    finally:
        cluster.run_controllers(1)
    cluster.until(lambda: cluster.pods(run, "plan"), "the run is taken up when a controller works")
    cluster.shut_down(run, "Terminate")
    assert cluster.phase_at_end(run) == "Failed"


def said(shown: str, words: str) -> str:
    """An answer if it has these words, else nothing."""
    return shown if words in shown else ""


def test_after_a_failure(cluster: Cluster, tmp_path: Path) -> None:
    run = cluster.submit(tmp_path, output="/data/failed", maxz=99)
    assert cluster.phase_at_end(run) == "Failed"
    status = cluster.fibstack("status", run)
    assert status.returncode == 0, status.stderr
    counts = counted(status.stdout)
    assert counts["plan"] == {"done": 0, "running": 0, "failed": 1, "waiting": 0}
    assert not any(count["running"] or count["waiting"] for count in counts.values())
    assert "plan failed: " in status.stdout
    assert "Error (exit code" not in status.stdout
    logs = cluster.fibstack("logs", run)
    assert logs.returncode == 0, logs.stderr
    assert "error: " in logs.stdout
    assert doctor(cluster, tmp_path).returncode == 0
    _say_the_same(cluster, run, status.stdout)


def _say_the_same(cluster: Cluster, run: str, status: str) -> None:
    """Kubernetes' own commands show the sentence that `status` shows."""
    (line,) = [line for line in status.splitlines() if line.startswith("plan failed: ")]
    sentence = line.removeprefix("plan failed: ")
    (pod,) = cluster.pods(run, "plan")
    main: Object = next(c for c in pod["status"]["containerStatuses"] if c["name"] == "main")
    assert sentence in main["state"]["terminated"]["message"]
    assert sentence in cluster.kubectl("describe", "pod", pod["metadata"]["name"])
