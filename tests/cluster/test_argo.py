"""Runs of the sample on a real Argo: the volume of a local run, and a sentence where something is wrong."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from components.shared.steps import MEMORY_OUTPUTS, STEPS
from pipeline.settings import quantity, read_settings
from tests.cluster.cluster import NAMESPACE, OVERLAY, SAMPLE, Cluster, Object, main_of, volume

pytestmark = pytest.mark.timeout(1200)


def test_the_volume_is_that_of_a_local_run(
    cluster: Cluster, finished_run: str, local_volume: dict[str, str], tmp_path: Path
) -> None:
    assert finished_run
    assert volume(cluster.fetch("/data/finished", tmp_path / "volume")) == local_volume


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


@pytest.mark.quick
def test_a_refused_input_is_said_where_a_user_looks(cluster: Cluster, tmp_path: Path) -> None:
    run = cluster.submit(tmp_path, output="/data/wrong", image="slice.%05d.png")
    assert cluster.phase_at_end(run) == "Failed"
    nodes = cluster.nodes(run)
    sentence = "the source must hold slices 'slice.%05d.png'"
    assert any(sentence in node.get("message", "") for node in nodes), json.dumps(nodes, indent=1)
    assert len([n for n in nodes if n["type"] == "Pod" and n["templateName"] == "plan"]) == 1
    shown = cluster.fibstack("status", run).stdout
    assert "Failed" in shown
    assert sentence in shown
    assert sentence in cluster.fibstack("logs", run, "plan").stdout


def test_a_folder_that_may_not_be_written_is_said(cluster: Cluster, tmp_path: Path) -> None:
    cluster.in_volume("sh", "-c", "mkdir -p /data/closed && chmod 555 /data/closed")
    run = cluster.submit(tmp_path, output="/data/closed/volume")
    assert cluster.phase_at_end(run) == "Failed"
    assert "/data/closed" in cluster.fibstack("status", run).stdout


def test_pod_security_is_restricted(cluster: Cluster, finished_run: str) -> None:
    """The namespace refuses other pods, so those of a run that has ended well are such as it takes."""
    labels = json.loads(cluster.kubectl("get", "namespace", NAMESPACE, "-o", "json"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    refused = cluster.tried("run", "loose", "--image", "fibstack/plan:0.1.0", "--dry-run=server")
    assert 'violates PodSecurity "restricted' in refused.stderr
    users = {pod["spec"]["securityContext"]["runAsUser"] for pod in cluster.pods(finished_run)}
    assert users == {10001}


def test_pods_ask_for_the_memory_that_design_says(
    cluster: Cluster, finished_run: str, sample: Path, tmp_path: Path, figure: Callable[..., None]
) -> None:
    """Limits of the memory of pods are those of the settings, whatever `plan` has estimated."""
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({**SAMPLE, "source": str(sample), "output": str(tmp_path / "volume")}))
    words = (str(file), "--target", "argo", "--settings", str(OVERLAY / "settings.toml"), "--json")
    designed = cluster.fibstack("design", *words)
    assert designed.returncode == 0, designed.stderr
    said = {step["step"]: step["asked_memory"] for step in json.loads(designed.stdout)["steps"]}
    settings = read_settings(OVERLAY / "settings.toml")
    for step in STEPS:
        resources = [
            main_of(pod["spec"]["containers"])["resources"] for pod in cluster.pods(finished_run, step)
        ]
        assert {one["requests"]["memory"] for one in resources} == {said[step]}, step
        assert {one["limits"]["memory"] for one in resources} == {settings.step(step).most_memory}
        figure(f"pods of {step} ask for", f"{said[step]} of the settings' {settings.step(step).memory}")
    planned = set(MEMORY_OUTPUTS)
    assert all(quantity(said[step]) < quantity(settings.step(step).memory) for step in planned)


def test_a_pod_costs_seconds_beside_its_program(
    cluster: Cluster, finished_run: str, figure: Callable[..., None]
) -> None:
    """What Kubernetes and Argo add, of steps that have the node for themselves; times are whole seconds."""
    before, after = [], []
    for step in ("plan", "compose", "report"):
        (node,) = [n for n in cluster.nodes(finished_run) if n["type"] == "Pod" and n["templateName"] == step]
        (pod,) = cluster.pods(finished_run, step)
        ended = main_of(pod["status"]["containerStatuses"])["state"]["terminated"]
        before.append(_seconds(node["startedAt"], ended["startedAt"]))
        after.append(_seconds(ended["finishedAt"], node["finishedAt"]))
    versions = json.loads(cluster.kubectl("version", "-o", "json"))
    image = cluster.controller()["spec"]["template"]["spec"]["containers"][0]["image"]
    figure("Kubernetes", versions["serverVersion"]["gitVersion"])
    figure("Argo Workflows", image.rpartition(":")[2])
    figure("from a pod's begin to its program's, plan, compose, report", f"{', '.join(map(str, before))} s")
    figure("from the program's end to its node's in the Workflow", f"{', '.join(map(str, after))} s")
    figure("between a step and the next", f"{', '.join(map(str, _gaps(cluster.nodes(finished_run))))} s")
    assert statistics.median(b + a for b, a in zip(before, after, strict=True)) < 30


def _seconds(begin: str, end: str) -> int:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())


def _gaps(nodes: list[Object]) -> Iterator[int]:
    """Seconds from the last end of a pod of one step to the first begin of the next."""
    steps: dict[str, list[Object]] = {}
    for node in sorted((n for n in nodes if n["type"] == "Pod"), key=lambda n: n["startedAt"]):
        steps.setdefault(node["templateName"], []).append(node)
    ordered = list(steps.values())
    for earlier, later in itertools.pairwise(ordered):
        yield _seconds(max(n["finishedAt"] for n in earlier), later[0]["startedAt"])
