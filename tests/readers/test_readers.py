"""Volumes as napari, webknossos and validators of OME-Zarr see them, in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.components.pyramid.pyramid_builders import AlignedStack, textured

PYTHON = Path(__file__).parents[2] / "build/readers/bin/python"
READING = Path(__file__).with_name("reading.py")
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(),
    reason=f"there is no {PYTHON}: make test-readers installs napari, webknossos and more",
)
SHAPE = (70, 200, 300)
POINTS = [[0, 0, 0], [17, 130, 64], [69, 199, 299]]
IMAGE = {"0.5": "ome-zarr", "0.6": "ome-zarr/volume"}
"""Folder of the image of each version of OME-Zarr."""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An output with every volume for each version of OME-Zarr, whose voxels are not cubes."""
    folders = {}
    for version in IMAGE:
        folders[version] = tmp_path_factory.mktemp("out") / version
        settings: dict[str, Any] = {"ome_zarr": True, "ome_zarr_version": version}
        stack = AlignedStack(
            folders[version], textured(SHAPE), resolution=(4.0, 4.0, 16.0), minz=17, **settings
        )
        stack.write_blocks()
        stack.write_info()
    return folders


def run(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, READING, program, path, json.dumps(POINTS)]
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def seen(program: str, path: Path) -> dict[str, Any]:
    ended = run(program, path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def check_voxels(found: dict[str, Any]) -> None:
    voxels = textured(SHAPE)
    assert found["shape"] == list(SHAPE)
    assert found["values"] == [int(voxels[z, y, x]) for z, y, x in POINTS]


@pytest.mark.parametrize("version", IMAGE)
def test_napari_shows_the_voxels_at_their_size(outputs: dict[str, Path], version: str) -> None:
    found = seen("napari", outputs[version] / IMAGE[version])
    check_voxels(found)
    assert (found["voxel_zyx"], found["units"]) == ([16, 4, 4], ["nanometer"] * 3)
    assert found["n_levels"] > 2


@pytest.mark.parametrize("volume", ["ome-zarr", "chunk", "neuroglancer/raw"])
def test_webknossos_imports_the_voxels(outputs: dict[str, Path], volume: str) -> None:
    check_voxels(seen("webknossos", outputs["0.5"] / volume))


def test_webknossos_does_not_read_version_0_6_yet(outputs: dict[str, Path]) -> None:
    ended = run("webknossos", outputs["0.6"] / IMAGE["0.6"])
    assert ended.returncode != 0
    assert "only 0.4, 0.5 are supported" in ended.stderr


@pytest.mark.parametrize("version", IMAGE)
def test_metadata_pass_the_schemas_of_the_specification(outputs: dict[str, Path], version: str) -> None:
    assert seen("schema", outputs[version] / IMAGE[version]) == {"version": version}


@pytest.mark.parametrize("version", IMAGE)
def test_ngff_zarr_reads_the_voxels_at_their_size(outputs: dict[str, Path], version: str) -> None:
    found = seen("ngff_zarr", outputs[version] / IMAGE[version])
    check_voxels(found)
    assert found["voxel_zyx"] == [16, 4, 4]


def test_the_scene_passes_its_schema_and_is_read(outputs: dict[str, Path]) -> None:
    root = outputs["0.6"] / "ome-zarr"
    assert seen("schema", root) == {"version": "0.6"}
    assert seen("scene", root)["placed"] == ["intrinsic", *(f"slice {z}" for z in range(17, 17 + SHAPE[0]))]


def test_the_other_validators_take_version_0_5(outputs: dict[str, Path]) -> None:
    root = outputs["0.5"] / IMAGE["0.5"]
    assert seen("ome_zarr_models", root) == {"kind": "Image", "version": "0.5"}
    assert seen("yaozarrs", root) == {}
