"""The formats of pictures, without a volume: large files by their headers, statistics, colours of 16 bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile

from commands.export.formats.mrc import MrcStack
from commands.export.formats.pictures import AboutPictures, GreyLevels
from commands.export.formats.tiff import OmeTiffStack, TiffSlices, TiffStack


def about(size_xyz: tuple[int, int, int], **changes: Any) -> AboutPictures:
    values: dict[str, Any] = {
        "size_xyz": size_xyz,
        "voxel_nm": (8.0, 8.0, 20.0),
        "data_type": "uint8",
        "n_channels": 1,
        "identity": "1",
        "slice_numbers": tuple(range(17, 17 + size_xyz[2])),
        **changes,
    }
    return AboutPictures(**values)


@pytest.mark.parametrize("kind", [TiffStack, OmeTiffStack])
@pytest.mark.parametrize(("depth", "is_big"), [(15, False), (17, True)])
def test_a_stack_beyond_4_gib_is_a_bigtiff_whose_places_hold(
    tmp_path: Path, kind: type[TiffStack], depth: int, is_big: bool
) -> None:
    """The file is written without its voxels, so that it takes no room on the disk."""
    path, of = tmp_path / "stack.tif", about((2**14, 2**14, depth))
    with path.open("w+b") as file:
        first_byte = kind().begin(file, of)
    assert path.stat().st_blocks * 512 < 2**20
    picture = np.full((2**14, 2**14), 7, np.uint8)
    with path.open("r+b") as file:
        file.seek(first_byte + (depth - 1) * of.picture_bytes)
        file.write(kind().stored(picture[:64]))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff == (is_big or kind is OmeTiffStack)
        assert (len(tiff.pages), tiff.series[0].shape) == (depth, (depth, 2**14, 2**14))
        offsets = [page.dataoffsets for page in tiff.pages]
        assert offsets == [(first_byte + z * of.picture_bytes,) for z in range(depth)]
        if kind is TiffStack:
            assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["spacing"]) == ("nm", 20)
            assert tiff.imagej_metadata["images"] == depth
        else:
            assert 'PhysicalSizeZ="20.0"' in tiff.ome_metadata


def test_colours_of_16_bit_are_plain_tiff_in_cm() -> None:
    picture = np.random.default_rng(0).integers(0, 2**16, (9, 11, 4), np.uint16)
    of = about((11, 9, 1), data_type="uint16", n_channels=4)
    with tifffile.TiffFile(io.BytesIO(TiffSlices().encode(picture, of))) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), picture)
        tags = tiff.pages[0].tags
        assert (tags["XResolution"].value, tags["ResolutionUnit"].value) == ((1250000, 1), 3)


@pytest.mark.parametrize("data_type", ["uint8", "uint16"])
def test_an_mrc_header_has_the_statistics_of_all_voxels(tmp_path: Path, data_type: Any) -> None:
    top = np.iinfo(data_type).max
    voxels = np.random.default_rng(1).integers(0, top, (3, 40, 50), data_type, endpoint=True)
    path, of, kind = tmp_path / "a.mrc", about((50, 40, 3), data_type=data_type), MrcStack()
    with path.open("w+b") as file:
        file.seek(kind.begin(file, of))
        file.writelines(kind.stored(picture) for picture in voxels)
        kind.finish(file, of, GreyLevels.of(voxels[0]) + GreyLevels.of(voxels[1:]))
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        shift = 128 if data_type == "uint8" else 0
        assert mrc.header.dmin == int(voxels.min()) - shift
        assert mrc.header.dmax == int(voxels.max()) - shift
        assert mrc.header.dmean == pytest.approx(voxels.mean() - shift)
        assert mrc.header.rms == pytest.approx(voxels.std())
        assert mrc.is_volume()


def test_imod_is_told_that_bytes_are_signed() -> None:
    """IMOD adds 128 where its stamp and the first of its flags say so; 16 bit have no sign."""
    for data_type, flags in (("uint8", 1), ("uint16", 0)):
        of = about((2, 2, 1), data_type=data_type)
        file, kind = io.BytesIO(), MrcStack()
        kind.begin(file, of)
        kind.finish(file, of, GreyLevels(0, 0, 4, 0, 0))
        assert np.frombuffer(file.getvalue()[152:160], "<i4").tolist() == [1146047817, flags]


def test_the_same_export_has_the_same_bytes_and_another_one_another_uuid() -> None:
    def file(identity: str) -> bytes:
        buffer = io.BytesIO()
        OmeTiffStack().begin(buffer, about((5, 4, 3), identity=identity))
        return buffer.getvalue()

    assert file("a") == file("a") != file("b")
