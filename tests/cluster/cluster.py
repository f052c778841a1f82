"""A Kubernetes with Argo Workflows, named by KUBECONFIG, as a user and its administrator see it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.shared.steps import STEPS

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "manifests/gke/local-volume"
NAMESPACE = "fibstack"
FIBSTACK = str(Path(sys.executable).with_name("fibstack"))
FOR_TESTS = ("bench", "kind-", "minikube", "test")
"""Beginnings of the names of contexts in whose clusters tests may make and remove what they want."""
RUN_S = 600
"""Seconds in which a run of the sample ends: it takes one or two minutes on an idle node of two cores."""
POLL_S = 0.5
SAMPLE = {"source": "/data/sample", "image": "img.%05d.png", "minz": 0, "maxz": 11}

Object = dict[str, Any]
"""An object of the Kubernetes API."""


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

    def tried(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """A call of kubectl that may fail, with a text to read."""
        command = ["kubectl", "-n", NAMESPACE, *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=RUN_S, check=False)

    def in_volume(self, *words: str) -> str:
        """The output of a program in the pod that holds the volume open."""
        return self.kubectl("exec", "fibstack-loader", "--", *words)

    def fibstack(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command as a user gives it, on this machine."""
        return subprocess.run([FIBSTACK, *words], capture_output=True, text=True, timeout=RUN_S, check=False)

    def submitted(
        self, folder: Path, settings: str = "", **config: Any
    ) -> tuple[str, subprocess.CompletedProcess[str]]:
        """Start a run; returns its name as `submit` prints it, and all of the answer.

        Args:
            folder: Receives the files that are given.
            settings: Compile-time settings as TOML; empty runs the template of the cluster.
            config: Keys of the configuration, over those of the sample.
        """
        file = folder / "run.yaml"
        file.write_text(yaml.safe_dump({**SAMPLE, **config}))
        words = ["submit", str(file), "--target", "argo", "--namespace", NAMESPACE]
        if settings:
            (folder / "settings.toml").write_text(settings)
            words += ["--settings", str(folder / "settings.toml")]
        result = self.fibstack(*words)
        assert result.returncode == 0, result.stderr
        return next(word for word in result.stdout.split() if word.startswith("argo://")), result

    def submit(self, folder: Path, settings: str = "", **config: Any) -> str:
        """Start a run; returns its name."""
        return self.submitted(folder, settings, **config)[0]

    def workflow(self, run: str) -> Object:
        """The Workflow of a run."""
        found: Object = json.loads(self.kubectl("get", "workflow", run.rpartition("/")[2], "-o", "json"))
        return found

    def nodes(self, run: str) -> list[Object]:
        """The nodes of a run's Workflow."""
        return list(self.workflow(run).get("status", {}).get("nodes", {}).values())

    def has_ended(self, run: str) -> bool:
        """Whether a run has ended."""
        return bool(self.workflow(run).get("status", {}).get("finishedAt"))

    def phase_at_end(self, run: str, within_s: float = RUN_S) -> str:
        """Wait until a run has ended."""
        self.until(lambda: self.has_ended(run), f"{run} ends", within_s)
        phase: str = self.workflow(run)["status"]["phase"]
        return phase

    def succeeds(self, run: str, within_s: float = RUN_S) -> None:
        """Wait until a run has ended well."""
        phase = self.phase_at_end(run, within_s)
        assert phase == "Succeeded", self.fibstack("status", run).stdout

    def shut_down(self, run: str, how: str) -> None:
        """Stop a run as `argo stop` does, whose report still comes, or as `argo terminate` does."""
        patch = json.dumps({"spec": {"shutdown": how}})
        self.kubectl("patch", "workflow", run.rpartition("/")[2], "--type", "merge", "-p", patch)

    def pods(self, run: str, step: str = "") -> list[Object]:
        """The pods of a run, of one step or of all."""
        selector = f"workflows.argoproj.io/workflow={run.rpartition('/')[2]}"
        if step:
            selector += f",app.kubernetes.io/component={step}"
        found: list[Object] = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return found

    def pods_in(self, run: str, step: str, phase: str) -> list[Object]:
        """The pods of a step that are in a phase."""
        return [pod for pod in self.pods(run, step) if pod["status"]["phase"] == phase]

    def lost_tries(self, run: str, step: str) -> list[str]:
        """Messages of the tries of a step that have failed."""
        return [
            node.get("message", "")
            for node in self.nodes(run)
            if node["type"] == "Pod" and node["templateName"] == step and node["phase"] in ("Failed", "Error")
        ]

    def until(self, holds: Callable[[], Any], what: str, within_s: float = RUN_S) -> Any:
        """Wait until something is true, and return it."""
        end = time.monotonic() + within_s
        while not (found := holds()):
            assert time.monotonic() < end, f"waited {within_s} s until {what}"
            time.sleep(POLL_S)
        return found

    def controller(self) -> Object:
        """The Deployment of Argo's controller, not that of a Kubeflow beside it."""
        found = self.kubectl(
            "get", "deployments", "--all-namespaces", "--field-selector", "metadata.name=workflow-controller",
            "-o", "json",
        )  # fmt: skip
        others = [one for one in json.loads(found)["items"] if one["metadata"]["namespace"] != "kubeflow"]
        assert others, "no deployment workflow-controller outside of the namespace kubeflow"
        first: Object = others[0]
        return first

    def run_controllers(self, number: int) -> None:
        """Let Argo have so many controllers, and wait until it has."""
        deployment = self.controller()
        where = ("--namespace", deployment["metadata"]["namespace"])
        name = f"deployment/{deployment['metadata']['name']}"
        self.kubectl("scale", name, *where, "--replicas", str(number))
        self.kubectl("rollout", "status", name, *where, "--timeout", "120s")
        if not number:  # one that ends may still take up a run
            labels = deployment["spec"]["selector"]["matchLabels"].items()
            pods = ("pods", "--selector", ",".join(f"{key}={value}" for key, value in labels))
            self.kubectl("wait", "--for", "delete", *pods, *where, "--timeout", "120s")

    def fetch(self, output: str, folder: Path) -> Path:
        """Copy a volume out of the cluster."""
        self.kubectl("cp", f"fibstack-loader:{output}", str(folder))
        return folder


def main_of(containers: list[Object]) -> Object:
    """The container of the program, or its status, among those of a pod."""
    (main,) = [container for container in containers if container["name"] == "main"]
    return main


def counted(shown: str) -> dict[str, dict[str, int]]:
    """The table of `fibstack status RUN`: for each step, the number of tasks in each state."""
    rows = [line.split() for line in shown.splitlines()]
    heads = [index for index, row in enumerate(rows) if row[:1] == ["step"]]
    if not heads:
        return {}
    columns = rows[heads[0]][1:]
    table = [row for row in rows[heads[0] + 1 :] if len(row) == len(columns) + 1 and row[0] in STEPS]
    return {row[0]: dict(zip(columns, map(int, row[1:]), strict=True)) for row in table}


def volume(output: Path, parts: Sequence[str] = ("neuroglancer", "chunk")) -> dict[str, str]:
    """Digests of all files of the volumes, by their paths, but for `provenance`: that tells their source."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in parts
        for path in (output / part).rglob("*")
        if path.is_file() and path.name != "provenance"
    }


def make_sample(folder: Path, size: str, n_slices: int) -> Path:
    """Write a stack of made-up slices."""
    words = [str(folder), "--size", size, "--slices", str(n_slices)]
    subprocess.run([FIBSTACK, "sample", *words], check=True, capture_output=True)
    return folder


def local_run(output: Path, **config: Any) -> dict[str, str]:
    """Digests of the volume that `fibstack run` writes on this machine.

    Args:
        output: Folder that receives it.
        config: Keys of the configuration, over those of the sample.
    """
    file = output.with_name(f"{output.name}.yaml")
    file.write_text(yaml.safe_dump({**SAMPLE, **config, "output": str(output)}))
    subprocess.run([FIBSTACK, "run", str(file), "--jobs", "2"], check=True, capture_output=True)
    return volume(output)
