"""The kustomizations of manifests/gke: what they name exists, and the compiled workflows are up to date."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from components.shared.steps import STEPS
from pipeline.argo.lint import problems
from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings, read_settings

MANIFESTS = Path(__file__).parents[2] / "manifests"
GKE = MANIFESTS / "gke"
CONTROLLER_KEYS = {"namespaceParallelism", "resourceRateLimit", "nodeEvents", "executor"}
OVERLAYS = ["spot", "on-demand", "local-volume"]


def objects(folder: Path) -> list[dict]:
    """All objects of a kustomization, before its patches."""
    found = []
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
        path = folder / name
        found += objects(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    return found


@pytest.mark.parametrize("overlay", ["spot", "on-demand"])
def test_compiled_workflow_is_up_to_date(overlay):
    settings = read_settings(GKE / overlay / "settings.toml")
    assert compile_argo(settings) == (GKE / overlay / "align-stack.yaml").read_text(), "run 'make manifests'"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_service_accounts_of_the_pods_exist_and_may_report(overlay):
    every = objects(GKE / overlay)
    accounts = {o["metadata"]["name"] for o in every if o["kind"] == "ServiceAccount"}
    (binding,) = [o for o in every if o["kind"] == "RoleBinding"]
    (workflow,) = [o for o in every if o["kind"] == "WorkflowTemplate"]
    used = {t.get("serviceAccountName") for t in workflow["spec"]["templates"]} - {None}
    assert used <= accounts == {subject["name"] for subject in binding["subjects"]}
    assert problems([o for o in every if o["kind"] in {"ConfigMap", "WorkflowTemplate"}]) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique(overlay):
    names = [(o["kind"], o["metadata"]["name"]) for o in objects(GKE / overlay)]
    assert len(set(names)) == len(names)


def test_network_policy_is_for_the_pods_of_the_steps():
    (policy,) = [o for o in objects(GKE / "spot") if o["kind"] == "NetworkPolicy"]
    (workflow,) = [o for o in objects(GKE / "spot") if o["kind"] == "WorkflowTemplate"]
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    pods = [t for t in workflow["spec"]["templates"] if "container" in t]
    assert all(wanted <= t["metadata"]["labels"].items() for t in pods)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay):
    for each in objects(GKE / overlay):
        if each["kind"] != "WorkflowTemplate":  # Argo's own: pipeline.argo.lint
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", ["argo-controller.yaml", "local-volume/loader.yaml"])
def test_kubernetes_knows_what_is_applied_alone(name):
    each = yaml.safe_load((GKE / name).read_text())
    kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    if each["kind"] == "ConfigMap":
        assert {key: yaml.safe_load(text) for key, text in each["data"].items()}.keys() == CONTROLLER_KEYS
    else:
        assert each["spec"]["containers"][0]["image"] == Settings().image("plan")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which builds kustomizations")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_builds_it(overlay):
    done = subprocess.run(
        ["kubectl", "kustomize", GKE / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(objects(GKE / overlay))
    assert problems([o for o in built if o["kind"] in {"ConfigMap", "WorkflowTemplate"}]) == []
    for each in built:
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "fibstack"
        if each["kind"] != "WorkflowTemplate":
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_each_step_has_a_service_account_of_its_own():
    (workflow,) = [o for o in objects(GKE / "spot") if o["kind"] == "WorkflowTemplate"]
    accounts = {t["name"]: t["serviceAccountName"] for t in workflow["spec"]["templates"] if "container" in t}
    assert accounts == {step: f"fibstack-{step}" for step in STEPS}


def test_guide_gives_rights_only_to_accounts_that_exist():
    guide = (MANIFESTS.parent / "docs/gke.md").read_text()
    assert set(re.findall(r"fibstack-[a-z]+\b", guide)) - {f"fibstack-{step}" for step in STEPS} == {
        "fibstack-loader"
    }
    for path in re.findall(r"manifests/[\w./-]+", guide):
        assert (MANIFESTS.parent / path).exists(), path


def test_patches_of_the_local_volume_fit_the_workflow():
    kustomization = yaml.safe_load((GKE / "local-volume/kustomization.yaml").read_text())
    (workflow,) = [o for o in objects(GKE / "local-volume") if o["kind"] == "WorkflowTemplate"]
    (claim,) = [o for o in objects(GKE / "local-volume") if o["kind"] == "PersistentVolumeClaim"]
    (patch,) = kustomization["patches"]
    assert patch["target"] == {"kind": workflow["kind"], "name": workflow["metadata"]["name"]}
    values = {one["path"]: one["value"] for one in yaml.safe_load(patch["patch"])}
    pod = json.loads(values["/spec/podSpecPatch"])
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert pod["containers"][0]["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
    assert "podSpecPatch" not in workflow["spec"]
    assert "securityContext" in workflow["spec"]
