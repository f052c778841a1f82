"""Runs of the sample on a real Argo: the volume of a local run, and a sentence where something is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster, volume


@pytest.fixture(scope="module")
def finished_run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a run that has written the sample's volume to /data/volume."""
    run = cluster.submit(tmp_path_factory.mktemp("submitted"), output="/data/volume")
    assert cluster.phase_at_end(run) == "Succeeded", cluster.workflow(run)["status"].get("message")
    return run


def test_the_volume_is_that_of_a_local_run(
    cluster: Cluster, finished_run: str, local_volume: dict[str, str], tmp_path: Path
) -> None:
    assert finished_run
    assert volume(cluster.fetch("/data/volume", tmp_path / "volume")) == local_volume


def test_status_counts_steps_and_units(cluster: Cluster, finished_run: str) -> None:
    shown = cluster.fibstack("status", finished_run)
    assert shown.returncode == 0, shown.stderr
    assert "Succeeded" in shown.stdout
    counted = cluster.fibstack("status", finished_run, "--units")
    assert counted.returncode == 0, counted.stderr
    assert counted.stdout.count("100%") >= 4, counted.stdout


def test_logs_are_those_of_the_programs(cluster: Cluster, finished_run: str) -> None:
    shown = cluster.fibstack("logs", finished_run, "align")
    assert shown.returncode == 0, shown.stderr
    assert "slice" in shown.stdout
    assert "argo=true" not in shown.stdout


def test_doctor_has_nothing_against_it(cluster: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("source: /data/raw\nimage: img.%05d.png\nminz: 0\nmaxz: 11\noutput: /data/other\n")
    shown = cluster.fibstack("doctor", str(config), "--target", "argo", "--namespace", "fibstack")
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_a_refused_input_is_said_where_a_user_looks(cluster: Cluster, tmp_path: Path) -> None:
    run = cluster.submit(tmp_path, output="/data/wrong", image="slice.%05d.png")
    assert cluster.phase_at_end(run) == "Failed"
    nodes = cluster.workflow(run)["status"]["nodes"].values()
    sentence = "the source must hold slices 'slice.%05d.png'"
    assert any(sentence in node.get("message", "") for node in nodes), json.dumps(list(nodes), indent=1)
    assert sum(node["type"] == "Pod" and "-plan-" in node["id"] for node in nodes) <= 1
    assert sentence in cluster.fibstack("status", run).stdout


def test_a_folder_that_may_not_be_written_is_said(cluster: Cluster, tmp_path: Path) -> None:
    cluster.in_volume("sh", "-c", "mkdir -p /data/closed && chmod 555 /data/closed")
    run = cluster.submit(tmp_path, output="/data/closed/volume")
    assert cluster.phase_at_end(run) == "Failed"
    assert "/data/closed" in cluster.fibstack("status", run).stdout


@pytest.mark.parametrize("step", ["align", "tile", "pyramid"])
@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_a_lost_pod_is_tried_again(
    cluster: Cluster, local_volume: dict[str, str], tmp_path: Path, step: str, how: str
) -> None:
    for turn in range(5):  # a program of the sample may end before it is met
        output = f"/data/{step}-{how}-{turn}"
        run = cluster.submit(tmp_path, output=output)
        pod = cluster.until(lambda run=run: cluster.pods(run, step), f"a pod of {step} runs")[0]
        if how == "deleted":
            cluster.kubectl("delete", "pod", pod, "--grace-period", "0", "--force")
        else:
            cluster.tried("exec", pod, "-c", "main", "--", "python", "-c", KILL_THE_PROGRAM)
        assert cluster.phase_at_end(run) == "Succeeded", cluster.workflow(run)["status"].get("message")
        if cluster.lost_tries(run, step):
            assert volume(cluster.fetch(output, tmp_path / "volume")) == local_volume
            return
    pytest.fail(f"no program of {step} was met while it ran")


KILL_THE_PROGRAM = """
import os
for number in filter(str.isdigit, os.listdir("/proc")):
    if b"components." in open(f"/proc/{number}/cmdline", "rb").read() and int(number) != os.getpid():
        os.kill(int(number), 9)
"""
"""Ends the step's program as the kernel does that runs out of memory."""


def test_a_stopped_run_goes_on_where_it_was(
    cluster: Cluster, local_volume: dict[str, str], tmp_path: Path
) -> None:
    run = cluster.submit(tmp_path, output="/data/stopped")
    cluster.until(lambda: cluster.pods(run, "align", "Succeeded"), "a pod of align has ended")
    name = run.rpartition("/")[2]
    cluster.kubectl("patch", "workflow", name, "--type", "merge", "-p", '{"spec": {"shutdown": "Stop"}}')
    assert cluster.phase_at_end(run) == "Failed"
    time.sleep(2)
    assert "running" not in cluster.fibstack("status", run).stdout
    again = cluster.submit(tmp_path, output="/data/stopped")
    assert cluster.phase_at_end(again) == "Succeeded", cluster.workflow(again)["status"].get("message")
    assert volume(cluster.fetch("/data/stopped", tmp_path / "volume")) == local_volume
