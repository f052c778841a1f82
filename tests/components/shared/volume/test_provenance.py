"""The provenance beside a volume: what it tells of where that comes from, and what it keeps to itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.shared.documents.plan import Plan
from components.shared.volume.layout import metadata_files
from components.shared.volume.volume import volume_of
from components.shared.work.publication import publish
from tests.builders import plan_of, transforms_of


def files_of(plan: Plan, output: int = 1) -> dict[str, bytes]:
    volume = volume_of(plan, transforms_of(plan))
    return metadata_files(volume, volume.outputs[output])


def provenance_of(plan: Plan, output: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files_of(plan, output)["provenance"])
    return found


def test_cloud_volume_reads_the_provenance(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    plan = plan_of(17, 26, output=str(tmp_path), source="gs://em/raw", resolution=(4.0, 4.0, 8.0))
    publish(volume_of(plan, transforms_of(plan)))
    found = CloudVolume(f"file://{tmp_path}/chunk", progress=False).provenance
    assert list(found.sources) == ["gs://em/raw"]
    assert list(found.owners) == []
    assert "Slices 17 to 26" in found.description
    assert "4 x 4 x 8 nm, as configured" in found.description
    assert plan.lossless_grey_levels in found.description
    (step,) = found.processing
    assert step["method"] == "fibstack"
    assert step["settings"]["clip_limit"] == plan.config.clip_limit


def test_a_voxel_that_was_assumed_and_jpeg_are_said_to_be() -> None:
    described = provenance_of(plan_of(0, 3, output="o", jpeg_quality=70, resolution=()), 0)["description"]
    assert "8 x 8 x 8 nm, assumed" in described
    assert "JPEG of quality 70" in described


def test_no_path_and_no_person_is_named() -> None:
    plan = plan_of(
        0,
        3,
        source="/data/grete/cell 7",
        output="/scratch/grete/out",
        email="grete@lab.org",
        overrides="/data/grete/decisions.yaml",
        id="grete-7",
        ome_zarr=True,
        ome_zarr_version="0.6",
    )
    assert provenance_of(plan)["sources"] == ["cell 7"]
    written = b"".join(content for n in range(3) for content in files_of(plan, n).values())
    assert b"grete" not in written


@pytest.mark.parametrize("output", [0, 1])
def test_it_is_the_same_for_the_same_run_and_comes_before_info(output: int) -> None:
    plan = plan_of(0, 3, output="o")
    assert files_of(plan, output) == files_of(plan, output)
    assert list(files_of(plan, output)) == ["provenance", "info"]
