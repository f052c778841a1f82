"""The workflow is one that clusters take which have Argo's full CRDs, of each release named in the guide."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.shared.steps import STEPS
from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings
from tests.pipeline.argo.argo_crds import RELEASES, refusals

EVERYTHING = Settings(
    registry="host:5000/em",
    digests=dict.fromkeys(STEPS, f"sha256:{'0' * 64}"),
    service_account="em",
    volume={"claim": "em-data", "path": "/data"},
    environment={"HTTPS_PROXY": "http://proxy:3128", "EMPTY": ""},
    secrets={"store": {"WORD": "word"}},
    queue="em",
    user_namespaces=True,
    **{
        step: {
            "spot": True,
            "node_selector": {"zone": "a"},
            "tolerations": [{"key": "dedicated", "value": "em"}, {"key": "gpu", "effect": "NoExecute"}],
            "labels": {"team": "em"},
            "priority_class": "batch",
            "service_account": "tiler",
        }
        for step in STEPS
    },
)


def template(settings: Settings) -> dict[str, Any]:
    _, found = yaml.safe_load_all(compile_argo(settings))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def sound() -> dict[str, Any]:
    return template(EVERYTHING)


def test_the_releases_are_those_of_the_guide() -> None:
    assert RELEASES == ["3.7.4", "4.0.5", "4.1.2"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_cluster_with_full_crds_takes_the_workflow(release: str, sound: dict[str, Any]) -> None:
    assert refusals(release, sound) == []
    assert refusals(release, template(Settings())) == []


@pytest.mark.parametrize("release", RELEASES)
def test_the_longest_wait_needs_argo_4_1(release: str) -> None:
    """The field came with argoproj/argo-workflows 12762, so no release before 4.1 takes the setting."""
    found = refusals(release, template(Settings(tile={"pending_timeout_s": 60})))
    before = [".spec.templates[3].pendingTimeout must be a field of this release."]
    assert found == ([] if release.startswith("4.1") else before)


MISTAKES: dict[str, Callable[[dict[str, Any]], object]] = {
    ".spec.entrypont must be a field of this release.": lambda s: s.update(entrypont="main"),
    ".spec.templates must be array; got {}.": lambda s: s.update(templates={}),
    ".spec.templates[0].container.image must be string; got 3.": lambda s: s["templates"][0][
        "container"
    ].update(image=3),
    ".spec.templates[0].tolerations[0].tolerationSeconds must be integer; got True.": lambda s: s[
        "templates"
    ][0]["tolerations"][0].update(tolerationSeconds=True),
    ".spec.templates[0].container.env[0] must have name.": lambda s: s["templates"][0]["container"]["env"][
        0
    ].pop("name"),
    ".spec.templates[0].retryStrategy.limit must be a whole number or a text; got 1.5.": lambda s: s[
        "templates"
    ][0]["retryStrategy"].update(limit=1.5),
    ".spec.templates[0].nodeSelector.zone must be string; got 1.": lambda s: s["templates"][0][
        "nodeSelector"
    ].update(zone=1),
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_seen(release: str, sentence: str, sound: dict[str, Any]) -> None:
    broken = copy.deepcopy(sound)
    MISTAKES[sentence](broken["spec"])
    assert refusals(release, broken) == [sentence]


def test_limits_of_newer_crds_are_seen(sound: dict[str, Any]) -> None:
    broken = copy.deepcopy(sound)
    broken["spec"]["podGC"]["strategy"] = "Sometimes"
    assert [len(refusals(release, broken)) for release in RELEASES] == [0, 1, 1]


@pytest.mark.parametrize("settings", [Settings(), EVERYTHING], ids=["usual", "everything"])
def test_kubernetes_knows_what_the_patch_makes_of_a_pod(settings: Settings) -> None:
    """Argo holds the patch as text, of which its CRDs know nothing."""
    for each in template(settings)["spec"]["templates"]:
        if "container" in each:
            patch = json.loads(re.sub("{{=.*?}}", "1G", each["podSpecPatch"]))
            containers = [{"image": "argoexec", **container} for container in patch["containers"]]
            pod = {**patch, "containers": containers, "initContainers": patch["initContainers"]}
            kubernetes_validate.validate(
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod},
                kubernetes_validate.latest_version(),
                strict=True,
            )
