from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage import exposure

from components.shared.documents.plan import PixelType
from components.shared.documents.transforms import FillLevel, GreyLine, SliceTransform
from components.shared.pictures.streaks import without_streaks
from components.shared.volume.volume import TileArray
from components.tile.contrast import channels_of, equalized, slice_channels, to_uint8

RGBA = TileArray(key="rgba", data_type="uint8", n_channels=4)


def texture(height: int = 320, width: int = 400) -> NDArray[np.uint8]:
    """Blobs with a gradient of brightness, 40..200."""
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(height, width)), 3)
    grey = 120 + 25 * noise / noise.std() + np.linspace(-20, 20, width)
    return np.clip(grey, 40, 200).astype(np.uint8)


def test_no_clip_limit_is_no_change() -> None:
    np.testing.assert_array_equal(equalized(texture(), 0), texture())


@pytest.mark.parametrize(("clip_limit", "most_grey_levels"), [(0.01, 4.0), (0.02, 1.0), (0.05, 1.0)])
def test_the_clip_limit_means_what_it_means_in_scikit_image(
    clip_limit: float, most_grey_levels: float
) -> None:
    ours = equalized(texture(), clip_limit).astype(float)
    theirs = exposure.equalize_adapthist(texture(), clip_limit=clip_limit) * 255
    assert np.abs(ours - theirs).mean() < most_grey_levels
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.997


def test_the_clip_limit_is_a_share_of_the_pixels_of_an_eighth_of_the_side() -> None:
    """Of 64 x 64 px of a region, 0.01 is 40 a grey level; OpenCV wants it in units of a 256th."""
    picture = cv2.resize(texture(), (512, 512))
    theirs = cv2.createCLAHE(clipLimit=0.01 * 256, tileGridSize=(8, 8)).apply(picture)
    np.testing.assert_array_equal(equalized(picture, 0.01), theirs)


def test_contrast_grows_with_the_clip_limit() -> None:
    contrast = [equalized(texture(), clip_limit).std() for clip_limit in (0, 0.004, 0.008, 0.016, 0.03)]
    assert contrast == sorted(contrast)
    assert contrast[-1] > 1.5 * contrast[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (9, 9), (65, 33)])
def test_any_size_is_equalized(shape: tuple[int, int]) -> None:
    result = equalized(texture()[: shape[0], : shape[1]].copy(), 0.02)
    assert (result.shape, result.dtype) == (shape, np.uint8)


def test_8_bit_keeps_its_grey_levels() -> None:
    np.testing.assert_array_equal(to_uint8(texture(), (60, 70)), texture())


@given(low=st.floats(0, 60_000), width=st.floats(1, 60_000))
def test_16_bit_is_mapped_linearly_clipped_and_rounded(low: float, width: float) -> None:
    grey = np.arange(0, 2**16, 37, dtype=np.uint16)[None]
    result = to_uint8(grey, (low, low + width)).astype(float)
    exact = np.clip((grey - low) / width * 255, 0, 255)
    assert np.abs(result - exact).max() <= 0.5 + 1e-6


def test_a_range_without_width_does_not_fail() -> None:
    assert to_uint8(np.array([[6, 7, 9]], np.uint16), (7, 7)).tolist() == [[0, 0, 255]]


def test_of_colours_the_luminance_is_equalised() -> None:
    grey = texture()
    colours = np.stack([grey, grey // 2, 255 - grey], axis=2)
    found = equalized(colours, 0.02).astype(int)
    luminance = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    shown = cv2.cvtColor(found.astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(int)
    inside = (found.min(axis=2) > 0) & (found.max(axis=2) < 255)  # no colour was clipped
    assert inside.mean() > 0.3
    assert np.abs(shown - equalized(luminance, 0.02))[inside].max() <= 2
    # What is added to a pixel is the same for its three colours.
    added = (found - colours)[inside]
    assert np.abs(added - added.mean(axis=1, keepdims=True)).max() <= 3


def test_other_channels_are_equalised_one_by_one() -> None:
    both = np.stack([texture(), np.flipud(texture())], axis=2)
    found = equalized(both, 0.02)
    for channel in range(2):
        np.testing.assert_array_equal(found[:, :, channel], equalized(both[:, :, channel].copy(), 0.02))


def test_alpha_keeps_its_meaning() -> None:
    rgba = np.dstack([texture()] * 3 + [np.full_like(texture(), 90)])
    *colours, alpha = channels_of(RGBA, rgba, (0, 255), 0.02, invert=True)
    assert set(alpha.ravel()) == {90}
    assert np.abs(colours[0].astype(int) - equalized(255 - texture(), 0.02)).max() <= 2


def test_raw_grey_levels_are_not_touched_by_the_mapping() -> None:
    raw = texture().astype(np.uint16) * 200
    deep = TileArray(key="deep", data_type="uint16", n_channels=1)
    (found,) = channels_of(deep, raw, (10_000, 30_000), 0.02, invert=False)
    np.testing.assert_array_equal(found, raw)
    (inverted,) = channels_of(deep, raw, (10_000, 30_000), 0.02, invert=True)
    np.testing.assert_array_equal(inverted, 40_000 - raw)


@pytest.mark.parametrize("data_type", ["uint8", "uint16"])
@pytest.mark.parametrize("padding_level", [None, 7])
def test_padding_of_the_aligned_channel_alone_becomes_black(
    data_type: PixelType, padding_level: int | None
) -> None:
    """A second channel is dark where the first is padding, and means it."""
    aligned, second = texture(), texture()[::-1].copy()
    aligned[:20] = second[:30] = 7
    fill = () if padding_level is None else (FillLevel(level=padding_level, share=0.1, is_padding=True),)
    shown = SliceTransform(
        z=0, uri="", matrix=np.eye(3).tolist(), verdict="good", action="keep", replaced_from=None,
        n_edges=2, edge_weight=1.0, residual_px=0.0, fill=fill,
    )  # fmt: skip
    tiles = TileArray(key="two", data_type=data_type, n_channels=2)
    files = [picture.astype(data_type) for picture in (aligned, second)]
    shows = list(slice_channels(tiles, files, [(0.0, 255.0)] * 2, 0, shown))
    expected = [np.where(aligned == padding_level, 0, aligned), second]
    np.testing.assert_array_equal(shows, expected)
    assert [channel.dtype for channel in shows] == [data_type] * 2


@pytest.mark.parametrize("data_type", ["uint8", "uint16"])
def test_a_grey_line_is_for_what_is_looked_at_of_the_aligned_channel(data_type: PixelType) -> None:
    picture = texture().astype(data_type)
    line = GreyLine(gain=1.2, offset=-30)
    shown = SliceTransform(
        z=0, uri="", matrix=np.eye(3).tolist(), verdict="good", action="keep", replaced_from=None,
        n_edges=2, edge_weight=1.0, residual_px=0.0, grey_line=line,
    )  # fmt: skip
    expected = np.clip(np.rint(picture * 1.2 - 30), 0, 255)
    for seen_as, first in (("uint8", expected), ("uint16", picture)):
        tiles = TileArray(key="two", data_type="uint8" if seen_as == "uint8" else "uint16", n_channels=2)
        files = [picture, picture]
        aligned, second = slice_channels(tiles, files, [(0.0, 255.0)] * 2, 0, shown)
        np.testing.assert_array_equal(aligned, first)
        np.testing.assert_array_equal(second, picture)


def test_alpha_has_no_grey_line() -> None:
    rgba = np.dstack([texture()] * 3 + [np.full_like(texture(), 90)])
    *colours, alpha = channels_of(RGBA, rgba, (0, 255), 0, invert=False, line=GreyLine(gain=1, offset=7))
    assert set(alpha.ravel()) == {90}
    np.testing.assert_array_equal(colours[1], texture() + 7)


def test_the_edge_of_padding_is_no_streak() -> None:
    whole = texture()
    picture = whole.copy()
    picture[:, :60] = 0
    fill = FillLevel(level=0, share=60 / picture.shape[1], is_padding=True)
    shown = SliceTransform(
        z=0, uri="", matrix=np.eye(3).tolist(), verdict="good", action="keep", replaced_from=None,
        n_edges=2, edge_weight=1.0, residual_px=0.0, filtered_streaks="y", fill=(fill,),
    )  # fmt: skip
    tiles = TileArray(key="one", data_type="uint8", n_channels=1)
    (filtered,) = slice_channels(tiles, [picture], [(0.0, 255.0)], 0, shown)
    assert not filtered[:, :60].any()
    beside = slice(60, 64)
    expected = without_streaks(whole, "y")[:, beside].astype(float)
    assert np.abs(filtered[:, beside] - expected).mean() < 5
    assert np.abs(without_streaks(picture, "y")[:, beside] - expected).mean() > 8


def test_streaks_are_filtered_of_what_is_looked_at_of_the_aligned_channel() -> None:
    picture = texture()
    shown = SliceTransform(
        z=0, uri="", matrix=np.eye(3).tolist(), verdict="good", action="keep", replaced_from=None,
        n_edges=2, edge_weight=1.0, residual_px=0.0, filtered_streaks="y",
    )  # fmt: skip
    tiles = TileArray(key="two", data_type="uint8", n_channels=2)
    aligned, second = slice_channels(tiles, [picture, picture], [(0.0, 255.0)] * 2, 0, shown)
    np.testing.assert_array_equal(aligned, without_streaks(picture, "y"))
    np.testing.assert_array_equal(second, picture)
    deep = TileArray(key="deep", data_type="uint16", n_channels=1)
    raw = np.asarray(picture.astype(np.uint16) * 200, np.uint16)
    np.testing.assert_array_equal(next(slice_channels(deep, [raw], [(0.0, 255.0)], 0, shown)), raw)
