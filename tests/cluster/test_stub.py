"""`fibstack submit --stub` on a real cluster: it finds what is wrong, and leaves nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from components.shared.steps import STEPS
from tests.cluster.cluster import NAMESPACE, OVERLAY, SAMPLE, Cluster

pytestmark = pytest.mark.timeout(1200)


def stub(cluster: Cluster, folder: Path, output: str, settings: str = "") -> subprocess.CompletedProcess[str]:
    """Try out a run of the sample."""
    (folder / "run.yaml").write_text(yaml.safe_dump({**SAMPLE, "output": output}))
    words = ["submit", str(folder / "run.yaml"), "--target", "argo", "--namespace", NAMESPACE, "--stub"]
    if settings:
        (folder / "settings.toml").write_text(settings)
        words += ["--settings", str(folder / "settings.toml")]
    return cluster.fibstack(*words)


def left(cluster: Cluster) -> str:
    """What a stub has left on the volume."""
    return cluster.in_volume("find", "/data", "-name", "stub.*")


def test_a_sound_cluster_is_said_to_be_sound(cluster: Cluster, tmp_path: Path) -> None:
    cluster.in_volume("mkdir", "-p", "/data/tried")
    said = stub(cluster, tmp_path, "/data/tried")
    assert said.returncode == 0, said.stdout + said.stderr
    assert [
        line.split() for line in said.stdout.splitlines() if line.split()[:1] and line.split()[0] in STEPS
    ] == [[step, "ok"] for step in STEPS]
    assert left(cluster) == ""
    assert cluster.in_volume("find", "/data/tried", "-type", "f") == ""


def test_an_image_that_is_not_there_is_named(cluster: Cluster, tmp_path: Path) -> None:
    settings = f'tag = "none"\n{(OVERLAY / "settings.toml").read_text()}'
    said = stub(cluster, tmp_path, "/data/no-image", settings)
    assert said.returncode == 65, said.stdout + said.stderr
    (plan,) = [line for line in said.stdout.splitlines() if line.startswith("plan ")]
    assert "fibstack/plan:none" in plan
    assert "Push the images of this version" in plan
    assert left(cluster) == ""


def test_a_folder_that_may_not_be_written_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.in_volume("sh", "-c", "mkdir -p /data/closed && chmod 555 /data/closed")
    said = stub(cluster, tmp_path, "/data/closed/volume")
    assert said.returncode == 65, said.stdout + said.stderr
    (plan,) = [line for line in said.stdout.splitlines() if line.startswith("plan ")]
    assert "permission denied" in plan
    assert "/data/closed" in plan
    assert left(cluster) == ""
