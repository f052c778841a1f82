"""The axes of a stack are those that its writer has described."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile

from components.shared.pictures.formats.header import RefusedImageError
from components.shared.pictures.formats.tiff_axes import StackAxes, stack_axes
from components.shared.pictures.formats.tiff_tags import directories

PAGES = np.zeros((6, 20, 30), np.uint8)
TWO_CHANNELS = PAGES.reshape(3, 2, 20, 30)


def axes(pages: np.ndarray, **options: Any) -> StackAxes:
    file = io.BytesIO()
    tifffile.imwrite(file, pages, photometric="minisblack", **options)
    return stack_axes(next(directories(file)), 6)


def lsm(n_slices: int, n_times: int) -> tuple[int, int, int, bytes]:
    """The tag of Zeiss' LSM, of pictures of one channel."""
    info = struct.pack("<2I6i", 0x400494C, 32, 30, 20, n_slices, 1, n_times, 1)
    return 34412, 1, len(info), info


@pytest.mark.parametrize(
    ("pages", "options", "n_slices", "n_channels"),
    [
        pytest.param(PAGES, {"metadata": None}, 6, 1, id="nothing said"),
        pytest.param(PAGES, {}, 6, 1, id="tifffile"),
        pytest.param(TWO_CHANNELS, {"imagej": True, "metadata": {"axes": "ZCYX"}}, 3, 2, id="ImageJ"),
        pytest.param(TWO_CHANNELS, {"ome": True, "metadata": {"axes": "ZCYX"}}, 3, 2, id="OME"),
        pytest.param(PAGES, {"metadata": None, "extratags": [lsm(6, 1)]}, 6, 1, id="LSM"),
    ],
)
def test_slices_and_channels_are_as_described(
    pages: np.ndarray, options: dict[str, Any], n_slices: int, n_channels: int
) -> None:
    found = axes(pages, **options)
    assert (found.n_slices, found.n_channels) == (n_slices, n_channels)


def test_times_are_refused() -> None:
    with pytest.raises(RefusedImageError):
        axes(PAGES, metadata=None, extratags=[lsm(3, 2)])
