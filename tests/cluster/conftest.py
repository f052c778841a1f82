"""A Kubernetes with Argo Workflows, named by KUBECONFIG, and a volume in it that holds slices and results.

The images of this version must be in the cluster: docs/gke.md, "On a cluster of your own".
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "manifests/gke/local-volume"
NAMESPACE = "fibstack"
FOR_TESTS = ("bench", "kind-", "minikube", "test")
"""Beginnings of the names of contexts in whose clusters tests may make and remove what they want."""
RUN_S = 600
"""Seconds in which a run of the sample ends: it takes one or two minutes on an idle node of two cores."""
SAMPLE = {"image": "img.%05d.png", "minz": 0, "maxz": 11}


def why_not() -> str:
    """Why no cluster can be used; empty where one can."""
    if not os.environ.get("KUBECONFIG"):
        return "a cluster: set KUBECONFIG to that of one for tests, docs/gke.md"
    if shutil.which("kubectl") is None:
        return "kubectl"
    context = _output("kubectl", "config", "current-context")
    if not context.startswith(FOR_TESTS):
        return f"a cluster for tests: the context {context!r} is not named {', '.join(FOR_TESTS)}"
    if "workflows.argoproj.io" not in _output("kubectl", "get", "crd", "-o", "name"):
        return f"Argo Workflows in the cluster {context!r}"
    return ""


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


class Cluster:
    """The namespace of fibstack in a cluster, and the pod that holds the volume open."""

    def kubectl(self, *words: str) -> str:
        """The output of a call of kubectl, which must not fail."""
        result = self.tried(*words)
        assert result.returncode == 0, f"kubectl {' '.join(words)}: {result.stderr}"
        return result.stdout

    def tried(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A call of kubectl that may fail."""
        command = ["kubectl", "-n", NAMESPACE, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)

    def in_volume(self, *words: str) -> str:
        """The output of a program in the pod that holds the volume open."""
        return self.kubectl("exec", "fibstack-loader", "--", *words)

    def fibstack(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command as a user gives it, on this machine."""
        program = [str(Path(sys.executable).with_name("fibstack")), *words]
        return subprocess.run(program, capture_output=True, text=True, timeout=RUN_S, check=False)

    def submit(self, folder: Path, **config: Any) -> str:
        """Start a run; returns its name as `submit` prints it."""
        file = folder / "run.yaml"
        file.write_text(yaml.safe_dump({"source": "/data/raw", **SAMPLE, **config}))
        result = self.fibstack("submit", str(file), "--target", "argo", "--namespace", NAMESPACE)
        assert result.returncode == 0, result.stderr
        return next(word for word in result.stdout.split() if word.startswith("argo://"))

    def workflow(self, run: str) -> dict[str, Any]:
        """The Workflow of a run."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", "workflow", run.rpartition("/")[2], "-o", "json")
        )
        return found

    def phase_at_end(self, run: str) -> str:
        """Wait until a run has ended."""
        self.until(lambda: bool(self.workflow(run).get("status", {}).get("finishedAt")), f"{run} ends")
        phase: str = self.workflow(run)["status"]["phase"]
        return phase

    def pods(self, run: str, step: str, phase: str = "Running") -> list[str]:
        """Names of the pods of a step that are in a phase."""
        found = self.kubectl(
            "get", "pods", "-l", f"workflows.argoproj.io/workflow={run.rpartition('/')[2]}", "-o", "json"
        )
        return [
            pod["metadata"]["name"]
            for pod in json.loads(found)["items"]
            if f"-{step}-" in pod["metadata"]["name"] and pod["status"]["phase"] == phase
        ]

    def lost_tries(self, run: str, step: str) -> list[str]:
        """Messages of the tries of a step that have failed."""
        nodes = self.workflow(run)["status"]["nodes"].values()
        return [
            node.get("message", "")
            for node in nodes
            if node["type"] == "Pod" and node["templateName"] == step and node["phase"] in ("Failed", "Error")
        ]

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Wait until something is true, and return it."""
        end = time.monotonic() + RUN_S
        while not (found := holds()):
            assert time.monotonic() < end, f"waited {RUN_S} s until {what}"
            time.sleep(0.5)
        return found

    def fetch(self, output: str, folder: Path) -> Path:
        """Copy a volume out of the cluster."""
        self.kubectl("cp", f"fibstack-loader:{output}", str(folder))
        return folder


@pytest.fixture(scope="session")
def cluster(sample: Path) -> Iterator[Cluster]:
    """The cluster, with the overlay of the guide applied and the sample at /data/raw."""
    reason = why_not()
    if reason:
        pytest.skip(f"needs {reason}")
    found = Cluster()
    found.kubectl("apply", "-k", str(OVERLAY))
    found.kubectl("apply", "-f", str(OVERLAY / "loader.yaml"))
    found.kubectl("wait", "--for", "condition=Ready", "pod/fibstack-loader", "--timeout", "120s")
    found.in_volume("sh", "-c", "rm -rf /data/*")
    found.kubectl("cp", str(sample), "fibstack-loader:/data/raw")
    yield found
    found.kubectl("delete", "workflows", "--all", "--wait=false")
    found.kubectl("delete", "-f", str(OVERLAY / "loader.yaml"), "--wait=false")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = why_not()
    if reason:
        pytest.skip(f"needs {reason}")
    folder = tmp_path_factory.mktemp("sample") / "raw"
    words = [str(folder), "--size", "512x512", "--slices", str(SAMPLE["maxz"] + 1)]
    fibstack = Path(sys.executable).with_name("fibstack")
    subprocess.run([fibstack, "sample", *words], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def local_volume(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the volume that `fibstack run` writes of the sample on this machine."""
    output = tmp_path_factory.mktemp("local") / "volume"
    config = [f"--{key}={value}" for key, value in {"source": sample, "output": output, **SAMPLE}.items()]
    fibstack = Path(sys.executable).with_name("fibstack")
    subprocess.run([fibstack, "run", *config, "--jobs", "2"], check=True, capture_output=True)
    return volume(output)


def volume(output: Path, parts: Sequence[str] = ("neuroglancer", "chunk")) -> dict[str, str]:
    """Digests of all files that a viewer or a program reads, by their paths in the output."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in parts
        for path in (output / part).rglob("*")
        if path.is_file()
    }
