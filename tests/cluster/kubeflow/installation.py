"""A Kubeflow Pipelines of release 2 in the cluster that KUBECONFIG names, as a user sees it.

Its API answers at KFP_HOST; its pods run in the namespace KFP_NAMESPACE, else `kubeflow`. KFP_SETTINGS is a
file of settings for other images or another claim, in place of that beside this module.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from pipeline.settings import Volume, read_settings
from tests.cluster.cluster import OVERLAY, SAMPLE, Cluster, Object

HOST = os.environ.get("KFP_HOST", "").rstrip("/")
NAMESPACE = os.environ.get("KFP_NAMESPACE", "kubeflow")
SETTINGS = Path(os.environ.get("KFP_SETTINGS", Path(__file__).with_name("settings.toml")))
RUN_S = 1800
"""Seconds in which a run of the sample ends: it takes four minutes on an idle node of two cores."""
_PAGE = "/#/runs/details/"
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


class Kubeflow(Cluster):
    """The namespace of Kubeflow's pods, and its API."""

    settings = read_settings(SETTINGS)

    @property
    def volume(self) -> Volume:
        """The volume that all pods see."""
        assert self.settings.volume, f"{SETTINGS} must name a volume"
        return self.settings.volume

    def in_data(self, name: str) -> str:
        """A folder of the volume as the pods see it."""
        return f"{self.volume.path}/{name}"

    def given(self, output: str, **others: Any) -> dict[str, Any]:
        """The configuration of a run of the sample."""
        return {**SAMPLE, "source": self.in_data("sample"), "output": output, **others}

    def tried(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """A call of kubectl in Kubeflow's namespace, which may fail."""
        command = ["kubectl", "-n", NAMESPACE, *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=RUN_S, check=False)

    def apply(self, *objects: Object) -> None:
        """Make objects of Kubernetes, or make them as given."""
        result = self.tried("apply", "-f", "-", text=yaml.safe_dump_all(objects))
        assert result.returncode == 0, result.stderr

    def submitted(
        self, folder: Path, settings: str = "", **config: Any
    ) -> tuple[str, subprocess.CompletedProcess[str]]:
        """Start a run with fibstack; returns its reference, and all of the answer."""
        assert not settings, "the settings of all runs here are those of the installation"
        file = folder / "run.yaml"
        file.write_text(yaml.safe_dump(self.given(**config)))
        place = ["--target", "kfp", "--host", HOST, "--settings", str(SETTINGS)]
        result = self.fibstack("submit", str(file), *place)
        assert result.returncode == 0, result.stderr
        return next(word for word in result.stdout.split() if _PAGE in word).strip("'"), result

    def workflow(self, run: str) -> Object:
        """The Workflow behind a run."""
        runtime = self._answer("v1beta1", run)["pipeline_runtime"]
        found: Object = json.loads(runtime.get("workflow_manifest") or "{}")
        return found

    def _answer(self, api: str, run: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{HOST}/apis/{api}/runs/{run_id(run)}", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def state(self, run: str) -> str:
        """The state of a run as the API tells it."""
        return str(self._answer("v2beta1", run).get("state", ""))

    def has_ended(self, run: str) -> bool:
        """Whether a run has ended."""
        return self.state(run) in _ENDED

    def phase_at_end(self, run: str, within_s: float = RUN_S) -> str:
        """Wait until a run has ended."""
        self.until(lambda: self.has_ended(run), f"{run} ends", within_s)
        return self.state(run)

    def succeeds(self, run: str, within_s: float = RUN_S) -> None:
        """Wait until a run has ended well."""
        assert self.phase_at_end(run, within_s) == "SUCCEEDED", self.fibstack("status", run).stdout

    def pods(self, run: str, step: str = "") -> list[Object]:
        """The pods of a run, Kubeflow's own too, or those of a step's programs, which fibstack labels."""
        labels = f"pipeline/runid={run_id(run)}" + (f",app.kubernetes.io/component={step}" if step else "")
        found: list[Object] = json.loads(self.kubectl("get", "pods", "-l", labels, "-o", "json"))["items"]
        return found

    def lost_tries(self, run: str, step: str) -> list[str]:
        """Messages of the tries of a step that have failed; any part of a name may have a try's number."""
        of_step = re.compile(rf".*\.{step}(\(\d+\))?\.executor\(\d+\)")
        return [
            node.get("message", "")
            for node in self.nodes(run)
            if of_step.fullmatch(node["name"]) and node["phase"] in ("Failed", "Error")
        ]

    def tries_again(self, run: str, how: str) -> bool:
        """Whether this installation tries again what was lost so: a pod `deleted`, or a program `killed`."""
        defaults = self.workflow(run)["spec"].get("templateDefaults") or {}
        policy = (defaults.get("retryStrategy") or {}).get("retryPolicy", "OnFailure")
        return policy in ("Always", "OnError" if how == "deleted" else "OnFailure")

    def make_loader(self) -> None:
        """Make the pod that holds the volume open, and the claim where there is none."""
        if self.tried("get", "pvc", self.volume.claim).returncode:
            claim = yaml.safe_load((OVERLAY / "volume-claim.yaml").read_text())
            claim["metadata"]["name"] = self.volume.claim
            self.apply(claim)
        pod: Object = yaml.safe_load((OVERLAY / "loader.yaml").read_text())
        pod["metadata"]["namespace"] = NAMESPACE
        (container,), (volume,) = pod["spec"]["containers"], pod["spec"]["volumes"]
        container["image"] = self.settings.image("plan")
        container["volumeMounts"][0]["mountPath"] = self.volume.path
        volume["persistentVolumeClaim"]["claimName"] = self.volume.claim
        self.apply(pod)
        self.kubectl("wait", "--for", "condition=Ready", "pod/fibstack-loader", "--timeout", "120s")


def run_id(run: str) -> str:
    """The ID of a run in its reference."""
    return run.partition(_PAGE)[2]
