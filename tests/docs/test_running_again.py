"""The page on running again lists every key once, by the first step that another value of it reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.volume.volume import volume_of
from components.shared.work.units import block_hash, chunk_hash, chunks, compose_hash, slab_hashes
from docs.running_again import OF_THE_STACK, PAGE, first_step, table, with_table
from tests.builders import transforms_of
from tests.components.plan.plan_step import FIRST, LAST, plan_of, run, write_slice

OTHERS: dict[str, Any] = {
    "crop": "[0, 0, 30, 20]",
    "match_region": "[0, 0, 70, 64]",
    "invert": True,
    "skip_align": True,
    "downsample_factor": 1.5,
    "match_size": 64,
    "neighbours": 2,
    "solver": "compose",
    "allow_gaps": True,
    "trend": "keep",
    "z": "correct",
    "refine": "none",
    "replace_with": "blend",
    "max_replaced": 5,
    "force": True,
    "intensity": "none",
    "streaks": "filter",
    "clip_limit": 0,
    "keep_bits": True,
    "resolution": "[9, 9, 9]",
    "jpeg_quality": 60,
    "raw_pyramid": True,
    "lossless_encoding": "png",
    "ome_zarr": True,
    "ome_zarr_version": "0.6",
    "output_level": 1,
    "id": "other",
    "project": "my-project",
    "email": "a@b.org",
    "webhook": "https://example.org",
    "decided": '["trend"]',
    "keep_tiles": True,
    "more_channels": '["esb.%05d.png"]',
    "overrides": "decisions.yaml",
}
"""Another value of each key but those that say which slices there are."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack") / "in"
    for z in range(FIRST, LAST + 1):
        for name in ("img", "esb"):
            write_slice(folder / f"{name}.{z:05d}.png", width=90, height=80, dtype="uint16")
    (folder.parent / "decisions.yaml").write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    return folder


def hashes(plan: Plan) -> dict[str, list[str]]:
    """What the work of each step depends on, by its name, in the order of the steps.

    What `compose` makes of the files of further channels is nothing, though its hash holds them.
    """
    transforms = transforms_of(plan)
    volume = volume_of(plan, transforms)
    slabs = slab_hashes(plan, transforms, volume)
    slices = tuple(entry.model_copy(update={"more_channels": ()}) for entry in plan.slices)
    of_image = plan.model_copy(update={"slices": slices})
    return {
        "align": [chunk_hash(plan, chunk) for chunk in chunks(plan)],
        "compose": [compose_hash(of_image, [b"evidence"])],
        "tile": slabs,
        "pyramid": [block_hash(plan, volume, 0, 0, slabs)],
    }


@pytest.mark.parametrize(
    "key", sorted(RunConfig.model_fields.keys() - OF_THE_STACK - {"maxz", "output", "force", "placed_as"})
)
def test_a_key_is_listed_at_the_first_step_that_it_reaches(source: Path, key: str) -> None:
    """The key `force` reaches what `compose` does with its check, which hashes the whole plan."""
    value = source.parent / OTHERS[key] if key == "overrides" else OTHERS[key]
    assert run(source).exit_code == 0
    before = hashes(plan_of(source.parent))
    output = source.parent / f"out-{key}"
    done = run(source, **{"output": output, key: value})
    assert done.exit_code == 0, done.output
    now = hashes(Plan.model_validate_json((output / "process/plan.json").read_bytes()))
    changed = [step for step in before if now[step] != before[step]]
    assert (changed or ["report"])[0] == first_step(key)


def test_the_page_has_the_table_of_the_code() -> None:
    assert with_table(PAGE.read_text()) == PAGE.read_text(), "run make manifests"
    assert all(table().count(f"`{key}`") == 1 for key in RunConfig.model_fields)
