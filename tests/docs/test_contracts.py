"""Each README shows its step's contract, and the hash of a unit holds the keys that the contract says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import pytest

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.steps import STEPS
from components.shared.volume.volume import volume_of
from components.shared.work.units import block_hash, chunk_hash, chunks, compose_hash, slab_hash
from docs.contracts import COMPONENTS, contract_of, table
from tests.builders import plan_of, transforms_of

PLAN = plan_of(0, 39, resolution=8)
TRANSFORMS = transforms_of(PLAN)
VOLUME = volume_of(PLAN, TRANSFORMS)
HASHES: dict[str, Callable[[Plan], str]] = {
    "align": lambda plan: chunk_hash(plan, chunks(PLAN)[0]),
    "compose": lambda plan: compose_hash(plan, [b"evidence"]),
    "tile": lambda plan: slab_hash(plan, TRANSFORMS, VOLUME, 0),
    "pyramid": lambda plan: block_hash(plan, VOLUME, 0, 0, ["slab"]),
}

LISTS = {
    "more_channels": ("more.%d.png",),
    "crop": (0, 0, 9, 9),
    "match_region": (0, 0, 9, 9),
    "decided": ("trend",),
}
"""A value of each list that is empty of itself."""


def another(key: str, value: Any) -> Any:
    """Another value of a key than the one that it has."""
    annotation = RunConfig.model_fields[key].annotation
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (value[0] + 1, *value[1:]) if value else LISTS[key]
    if isinstance(value, float):
        return value / 2 or 1.5
    return value + ("x" if isinstance(value, str) else 1)


@pytest.mark.parametrize("step", STEPS)
def test_the_readme_shows_the_contract(step: str) -> None:
    contract = contract_of(step)
    assert contract.step == step
    assert table(contract) in (COMPONENTS / step / "README.md").read_text(), "run make manifests"


@pytest.mark.parametrize("step", STEPS)
def test_a_hash_depends_on_the_keys_of_the_contract_and_no_other(step: str) -> None:
    config = PLAN.config
    changed = {
        key
        for key in RunConfig.model_fields
        if step in HASHES
        and HASHES[step](
            PLAN.model_copy(
                update={"config": config.model_copy(update={key: another(key, getattr(config, key))})}
            )
        )
        != HASHES[step](PLAN)
    }
    assert changed == set(contract_of(step).hash.keys)


def test_every_step_with_a_hash_is_looked_at() -> None:
    assert HASHES.keys() == {name for name, step in STEPS.items() if step.result_version}
