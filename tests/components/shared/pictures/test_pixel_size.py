"""The size of a pixel is read where microscopes and programs write it, in its unit, and nowhere else."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from components.shared.documents.plan import PixelSize
from components.shared.pictures.formats import tiff_tags as tags
from components.shared.pictures.formats.image_formats import header
from components.shared.pictures.pixel_size import told_in_texts
from tests.dat_file import dat

PICTURE = np.full((32, 32), 9, np.uint8)
FEI = b"[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=4e-09\r\nPixelHeight=5e-09\r\n\0"
ZEISS = (
    b"0\r\nAP_PIXEL_SIZE\r\nPixel Size = 8.000 nm\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 4.000 nm\r\n\0"
)
ZEISS_UM = ZEISS.replace(b"4.000 nm", b"0,004 \xb5m")
ZEISS_NUMBERS = b"0\r\n1\r\n2\r\n4e-09\r\n5\r\nDP_NAME\r\n"
TESCAN = b"\xff\xd8 a preview \0\0[MAIN]\r\nPixelSizeX=4e-009\r\nPixelSizeY=4e-009\r\n"
OME = '<OME xmlns="o"><Pixels PhysicalSizeX="4" PhysicalSizeXUnit="nm" PhysicalSizeY="0.004"/></OME>'


def tiff(**given: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PICTURE, **{"metadata": None, **given})
    return buffer.getvalue()


def with_tag(code: int, value: bytes) -> bytes:
    return tiff(extratags=[(code, "B", len(value), value, True)])


def imagej(unit: str, per_unit: float) -> bytes:
    return tiff(imagej=True, metadata={"unit": unit}, resolution=(per_unit, per_unit))


def per(unit: str, x: float, y: float | None = None) -> bytes:
    return tiff(resolution=(x, y or x), resolutionunit=unit)


def png(per_metre: int, unit: int = 1) -> bytes:
    data = cv2.imencode(".png", PICTURE)[1].tobytes()
    chunk = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, unit)
    return data[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def raw(version: int, kind: str, place: int) -> bytes:
    data = bytearray(dat(PICTURE[:, :, None], version))
    struct.pack_into(kind, data, place, 4)
    return bytes(data)


def told(data: bytes) -> PixelSize | None:
    return header(io.BytesIO(data)).pixel_size


@pytest.mark.parametrize(
    ("data", "x_nm", "y_nm", "told_by"),
    [
        (with_tag(34682, FEI), 4, 5, "FEI tag 34682, PixelWidth"),
        (with_tag(34680, FEI), 4, 5, "FEI tag 34680, PixelWidth"),
        (with_tag(34118, ZEISS), 4, 4, "Zeiss tag 34118, Image Pixel Size"),
        (with_tag(34118, ZEISS_UM), 4, 4, "Zeiss tag 34118, Image Pixel Size"),
        (with_tag(34118, ZEISS_NUMBERS), 4, 4, "Zeiss tag 34118, fourth number"),
        (with_tag(50431, TESCAN), 4, 4, "TESCAN tag 50431, PixelSizeX"),
        (tiff(description=OME.encode()), 4, 4, "OME-XML, PhysicalSizeX"),
        (imagej("nm", 0.25), 4, 4, "ImageJ, unit nm"),
        (imagej("um", 250), 4, 4, "ImageJ, unit um"),
        (imagej("micron", 250), 4, 4, "ImageJ, unit micron"),
        (imagej("\\u00B5m", 250), 4, 4, "ImageJ, unit \\u00B5m"),
        (imagej("cm", 2_500_000), 4, 4, "ImageJ, unit cm"),
        (imagej("inch", 6_350_000), 4, 4, "ImageJ, unit inch"),
        (per("CENTIMETER", 2_500_000, 2_000_000), 4, 5, "tags 282 and 283, XResolution and YResolution"),
        (per("INCH", 6_350_000), 4, 4, "tags 282 and 283, XResolution and YResolution"),
        (png(250_000_000), 4, 4, "PNG's pHYs"),
        (raw(1, ">d", 416), 4, 4, "header of the .dat file, PixelSize"),
        (raw(8, ">f", 464), 4, 4, "header of the .dat file, PixelSize"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_size_is_read_in_its_unit(data: bytes, x_nm: float, y_nm: float, told_by: str) -> None:
    assert told(data) == PixelSize(x_nm=x_nm, y_nm=y_nm, told_by=told_by)


@pytest.mark.parametrize(
    "data",
    [
        tiff(),
        per("INCH", 72),
        per("INCH", 300),
        per("NONE", 0.25),
        imagej("pixel", 1),
        imagej("furlong", 4),
        with_tag(34682, FEI.replace(b"4e-09", b"0")),
        with_tag(34682, FEI.replace(b"4e-09", b"nan")),
        with_tag(34682, b"\xff\0" * 500),
        with_tag(34118, ZEISS.replace(b"Size", b"Sise")),
        tiff(description=OME.replace("nm", "mile").encode()),
        png(2835),
        png(250_000_000, unit=0),
        raw(8, ">f", 416),
        cv2.imencode(".jpg", PICTURE)[1].tobytes(),
    ],
)
def test_what_is_no_size_of_an_electron_microscopes_pixel_is_none(data: bytes) -> None:
    assert told(data) is None


def test_a_microscopes_own_entry_counts_before_the_general_resolution() -> None:
    data = tiff(
        extratags=[(34682, "B", len(FEI), FEI, True)], resolution=(1_000_000, 1_000_000), resolutionunit=3
    )
    size = told(data)
    assert size is not None
    assert (size.x_nm, size.y_nm) == (4, 5)


@pytest.mark.parametrize(
    "text", ['<OME><Pixels PhysicalSizeX="1.0" PhysicalSizeY="1.0"/></OME>', "ImageJ=1.53t\nunit=um"]
)
def test_a_pixel_of_one_unit_is_what_programs_write_that_know_none(text: str) -> None:
    assert told_in_texts({tags.DESCRIPTION: text}, (1.0, 1.0), 1) is None
    assert told_in_texts({tags.DESCRIPTION: text.replace("1.0", "0.5")}, (2.0, 2.0), 1) is not None


def test_a_long_number_is_read_soon() -> None:
    text = "Pixel Size = " + "7" * 200_000
    started = time.process_time()
    told_in_texts({tags.ZEISS_SEM: text}, None, 2)
    assert time.process_time() - started < 2
