"""A run of many short pods beside each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, local_run, make_sample, volume

pytestmark = pytest.mark.timeout(3000)

N_SLICES = 600
N_PODS = 38
"""Calls of `align`, of 16 slices each."""


def test_600_slices_in_38_pods(cluster: Cluster, tmp_path: Path, figure: Callable[..., None]) -> None:
    stack = make_sample(tmp_path / "many", "96x96", N_SLICES)
    cluster.kubectl("cp", str(stack), "fibstack-loader:/data/many")
    # So many slices of the sample walk further than they are wide, of which the check on thumbnails warns.
    config: dict[str, Any] = {"maxz": N_SLICES - 1, "neighbours": 2, "force": True}
    run = cluster.submit(tmp_path, source="/data/many", output="/data/many-volume", **config)
    cluster.succeeds(run, within_s=1800)
    workflow = cluster.workflow(run)
    pods = [node for node in cluster.nodes(run) if node["type"] == "Pod"]
    assert len([pod for pod in pods if pod["templateName"] == "align"]) == N_PODS
    assert {pod["phase"] for pod in pods} == {"Succeeded"}
    began, ended = workflow["status"]["startedAt"], workflow["status"]["finishedAt"]
    figure(f"{N_SLICES} slices, {len(pods)} pods: begin and end", f"{began}, {ended}")
    local = local_run(tmp_path / "local", source=str(stack), **config)
    assert volume(cluster.fetch("/data/many-volume", tmp_path / "volume")) == local
