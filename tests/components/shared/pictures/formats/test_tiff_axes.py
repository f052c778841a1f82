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


@pytest.mark.parametrize(
    ("pages", "is_taken"), [((0, 1, 2), True), ((0, 3, 4), True), ((0, 2, 1), False), ((0, 1, 1), False)]
)
def test_pages_that_ome_names_in_another_order_are_refused(pages: tuple[int, ...], is_taken: bool) -> None:
    data = "".join(f'<TiffData IFD="{page}" FirstZ="{z}"/>' for z, page in enumerate(pages))
    described = (
        f'<OME><Image ID="Image:0"><Pixels SizeZ="6" SizeC="1" SizeT="1">{data}</Pixels></Image></OME>'
    )
    options: dict[str, Any] = {"metadata": None, "description": described.encode()}
    if is_taken:
        assert axes(PAGES, **options).n_slices == 6
    else:
        with pytest.raises(RefusedImageError, match="must have its pages in their order"):
            axes(PAGES, **options)
