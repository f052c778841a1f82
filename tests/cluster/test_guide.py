"""The section of docs/gke.md on a cluster of one's own, its commands as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.cluster import ROOT, RUN_S, Cluster, local_run, make_sample, volume

pytestmark = pytest.mark.timeout(1200)

GUIDE = (ROOT / "docs/gke.md").read_text()
OWN = GUIDE.partition("## On a cluster of your own")[2]
N_SLICES = 60
ELSEWHERE = ("make images", "for step in plan align compose tile pyramid report; do kind load")
"""Commands that bring the images into the cluster, which has been done here, on kind or in another way."""


def commands() -> list[str]:
    """The commands of the section's first example."""
    (example, *_) = re.findall(r"```sh\n(.*?)```", OWN, re.DOTALL)
    return example.replace("\\\n", " ").strip().splitlines()


def looks() -> list[str]:
    """The commands of the table about a run that only look."""
    table = GUIDE.partition("## 4. A run")[2].partition("## ")[0]
    return re.findall(r"`((?:kubectl get|argo get|argo logs) [^`]+)`", table)


@pytest.mark.skipif(shutil.which("argo") is None, reason="needs Argo's command line")
def test_its_commands_make_a_volume(cluster: Cluster, tmp_path: Path) -> None:
    stack = make_sample(tmp_path / "stack", "96x96", N_SLICES)
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    cluster.in_volume("rm", "-rf", "/data/raw", "/data/volume")
    done_before = [line for line in commands() if line.startswith(ELSEWHERE)]
    assert len(done_before) == len(ELSEWHERE)
    for line in commands():
        if line not in done_before:
            said = shell(line, tmp_path)
            assert said.returncode == 0, f"{line}\n{said.stdout[-2000:]}{said.stderr}"
    local = local_run(tmp_path / "local", source=str(stack), maxz=N_SLICES - 1)
    assert volume(tmp_path / "volume") == local
    for ask in ("status", "verify"):
        said = cluster.fibstack(ask, str(tmp_path / "volume"))
        assert said.returncode == 0, f"{ask}: {said.stdout}{said.stderr}"
        assert "not published" not in said.stdout
    assert len(looks()) >= 3
    for line in looks():
        said = shell(line, tmp_path)
        assert said.returncode == 0, f"{line}\n{said.stdout}{said.stderr}"
        assert said.stdout, line


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", line], cwd=folder, capture_output=True, text=True, timeout=RUN_S, check=False
    )


def test_a_cluster_takes_its_volume(cluster: Cluster) -> None:
    """The one for premises, of a network or of a node."""
    (text,) = re.findall(r"```yaml\n(.*?)```", OWN, re.DOTALL)
    dry = ("apply", "--dry-run=server", "-f", "-")
    assert cluster.tried(*dry, text=text).returncode == 0
    (of_a_node,) = re.findall(r"or (hostPath: {.*?}) on a cluster", text)
    other = re.sub(r"nfs: {.*", of_a_node, text)
    assert cluster.tried(*dry, text=other).returncode == 0
