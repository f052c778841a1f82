"""Slice numbers: the viewer's z is the number of the file; readers count as docs/your-data.md says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from commands.view.published import find_volumes
from commands.view.viewer import first_view
from tests.components.pyramid.pyramid_builders import AlignedStack, read_tensorstore, textured

SHAPE_ZYX = (6, 40, 300)
"""Four levels, so that info can carry multiples of 8."""


@pytest.fixture(params=[0, 16, 17], ids="first slice {}".format)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> AlignedStack:
    made = AlignedStack(tmp_path / "out", textured(SHAPE_ZYX), minz=request.param, raw_pyramid=False)
    made.write_blocks()
    made.write_info()
    return made


def test_the_viewer_shows_each_slice_at_its_number(stack: AlignedStack) -> None:
    output = stack.config.output
    volumes = find_volumes(output)
    state, _ = first_view(output, {volume.name: "http://here" for volume in volumes}, volumes)
    layer = state.to_json()["layers"][0]["source"][0]
    shift = layer["transform"]["matrix"][2][-1] if "transform" in layer else 0
    assert volumes[0].info["scales"][0]["voxel_offset"][2] + shift == stack.config.minz
    assert state.position[2] == stack.config.minz + SHAPE_ZYX[0] / 2


def test_readers_find_a_slice_where_the_documentation_says(stack: AlignedStack) -> None:
    cloudvolume = pytest.importorskip("cloudvolume")
    number, minz = stack.config.minz + 3, stack.config.minz
    expected = stack.voxels[3]
    uri = stack.plan.locations.chunk_uri
    voxels, (_, _, first) = read_tensorstore(uri, 0)
    assert first == (minz if minz % 8 == 0 else 0)
    np.testing.assert_array_equal(voxels[number - minz], expected)
    volume = cloudvolume.CloudVolume(f"file://{uri}", progress=False, parallel=1)
    z = int(number - minz + volume.voxel_offset[2])
    np.testing.assert_array_equal(np.asarray(volume[:, :, z])[..., 0, 0].T, expected)
