"""What neuroglancer draws of a real output in a browser is what the volume holds, pixel for pixel."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.components.pyramid.pyramid_builders import (
    AlignedStack,
    halvings_of,
    reference_levels,
    textured,
)
from tests.e2e.browser import SIDE_PX, Browser, View
from tests.e2e.stack import Stack
from tests.e2e.volumes import through_tensorstore
from tests.web_page import CHROMIUM, NO_CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)

LEVELS = (0, 1)
BEYOND = 128
"""Neuroglancer's grey where there is no volume: unlike black, so that padding would show."""


@pytest.fixture(scope="module")
def browser(sample: Stack):
    browser = Browser(sample.output)
    yield browser
    browser.close()


def _voxels(output: Path, layer: str, level: int) -> np.ndarray:
    return through_tensorstore(output / "neuroglancer" / layer, level)


def _expected(voxels: np.ndarray, view: View) -> np.ndarray:
    """What the view must show."""
    x, y = view.first_xy
    inside = voxels[view.z, y : y + SIDE_PX, x : x + SIDE_PX]
    return np.pad(inside, [(0, SIDE_PX - n) for n in inside.shape], constant_values=BEYOND)


def _off_by(drawn: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(drawn.astype(int) - expected).max())


@pytest.mark.parametrize("layer", ["jpeg", "raw"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_middle_is_drawn_as_it_is(sample: Stack, browser: Browser, layer: str, level: int) -> None:
    voxels = _voxels(sample.output, layer, level)
    depth, height, width = voxels.shape
    view = View(layer, level, ((width - SIDE_PX) // 2, (height - SIDE_PX) // 2), depth // 2)
    drawn = browser.draw(view)
    assert drawn.std() > 10
    # JPEG's inverse transform may round differently in the browser.
    assert _off_by(drawn, _expected(voxels, view)) <= (1 if layer == "jpeg" else 0)


@pytest.mark.parametrize("layer", ["jpeg", "raw"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_clipped_chunk_at_the_border_is_drawn_as_it_is(
    sample: Stack, browser: Browser, layer: str, level: int
) -> None:
    voxels = _voxels(sample.output, layer, level)
    depth, height, width = voxels.shape
    view = View(layer, level, (width - 200, height - 200), depth - 1)
    drawn, expected = browser.draw(view), _expected(voxels, view)
    assert drawn[:200, :200].std() > 10
    # The viewer cuts every level at the bounds of level 0, through the last voxel of an odd side.
    _, full_height, full_width = _voxels(sample.output, layer, 0).shape
    if full_height % 2**level:
        expected[199] = drawn[199]
    if full_width % 2**level:
        expected[:, 199] = drawn[:, 199]
    assert _off_by(drawn, expected) <= (1 if layer == "jpeg" else 0)


@pytest.mark.parametrize("first_z", [16, 17], ids=["which info carries", "which it cannot"])
def test_a_slice_is_drawn_at_the_number_of_its_file(tmp_path: Path, first_z: int) -> None:
    stack = AlignedStack(tmp_path / "out", textured((6, SIDE_PX + 9, SIDE_PX + 9)), minz=first_z)
    stack.write_blocks()
    stack.write_info()
    browser = Browser(tmp_path / "out")
    try:
        for index in (0, 3, 5):
            drawn = browser.draw(View("raw", 0, (0, 0), first_z + index))
            np.testing.assert_array_equal(drawn, stack.voxels[index, :SIDE_PX, :SIDE_PX])
    finally:
        browser.close()


def test_a_slice_is_drawn_at_the_number_of_its_file_without_level_0(tmp_path: Path) -> None:
    """Slices 17 to 22, two in a voxel of the finest level: 17 and 18 in the first."""
    voxels = textured((6, 2 * SIDE_PX, 2 * SIDE_PX))
    stack = AlignedStack(tmp_path / "out", voxels, minz=17, output_level=1)
    stack.write_blocks()
    stack.write_info()
    (expected,) = reference_levels(voxels, halvings_of(stack.volume)[:2])[1:]
    middle = slice(SIDE_PX // 4, 3 * SIDE_PX // 4)
    browser = Browser(tmp_path / "out")
    try:
        for index in range(6):
            # A pixel is as wide as a slice is thick, half a voxel of this level.
            drawn = browser.draw(View("raw", 0, (0, 0), 17 + index))[::2, ::2]
            np.testing.assert_array_equal(drawn, expected[index // 2, middle, middle])
    finally:
        browser.close()


def test_the_sample_has_clipped_chunks_whose_jpeg_is_laid_out_otherwise(sample: Stack) -> None:
    heights = [_voxels(sample.output, "raw", level).shape[1] for level in LEVELS]
    assert any(height % 8 for height in heights), heights


@pytest.mark.parametrize("damage", ["no shards", "a voxel off"])
def test_a_broken_volume_is_told_from_a_whole_one(sample: Stack, tmp_path: Path, damage: str) -> None:
    """The control: the same comparison fails where it must."""
    folder = tmp_path / "neuroglancer/jpeg"
    shutil.copytree(sample.output / "neuroglancer/jpeg", folder)
    if damage == "no shards":
        shutil.rmtree(folder / "8x8x8")
    else:
        info = json.loads((folder / "info").read_text())
        info["scales"][0]["voxel_offset"][0] += 1
        (folder / "info").write_text(json.dumps(info))
    view = View("jpeg", 0, (200, 200), 20)
    broken = Browser(tmp_path)
    try:
        drawn = broken.draw(view)
    finally:
        broken.close()
    assert _off_by(drawn, _expected(_voxels(sample.output, "jpeg", 0), view)) > 50
