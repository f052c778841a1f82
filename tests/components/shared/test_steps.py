"""What cannot read the list of steps says the same as the list."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.plan.rates import PerStep
from components.shared.documents.config import RunConfig
from components.shared.grid import LEVELS_PER_PASS
from components.shared.steps import STEPS
from docs.contracts import contract_of
from pipeline.align_stack import COMPONENTS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_each_step_has_a_component_in_the_pipeline() -> None:
    assert list(COMPONENTS) == list(STEPS)
    for step in STEPS.values():
        inputs = COMPONENTS[step.name].component_spec.inputs
        assert all({loop.item, *loop.constants} <= inputs.keys() for loop in step.loops)


def test_each_loop_runs_over_an_output_of_an_earlier_step() -> None:
    listed: set[str] = set()
    for step in STEPS.values():
        assert {loop.items for loop in step.loops} <= listed
        listed |= (COMPONENTS[step.name].component_spec.outputs or {}).keys()


def test_hashes_hold_keys_of_the_configuration() -> None:
    for step in STEPS.values():
        assert step.hashed_keys <= RunConfig.model_fields.keys()
        assert bool(step.hashed_keys) == bool(step.result_version) == bool(step.records)


def test_a_step_uses_the_places_that_its_contract_names() -> None:
    for step in STEPS.values():
        contract = contract_of(step.name)
        assert (step.reads, step.writes) == (contract.reads.keys(), contract.writes.keys())


def test_each_pass_of_the_pyramid_has_its_levels_and_records() -> None:
    levels = [index * LEVELS_PER_PASS for index in range(3)]
    assert [loop.constants["level"] for loop in STEPS["pyramid"].loops] == levels
    assert STEPS["pyramid"].records == tuple(f"pyramid/{level}" for level in levels)


def test_every_step_has_been_measured() -> None:
    assert PerStep._fields == tuple(STEPS)


def test_the_project_has_extras_and_a_program_for_each_step(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    of_the_commands = ["tifffile>=2024.8"]  # `data split` writes with it
    assert extras.keys() >= STEPS.keys()
    assert extras["step"] == [f"fibstack[base,{','.join(STEPS)}]", *of_the_commands]
    scripts = {name: f"components.{name}.main:main" for name in STEPS}
    assert project["project"]["scripts"] == {
        "fibstack": "commands.main:main",
        **{f"fibstack-{name}": program for name, program in scripts.items()},
    }


def test_the_import_rules_keep_the_steps_apart(project: dict[str, Any]) -> None:
    contracts = {each["name"]: each for each in project["tool"]["importlinter"]["contracts"]}
    layers = contracts["steps stand beside each other on what they share"]["layers"]
    assert set(layers[0].split(" | ")) == STEPS.keys()


def test_each_step_has_an_image_and_locked_dependencies() -> None:
    assert {path.parent.name for path in ROOT.glob("images/*/Dockerfile")} == {"base", *STEPS}
    assert {path.stem for path in ROOT.glob("requirements/images/*.txt")} == {"base", *STEPS}


def test_make_builds_the_image_of_each_step() -> None:
    said = subprocess.run(["make", "-n", "images"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"for step in {' '.join(STEPS)};" in said.stdout


def test_each_step_has_an_account_with_rights() -> None:
    accounts = yaml.safe_load_all((ROOT / "manifests/gke/base/service-accounts.yaml").read_text())
    names = {each["metadata"]["name"] for each in accounts if each["kind"] == "ServiceAccount"}
    granted = re.findall(r"^grant (\w+)", (ROOT / "manifests/gke/grant-rights.sh").read_text(), re.MULTILINE)
    assert names == {f"fibstack-{name}" for name in STEPS}
    assert set(granted) == STEPS.keys()
