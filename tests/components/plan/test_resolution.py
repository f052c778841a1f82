"""The size of a voxel is the configured one, else the files' own, else assumed; it is said which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result

from components.plan.work import expected_volume
from components.shared.storage.registry import open_store
from components.shared.work.units import block_hash
from tests.builders import cli
from tests.components.plan.plan_step import plan_of, refusal, run

N = 5
TOLD = "tags 282 and 283, XResolution and YResolution"


def write_stack(folder: Path, sides_nm: Mapping[int, float] | float | None) -> Path:
    """Five slices that tell the size of their pixels, each its own or all the same; None: none tells one."""
    (folder / "raw").mkdir(exist_ok=True)
    for z in range(N):
        side_nm = sides_nm.get(z) if isinstance(sides_nm, Mapping) else sides_nm
        told: dict[str, Any] = {"resolution": (1e7 / side_nm,) * 2, "resolutionunit": 3} if side_nm else {}
        picture = np.random.default_rng(z).integers(0, 255, (40, 60), np.uint8)
        tifffile.imwrite(folder / f"raw/img.{z:05d}.tif", picture, metadata=None, **told)
    return folder / "raw"


def planned(source: Path, **changes: Any) -> Result:
    return run(source, image="img.%05d.tif", minz=0, maxz=N - 1, **changes)


def test_the_files_size_is_used_and_said_where_none_is_configured(tmp_path: Path) -> None:
    result = planned(write_stack(tmp_path, 4))
    assert result.exit_code == 0, result.output
    plan = plan_of(tmp_path)
    assert plan.resolution_nm == (4, 4, 4)
    assert plan.voxel.source == f"x and y from the files ({TOLD}), z assumed to be x"
    assert plan.config.resolution == ()
    assert plan.findings == ()
    (files,) = plan.pixel_sizes or ()
    assert (files.n_files, files.first_key) == (N, "img.00000.tif")
    assert files.size is not None
    assert (files.size.x_nm, files.size.told_by) == (4, TOLD)


def test_a_resolution_that_is_assumed_is_said_to_be(tmp_path: Path) -> None:
    assert planned(write_stack(tmp_path, None)).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.resolution_nm == (8, 8, 8)
    assert plan.voxel.source == "assumed, since no file tells it: --set resolution=NM"


def test_a_configured_resolution_is_used_and_a_contradiction_is_named(tmp_path: Path) -> None:
    source = write_stack(tmp_path, 4)
    assert planned(source, resolution="8").exit_code == 0
    plan = plan_of(tmp_path)
    assert (plan.resolution_nm, plan.voxel.source) == ((8, 8, 8), "as configured")
    (finding,) = plan.findings
    assert finding == (
        "resolution contradicts the files: configured are 8 x 8 nm a pixel, and the files tell 4 x 4 nm "
        f"({TOLD}); the configured one is used. Were the pictures not binned or resized, "
        "set resolution to [4, 4, 8]"
    )


@pytest.mark.parametrize("resolution", ["4", "[4, 4, 40]", "4.03"])
def test_what_agrees_with_the_files_is_no_finding(tmp_path: Path, resolution: str) -> None:
    assert planned(write_stack(tmp_path, 4), resolution=resolution).exit_code == 0
    assert plan_of(tmp_path).findings == ()


@pytest.mark.parametrize(("told_nm", "resolution"), [(4, "900"), (500, "4"), (4, "[4, 900, 4]")])
def test_a_resolution_that_can_only_be_in_another_unit_is_refused(
    tmp_path: Path, told_nm: float, resolution: str
) -> None:
    said = refusal(planned(write_stack(tmp_path, told_nm), resolution=resolution), 78)
    assert "'resolution' must be in nm, within 100 times what the files tell" in said
    assert f"{told_nm} x {told_nm} nm ({TOLD})" in said
    assert "or leave it out" in said


def test_a_size_that_changes_within_the_stack_is_named(tmp_path: Path) -> None:
    assert planned(write_stack(tmp_path, {0: 4, 1: 4, 2: 4, 3: 8})).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.resolution_nm == (4, 4, 4)
    (finding,) = plan.findings
    assert finding.startswith(f"the size of a pixel changes: 1 of 5 files tell 8 x 8 nm ({TOLD}), the first")
    assert "img.00003.tif" in finding


def test_a_second_plan_knows_the_files_sizes_without_their_headers(tmp_path: Path) -> None:
    source = write_stack(tmp_path, 4)
    planned(source)
    before = (tmp_path / "out/process/plan.json").read_bytes()
    assert planned(source).exit_code == 0
    assert (tmp_path / "out/process/plan.json").read_bytes() == before


def test_a_plan_of_a_version_that_did_not_look_is_made_anew(tmp_path: Path) -> None:
    source = write_stack(tmp_path, 4)
    planned(source, resolution="4")
    path = tmp_path / "out/process/plan.json"
    document = json.loads(path.read_bytes())
    del document["pixel_sizes"], document["findings"], document["crc32c"]
    path.write_text(json.dumps(document))
    assert plan_of(tmp_path).resolution_nm == (4, 4, 4)
    assert planned(source).exit_code == 0
    assert plan_of(tmp_path).pixel_sizes is not None


def test_a_volume_is_the_same_whether_its_resolution_is_configured_or_told(tmp_path: Path) -> None:
    source = write_stack(tmp_path, 4)
    hashes = []
    for changes in ({}, {"resolution": "4"}, {"resolution": "5"}):
        assert planned(source, **changes).exit_code == 0
        plan = plan_of(tmp_path)
        volume = expected_volume(plan)
        assert volume.resolution_nm == plan.resolution_nm
        hashes.append(block_hash(plan, volume, 0, 0, ["slab"]))
    assert hashes[0] == hashes[1] != hashes[2]


def test_design_says_where_the_resolution_comes_from(tmp_path: Path) -> None:
    source = write_stack(tmp_path, 4)
    given = ["--source", str(source), "--image", "img.%05d.tif", "--minz", "0", "--maxz", str(N - 1)]
    result = cli("design", *given, "--output", str(tmp_path / "out"))
    assert f"voxels of 4 x 4 x 4 nm (x and y from the files ({TOLD}), z assumed to be x)" in result.output
    result = cli("design", *given, "--output", str(tmp_path / "out"), "--set", "resolution=8", "--json")
    found = json.loads(result.stdout)
    assert found["voxel"]["origin"] == "configuration"
    assert found["voxel"]["told"]["x_nm"] == 4
    assert found["concerns"][0].startswith("resolution contradicts the files")
    assert not list(open_store(str(tmp_path / "out")).list())
