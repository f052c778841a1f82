"""Pods that are lost in the middle of a run, and a controller that is: the same bytes in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.settings import quantity
from tests.cluster.cluster import OVERLAY, Cluster, Object, counted, main_of, volume

pytestmark = pytest.mark.timeout(1800)

STEPS = ("align", "tile", "pyramid")
"""The steps with many pods."""
ON_THE_VOLUME = "".join(
    line
    for line in (OVERLAY / "settings.toml").read_text().splitlines(keepends=True)
    if not line.startswith(STEPS)
)
"""The settings of the overlay, without the machines of those steps."""
SLOW = """
align = { cpu = "200m", cpu_limit = "1", memory = "500M", backoff_s = 1 }
tile = { cpu = "200m", cpu_limit = "300m", memory = "500M", backoff_s = 1 }
pyramid = { cpu = "100m", cpu_limit = "100m", memory = "500M", backoff_s = 1 }
"""
"""Machines on which the programs of the sample take seconds, so that they are met while they run."""
SMALL = """
align = { cpu = "200m", cpu_limit = "1", memory = "96M", backoff_s = 1, retries = 5 }
tile = { cpu = "200m", cpu_limit = "1", memory = "48M", backoff_s = 1, retries = 5 }
pyramid = { cpu = "200m", cpu_limit = "1", memory = "48M", backoff_s = 1, retries = 5 }
"""
"""Machines with less memory than the programs take, and with enough when it is four times as much."""
KILL_THE_PROGRAM = """
import os
for number in filter(str.isdigit, os.listdir("/proc")):
    if b"components." in open(f"/proc/{number}/cmdline", "rb").read() and int(number) != os.getpid():
        os.kill(int(number), 9)
        print("killed", number)
"""
"""Ends the step's program as the kernel does that runs out of memory."""


@pytest.mark.parametrize("how", [pytest.param("deleted", marks=pytest.mark.quick), "killed"])
def test_a_lost_pod_is_tried_again(
    cluster: Cluster, local_volume: dict[str, str], tmp_path: Path, how: str
) -> None:
    output = f"/data/{how}"
    run = cluster.submit(tmp_path, ON_THE_VOLUME + SLOW, output=output)
    lost = {
        step: cluster.until(lambda step=step: _lose(cluster, run, step, how), f"a pod of {step} is met")
        for step in STEPS
    }
    cluster.succeeds(run)
    for step, uid in lost.items():
        asked = [main_of(pod["spec"]["containers"])["resources"] for pod in cluster.pods(run, step)]
        assert {one["limits"]["memory"] for one in asked} == {"500M"}
        least = min((one["requests"]["memory"] for one in asked), key=quantity)
        assert quantity(least) < quantity("500M"), f"pods of {step} ask for what the settings say at once"
        # Argo counts no try for a pod that is deleted before it has seen that it runs.
        ended_well = cluster.pods_in(run, step, "Succeeded")
        units = [n for n in cluster.nodes(run) if n["type"] == "Retry" and n["templateName"] == step]
        assert len(ended_well) == len(units), f"units of {step} were done by pods that are gone"
        assert uid not in [pod["metadata"]["uid"] for pod in ended_well], f"the pod of {step} was not lost"
    assert volume(cluster.fetch(output, tmp_path / "volume")) == local_volume


def _lose(cluster: Cluster, run: str, step: str, how: str) -> str:
    """Lose a pod of a step while its program runs; returns its UID, or nothing where none was met."""
    assert not cluster.has_ended(run), f"{run} has ended before a program of {step} was met"
    for pod in cluster.pods_in(run, step, "Running"):
        name, uid = str(pod["metadata"]["name"]), str(pod["metadata"]["uid"])
        if how == "deleted":
            cluster.kubectl("delete", "pod", name, "--grace-period", "0", "--force")
            return uid
        said = cluster.tried("exec", name, "-c", "main", "--", "python", "-c", KILL_THE_PROGRAM)
        if "killed" in said.stdout:
            return uid
    return ""


def test_a_program_that_runs_out_of_memory_gets_more(
    cluster: Cluster, local_volume: dict[str, str], tmp_path: Path, figure: Callable[..., None]
) -> None:
    """The kernel ends it in the pod's own limits, as it would a program of slices too large for them."""
    run = cluster.submit(tmp_path, ON_THE_VOLUME + SMALL, output="/data/memory")
    cluster.succeeds(run, within_s=1200)
    for step in STEPS:
        pods = cluster.pods(run, step)
        killed = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
        assert {
            main_of(pod["status"]["containerStatuses"])["state"]["terminated"]["reason"] for pod in killed
        } == {"OOMKilled"}
        assert all("OOMKilled" in message for message in cluster.lost_tries(run, step))
        limits = {main_of(pod["spec"]["containers"])["resources"]["limits"]["memory"] for pod in pods}
        figure(f"memory of {step} until it was enough", ", ".join(sorted(limits, key=quantity)))
        assert len(limits) > 1
    assert volume(cluster.fetch("/data/memory", tmp_path / "volume")) == local_volume


def test_a_run_goes_on_under_another_controller(
    cluster: Cluster, local_volume: dict[str, str], tmp_path: Path
) -> None:
    run = cluster.submit(tmp_path, output="/data/other-controller")
    cluster.until(lambda: cluster.pods_in(run, "align", "Running"), "a pod of align runs")
    try:
        cluster.run_controllers(0)
        assert not cluster.has_ended(run)
    finally:
        cluster.run_controllers(1)
    cluster.succeeds(run)
    assert cluster.lost_tries(run, "align") == []
    assert volume(cluster.fetch("/data/other-controller", tmp_path / "volume")) == local_volume


def test_a_stopped_run_goes_on_where_it_was(
    cluster: Cluster, local_volume: dict[str, str], tmp_path: Path
) -> None:
    run = cluster.submit(tmp_path, output="/data/stopped")
    cluster.until(lambda: cluster.pods_in(run, "align", "Succeeded"), "a pod of align has ended")
    cluster.shut_down(run, "Stop")
    assert cluster.phase_at_end(run) == "Failed"
    time.sleep(2)
    assert not any(count["running"] for count in counted(cluster.fibstack("status", run).stdout).values())
    again = cluster.submit(tmp_path, output="/data/stopped")
    cluster.succeeds(again)
    done = {json.dumps(node.get("inputs")) for node in cluster.nodes(run) if _is_done(node)}
    redone = {json.dumps(node.get("inputs")) for node in cluster.nodes(again) if _is_done(node)}
    assert done, "no unit of align was done before the run was stopped"
    assert not done & redone
    assert volume(cluster.fetch("/data/stopped", tmp_path / "volume")) == local_volume


def _is_done(node: Object) -> bool:
    return bool(node["type"] == "Pod" and node["templateName"] == "align" and node["phase"] == "Succeeded")
