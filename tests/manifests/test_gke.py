"""The kustomizations of manifests/gke: what they name exists, and the compiled workflows are up to date."""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from components.shared.steps import STEPS
from manifests.overlays import LIMITS, WORKFLOW, overlay_patches
from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings, StepSettings, quantity, read_settings
from tests.pipeline.argo.argo_crds import RELEASES, refusals
from tests.pipeline.argo.argo_lint import problems

MANIFESTS = Path(__file__).parents[2] / "manifests"
GKE = MANIFESTS / "gke"
CONTROLLER_KEYS = {"namespaceParallelism", "resourceRateLimit", "nodeEvents", "executor"}
OVERLAYS = ["spot", "on-demand", "local-volume", "../aws/eks", "../aws/own-server"]


def objects(folder: Path) -> list[dict]:
    """All objects of a kustomization, with its patches and without its namespace."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = []
    for name in kustomization["resources"]:
        path = folder / name
        found += objects(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for each in kustomization.get("patches", ()):
        patch = yaml.safe_load(each["patch"] if "patch" in each else (folder / each["path"]).read_text())
        target = each.get("target") or {"kind": patch["kind"], "name": patch["metadata"]["name"]}
        (patched,) = (o for o in found if (o["kind"], o["metadata"]["name"]) == tuple(target.values()))
        if isinstance(patch, list):
            apply_operations(patched, patch)
        else:
            merge(patched, patch)
    return found


def apply_operations(patched: dict, operations: list[dict]) -> None:
    """Apply a JSON Patch (RFC 6902) to an object."""
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = patched
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key = int(last) if isinstance(place, list) else last
        match operation["op"]:
            case "test":
                assert place[key] == operation["value"], operation["path"]
            case "remove":
                del place[key]
            case "replace":
                assert key in (range(len(place)) if isinstance(place, list) else place), operation["path"]
                place[key] = operation["value"]
            case "add":
                assert isinstance(place, dict), operation["path"]
                place[key] = operation["value"]


def merge(patched: dict, patch: dict) -> None:
    """Apply a merge patch (RFC 7386) to an object."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(patched.get(key), dict):
            merge(patched[key], value)
        else:
            patched[key] = value


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_patches_are_up_to_date(overlay: str) -> None:
    for name, text in overlay_patches(read_settings(GKE / overlay / "settings.toml")).items():
        assert (GKE / overlay / name).read_text() == text, "run 'make overlays'"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_patched_workflow_is_the_compiled_one(overlay: str) -> None:
    compiled = list(yaml.safe_load_all(compile_argo(read_settings(GKE / overlay / "settings.toml"))))
    names = {o["metadata"]["name"] for o in compiled}
    assert [o for o in objects(GKE / overlay) if o["metadata"]["name"] in names] == compiled


def test_patches_carry_whatever_settings_change() -> None:
    """Images, limits of pods and retries too, not only what the two overlays change."""
    settings = Settings(
        registry="host/project",
        digests={"tile": f"sha256:{'0' * 64}"},
        align=StepSettings(retries=0, parallelism=7, labels={"team/name": "em"}),
    )
    limits, workflow = yaml.safe_load_all((MANIFESTS / "argo/align-stack.yaml").read_text())
    patches = {name: yaml.safe_load(text) for name, text in overlay_patches(settings).items()}
    merge(limits, patches[LIMITS])
    apply_operations(workflow, patches[WORKFLOW])
    assert [limits, workflow] == list(yaml.safe_load_all(compile_argo(settings)))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_service_accounts_of_the_pods_exist_and_may_report(overlay: str) -> None:
    every = objects(GKE / overlay)
    accounts = {o["metadata"]["name"] for o in every if o["kind"] == "ServiceAccount"}
    (binding,) = [o for o in every if o["kind"] == "RoleBinding"]
    (workflow,) = [o for o in every if o["kind"] == "WorkflowTemplate"]
    used = {t.get("serviceAccountName") for t in workflow["spec"]["templates"]} - {None}
    assert used <= accounts == {subject["name"] for subject in binding["subjects"]}
    assert problems([o for o in every if o["kind"] in {"ConfigMap", "WorkflowTemplate"}]) == []


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_cluster_with_argos_full_crds_takes_the_workflow(overlay: str, release: str) -> None:
    (workflow,) = [o for o in objects(GKE / overlay) if o["kind"] == "WorkflowTemplate"]
    assert refusals(release, workflow) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique(overlay: str) -> None:
    names = [(o["kind"], o["metadata"]["name"]) for o in objects(GKE / overlay)]
    assert len(set(names)) == len(names)


def test_network_policy_is_for_the_pods_of_the_steps() -> None:
    (policy,) = [o for o in objects(GKE / "spot") if o["kind"] == "NetworkPolicy"]
    (workflow,) = [o for o in objects(GKE / "spot") if o["kind"] == "WorkflowTemplate"]
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    pods = [t for t in workflow["spec"]["templates"] if "container" in t]
    assert all(wanted <= t["metadata"]["labels"].items() for t in pods)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str) -> None:
    for each in objects(GKE / overlay):
        if each["kind"] != "WorkflowTemplate":  # Argo's own: tests.pipeline.argo.argo_lint
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", ["argo-controller.yaml", "local-volume/loader.yaml"])
def test_kubernetes_knows_what_is_applied_alone(name: str) -> None:
    each = yaml.safe_load((GKE / name).read_text())
    kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    if each["kind"] == "ConfigMap":
        assert {key: yaml.safe_load(text) for key, text in each["data"].items()}.keys() == CONTROLLER_KEYS
    else:
        assert each["spec"]["containers"][0]["image"] == Settings().image("plan")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which builds kustomizations")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_builds_it(overlay: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", GKE / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    named = {(o["kind"], o["metadata"]["name"]): o.get("spec", o.get("data")) for o in objects(GKE / overlay)}
    assert {(o["kind"], o["metadata"]["name"]): o.get("spec", o.get("data")) for o in built} == named
    assert problems([o for o in built if o["kind"] in {"ConfigMap", "WorkflowTemplate"}]) == []
    for each in built:
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "fibstack"
        if each["kind"] != "WorkflowTemplate":
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.skipif(
    shutil.which("argo") is None or shutil.which("kubectl") is None,
    reason="needs Argo's command line, and kubectl",
)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_argo_lints_what_kubectl_builds(overlay: str, tmp_path: Path) -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", GKE / overlay], capture_output=True, text=True, check=True
    )
    sound, broken = tmp_path / "sound.yaml", tmp_path / "broken.yaml"
    sound.write_text(built.stdout)
    broken.write_text(built.stdout.replace("template: compose", "template: gone"))
    said = [
        subprocess.run(["argo", "lint", "--offline", file], capture_output=True, text=True, check=False)
        for file in (sound, broken)
    ]
    assert said[0].returncode == 0, said[0].stdout + said[0].stderr
    assert said[1].returncode != 0, "it has not looked at the workflow"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which builds kustomizations")
def test_another_namespace_is_one_line(tmp_path: Path) -> None:
    """Its name, and that of the accounts that may report; pods of others would end in an error."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    overlay = tmp_path / "manifests/gke/local-volume"
    file = overlay / "kustomization.yaml"
    file.write_text(file.read_text().replace("namespace: fibstack", "namespace: em"))
    done = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, check=True)
    for each in yaml.safe_load_all(done.stdout):
        metadata = each["metadata"]
        assert (metadata["name"] if each["kind"] == "Namespace" else metadata["namespace"]) == "em"
        assert {subject["namespace"] for subject in each.get("subjects", ())} <= {"em"}


def test_each_step_has_a_service_account_of_its_own() -> None:
    (workflow,) = [o for o in objects(GKE / "spot") if o["kind"] == "WorkflowTemplate"]
    accounts = {t["name"]: t["serviceAccountName"] for t in workflow["spec"]["templates"] if "container" in t}
    assert accounts == {step: f"fibstack-{step}" for step in STEPS}


def test_guide_gives_rights_only_to_accounts_that_exist() -> None:
    guide = (MANIFESTS.parent / "docs/gke.md").read_text()
    assert set(re.findall(r"fibstack-[a-z]+\b", guide)) - {f"fibstack-{step}" for step in STEPS} == {
        "fibstack-loader",
        "fibstack-data",
    }
    for path in re.findall(r"manifests/[\w./-]+", guide):
        assert (MANIFESTS.parent / path).exists(), path


def test_the_local_volume_is_that_of_its_claim_and_of_the_loader() -> None:
    settings = read_settings(GKE / "local-volume/settings.toml")
    (claim,) = [o for o in objects(GKE / "local-volume") if o["kind"] == "PersistentVolumeClaim"]
    loader = yaml.safe_load((GKE / "local-volume/loader.yaml").read_text())
    assert settings.volume is not None
    assert settings.volume.claim == claim["metadata"]["name"]
    (volume,) = loader["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == settings.volume.claim
    (mount,) = loader["spec"]["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == settings.volume.path


def test_pods_on_the_local_volume_fit_a_small_node() -> None:
    """Three of them beside each other on two cores and 4 GB, and each may take what it takes elsewhere."""
    settings = read_settings(GKE / "local-volume/settings.toml")
    for step in STEPS:
        machine = settings.step(step)
        assert quantity(machine.cpu) * 3 < 2
        assert quantity(machine.memory) * 3 < quantity("4G")
        assert quantity(machine.most_memory) == quantity(Settings().step(step).memory)
        assert quantity(machine.most_cpu) == quantity(Settings().step(step).cpu)
