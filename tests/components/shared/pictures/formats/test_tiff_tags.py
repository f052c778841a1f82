"""The tags of a TIFF are those that tifffile reads; a damaged directory ends in one sentence."""

from __future__ import annotations

import io
import struct
from typing import Any, Literal

import numpy as np
import pytest
import tifffile

from components.shared.pictures.formats import tiff_tags
from components.shared.pictures.formats.header import RefusedImageError
from components.shared.pictures.formats.tiff_tags import Directory, Tag, directories, full_pages

PICTURE = np.arange(600, dtype=np.uint8).reshape(20, 30)


def written(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PICTURE, **options)
    return file.getvalue()


def directory(*entries: tuple[int, int, int, bytes], after: int = 0) -> bytes:
    """A TIFF of one directory of tags: code, type, count, and the four bytes of the value or its place."""
    table = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<I", after)


def first(data: bytes) -> Directory:
    return next(directories(io.BytesIO(data)))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_values_are_those_that_tifffile_reads(byteorder: Literal["<", ">"], bigtiff: bool) -> None:
    data = written(
        byteorder=byteorder,
        bigtiff=bigtiff,
        rowsperstrip=3,
        resolution=(125000.0, 250.5),
        resolutionunit="CENTIMETER",
        description="ein Bild",
        metadata=None,
        software="a microscope",
        extratags=[(34682, 2, 0, "[Scan]\nPixelWidth=8e-9\n"), (65000, 12, 2, (1.5, -2.0))],
    )
    page, (expected,) = first(data), tifffile.TiffFile(io.BytesIO(data)).pages
    assert page.integer(tiff_tags.WIDTH) == 30
    assert page.integers(tiff_tags.STRIP_OFFSETS) == expected.dataoffsets
    assert page.integers(tiff_tags.STRIP_BYTES) == expected.databytecounts
    assert page.texts(tiff_tags.DESCRIPTION) == ["ein Bild"]
    assert page.texts(tiff_tags.FEI_HELIOS) == ["[Scan]\nPixelWidth=8e-9\n"]
    assert page.array(tiff_tags.X_RESOLUTION)[0] == pytest.approx(125000)
    assert page.array(tiff_tags.Y_RESOLUTION)[0] == pytest.approx(250.5)
    assert page.integer(tiff_tags.RESOLUTION_UNIT) == 3
    assert page.array(Tag(65000, "two numbers", "")).tolist() == [1.5, -2.0]
    assert tiff_tags.COLOR_MAP not in page
    assert page.integers(tiff_tags.COLOR_MAP, (7,)) == (7,)
    assert (page.texts(tiff_tags.ZEISS_SEM), page.count(tiff_tags.ZEISS_SEM)) == ([], 0)


def test_reduced_pages_and_masks_are_no_pictures() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for kind in (1, 0, 4, 2, 1):
            picture = PICTURE[: 10 + kind] > 99 if kind == 4 else PICTURE[: 10 + kind]
            writer.write(picture, subfiletype=kind, photometric="minisblack")
    assert [page.integer(tiff_tags.HEIGHT) for page in full_pages(file)] == [10, 12]


@pytest.mark.parametrize("n_reduced", [1, 70])
def test_a_file_of_reduced_pages_alone_is_refused(n_reduced: int) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(n_reduced):
            writer.write(PICTURE, subfiletype=1, photometric="minisblack")
    with pytest.raises(RefusedImageError, match="must hold a picture in full size"):
        list(full_pages(file))


SHORT_1 = b"\1\0\0\0"
DAMAGED = {
    "no page": (b"II*\0\0\0\0\0", "no page"),
    "no offset": (b"II*\0", "the header lies beyond the end"),
    "page beyond the end": (b"MM\0*\xff\xff\xff\xff", "a page lies beyond the end"),
    "bigtiff of other offsets": (b"II+\0\x04\0\0\0" + bytes(20), "offsets of another size"),
    "bigtiff of a place that no file has": (b"II+\0\x08\0\0\0" + b"\xff" * 8, "beyond the end"),
    "no tags": (directory(), "a page of 0 tags"),
    "65,535 tags": (b"II*\0\x08\0\0\0\xff\xff" + bytes(70_000), "a page of 65,535 tags"),
    "leads back": (directory((256, 3, 1, SHORT_1), after=8), "leads back"),
    "value beyond the end": (directory((256, 4, 4, b"\xf0\xff\xff\xff")), "ImageWidth has 4 values"),
    "a huge value": (directory((273, 4, 2**32 - 1, bytes(4))), "StripOffsets has 17,179,869,180 bytes"),
    "text for a number": (directory((256, 2, 1, b"7\0\0\0")), "ImageWidth is a text"),
    "a fraction": (directory((256, 11, 1, struct.pack("<f", 7))), "ImageWidth is no integer"),
    "no width": (directory((257, 3, 1, SHORT_1)), "ImageWidth is missing"),
    "two widths": (
        directory((256, 3, 1, SHORT_1), (256, 3, 1, b"\2\0\0\0")),
        "ImageWidth stands there twice",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tags_end_in_a_sentence(name: str) -> None:
    data, reason = DAMAGED[name]

    def read_all() -> None:
        for page in directories(io.BytesIO(data)):
            page.integers(tiff_tags.STRIP_OFFSETS)
            page.integer(tiff_tags.WIDTH)

    with pytest.raises(RefusedImageError) as caught:
        read_all()
    assert reason in caught.value.got


def test_a_description_may_stand_there_twice() -> None:
    page = first(written(description="a slice"))
    assert page.texts(tiff_tags.DESCRIPTION) == ["a slice", '{"shape": [20, 30]}']
    assert page.texts(tiff_tags.DESCRIPTION, 10) == ["a slice"]
    assert page.data(tiff_tags.DESCRIPTION) == b"a slice\0"


def test_a_tag_of_an_unknown_type_is_skipped() -> None:
    page = first(directory((256, 99, 1, SHORT_1), (257, 3, 1, SHORT_1)))
    assert tiff_tags.WIDTH not in page
    assert page.integer(tiff_tags.HEIGHT) == 1


def test_no_two_tags_have_one_code() -> None:
    codes = [tag.code for tag in tiff_tags.all_tags()]
    assert codes == sorted(set(codes))


def test_a_directory_has_4096_tags_at_most() -> None:
    entries = [(code, 3, 1, b"\1\0\0\0") for code in range(256, 256 + 4097)]
    assert first(directory(*entries[:4096])).integer(tiff_tags.WIDTH) == 1
    with pytest.raises(RefusedImageError, match="a page of 4,097 tags"):
        first(directory(*entries))
