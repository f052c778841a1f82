"""Raw `.dat` images are read as the tables of their header say, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.documents.plan import SourceSlice
from components.shared.errors import UserError
from components.shared.pictures.slice_files import read_channels, read_header, read_slice
from components.shared.storage.folder import FolderStore
from tests.dat_file import FOOTER, dat

HEIGHT, WIDTH = 23, 37


def picture(dtype: str = "int16", n_channels: int = 2) -> NDArray[Any]:
    numbers = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    return rng.integers(numbers.min, numbers.max, (HEIGHT, WIDTH, n_channels), dtype, endpoint=True)


def store_of(folder: Path, data: bytes) -> FolderStore:
    (folder / "slice.dat").write_bytes(data)
    return FolderStore(folder)


def entry_of(data: bytes, n_channels: int) -> SourceSlice:
    size = {"width_px": WIDTH, "height_px": HEIGHT}
    return SourceSlice(z=3, key="slice.dat", size_bytes=len(data), n_channels=n_channels, **size)


@pytest.mark.parametrize("version", [1, 6, 9])
@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_16_bit_moves_up_by_half_its_range(tmp_path: Path, version: int, n_channels: int) -> None:
    numbers = picture("int16", n_channels)
    data = dat(numbers, version)
    store, entry = store_of(tmp_path, data), entry_of(data, n_channels)
    header = read_header(store, "slice.dat", len(data))
    assert (header.width_px, header.height_px, header.n_channels) == (WIDTH, HEIGHT, n_channels)
    assert (header.sample_type, header.pixel_type) == ("int16", "uint16")
    expected = (numbers.astype(int) + 32_768).astype(np.uint16)
    (read,) = read_channels(store, entry, "uint16")
    np.testing.assert_array_equal(np.atleast_3d(read), expected)
    if n_channels < 4:  # four are RGB and alpha
        np.testing.assert_array_equal(read_slice(store, entry, "uint16"), expected[:, :, 0])


def test_8_bit_stays_as_it_is(tmp_path: Path) -> None:
    numbers = picture("uint8", 1)
    data = dat(numbers)
    store = store_of(tmp_path, data)
    assert read_header(store, "slice.dat", len(data)).sample_type == "uint8"
    np.testing.assert_array_equal(read_slice(store, entry_of(data, 1), "uint8"), numbers[:, :, 0])


BROKEN = {
    "cut in the pixels": (dat(picture())[: -len(FOOTER) - 1], "must be whole"),
    "cut in the header": (dat(picture())[:900], "must begin with a whole .dat header"),
    "of a later version": (dat(picture(), version=10), "must have a .dat header of version 1 to 9"),
    "without channels": (dat(picture(), channels=0), "must have 1 to 16 channels"),
    "of no width": (dat(picture(), width=0), "must have sides of 1 to"),
    "of more pixels than it holds": (dat(picture(), width=2**31), "must be whole"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_header_tells_what_is_wrong(tmp_path: Path, name: str) -> None:
    data, rule = BROKEN[name]
    with pytest.raises(UserError, match=rule):
        read_header(store_of(tmp_path, data), "slice.dat", len(data))
