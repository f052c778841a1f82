"""Tags of JPEG and PNG that say how a picture is to be shown are applied, or refused by name."""

from __future__ import annotations

import io
import random
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.errors import UserError
from components.shared.pictures.formats import image_formats
from components.shared.pictures.formats.header import RefusedImageError
from components.shared.pictures.slice_files import read_header
from components.shared.storage.folder import FolderStore
from tests.tiff_file import short, tiff_file

GREY = np.add.outer(np.arange(24) * 3, np.arange(40) * 4).astype(np.uint8)
RGB = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
RAMP = bytes(level for level in range(256) for _ in range(3))


def exif(orientation: int) -> bytes:
    return tiff_file(({256: short(1), 274: short(orientation)}, []))


def jpeg(image: NDArray[Any] = GREY, quality: int = 100) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def jpeg_with_exif(data: bytes, tags: bytes) -> bytes:
    segment = b"Exif\0\0" + tags
    return data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png(image: NDArray[Any] = GREY) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def png_of_palette(palette: bytes, *more: bytes) -> bytes:
    height, width = GREY.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    body = [chunk(b"PLTE", palette), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(body)


def behind_header(data: bytes, *chunks: bytes) -> bytes:
    return data[:33] + b"".join(chunks) + data[33:]


def decoded(data: bytes) -> NDArray[Any]:
    """The picture of a file, whose header has told its size and type."""
    header = image_formats.header(io.BytesIO(data))
    image = image_formats.decode(data, header.image_format)
    told = (header.height_px, header.width_px, header.n_channels, header.sample_type)
    assert told == (*np.atleast_3d(image).shape, image.dtype.name)
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "rgb"])
def test_the_orientation_of_exif_is_shown_as_opencv_and_pillow_show_it(
    orientation: int, image: NDArray[Any]
) -> None:
    data = jpeg_with_exif(jpeg(image), exif(orientation))
    colour = cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR_RGB
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), colour).astype(int)
    assert np.abs(decoded(data).astype(int) - expected).max() <= 1
    pillow, ops = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageOps")
    data = behind_header(png(image), chunk(b"eXIf", exif(orientation)))
    expected = np.asarray(ops.exif_transpose(pillow.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decoded(data), expected)


@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"])
def test_fill_bytes_in_front_of_a_marker_change_nothing(marker: bytes) -> None:
    data = jpeg(RGB)
    filled = data.replace(marker, b"\xff\xff\xff" + marker, 1)
    np.testing.assert_array_equal(decoded(filled), decoded(data))


def test_a_header_has_4096_segments_at_most() -> None:
    """Comments are put in front of six: APP0, DQT, the frame header, two DHT and the header of the scan."""
    comment = b"\xff\xfe\0\2"
    data = jpeg()
    assert decoded(data[:2] + comment * 4090 + data[2:]).shape == GREY.shape
    with pytest.raises(RefusedImageError, match="without a frame header"):
        decoded(data[:2] + comment * 4091 + data[2:])


@pytest.mark.parametrize("n_levels", [256, 250])
@pytest.mark.parametrize("more", [(), (chunk(b"tRNS", bytes(9)),)], ids=["opaque", "transparent"])
def test_a_palette_of_greys_is_grey(n_levels: int, more: tuple[bytes, ...]) -> None:
    assert GREY.max() < n_levels
    np.testing.assert_array_equal(decoded(png_of_palette(RAMP[: 3 * n_levels], *more)), GREY)


def of_frame(marker: int) -> bytes:
    return jpeg().replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


CODING = "must be a baseline or progressive JPEG; got {}"
REFUSED = {
    "arithmetic coding": (of_frame(0xC9), CODING.format("arithmetic coding")),
    "progressive arithmetic coding": (of_frame(0xCA), CODING.format("arithmetic coding")),
    "lossless coding": (of_frame(0xC3), CODING.format("lossless coding")),
    "hierarchical coding": (of_frame(0xC5), CODING.format("hierarchical coding")),
    "JPEG-LS": (of_frame(0xF7), CODING.format("the coding of JPEG-LS")),
    "no height": (
        jpeg()[: jpeg().index(b"\xff\xc0") + 5] + b"\0\0" + jpeg()[jpeg().index(b"\xff\xc0") + 7 :],
        "must have its height in the header; got a JPEG of 0 rows",
    ),
    "fill bytes without end": (b"\xff\xd8" + b"\xff" * 5000, "without a frame header"),
    "markers without end": (b"\xff\xd8" + b"\xff\x01" * 5000, "without a frame header"),
    "orientation 9": (jpeg_with_exif(jpeg(), exif(9)), "must have an orientation of 1 to 8; got 9"),
    "damaged EXIF": (jpeg_with_exif(jpeg(), exif(6)[:20]), "must have sound EXIF tags; got damaged tags"),
    "EXIF that is none": (jpeg_with_exif(jpeg(), b"nothing"), "must have sound EXIF tags; got b'noth'"),
    "PNG of orientation 0": (behind_header(png(), chunk(b"eXIf", exif(0))), "orientation of 1 to 8; got 0"),
    "PNG with damaged EXIF": (behind_header(png(), chunk(b"eXIf", b"II*\0")), "must have sound EXIF tags"),
    "a palette of colours": (png_of_palette(RAMP[::-1]), "must be grey or RGB; got palette colours"),
    "no palette": (png_of_palette(b""), "must be grey or RGB; got palette colours"),
    "an animation": (
        behind_header(png(), chunk(b"acTL", (7).to_bytes(4, "big") + bytes(4))),
        "must hold one picture; got an animated PNG of 7",
    ),
    "chunks without end": (
        behind_header(png(), *[chunk(b"tEXt", b"")] * 5000),
        "must hold a picture; got more than 4,096 chunks in front of it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_applied_is_refused_by_name(tmp_path: Path, name: str) -> None:
    data, sentence = REFUSED[name]
    (tmp_path / "slice").write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_header(FolderStore(tmp_path), "slice", len(data))
    assert sentence in str(caught.value)
    assert "Copy" not in str(caught.value) or "sound JPEG" in sentence or "frame header" in sentence


def test_an_orientation_behind_the_picture_of_a_png_is_refused() -> None:
    upright, turned = (png()[:-12] + chunk(b"eXIf", exif(n)) + png()[-12:] for n in (1, 6))
    np.testing.assert_array_equal(decoded(upright), GREY)
    with pytest.raises(RefusedImageError, match="in front of the picture"):
        decoded(turned)


def test_damaged_files_end_in_a_refusal() -> None:
    chosen = random.Random(8)
    sound = [jpeg_with_exif(jpeg(RGB, 80), exif(6)), png_of_palette(RAMP), png(RGB)]
    for _ in range(1000):
        data = bytearray(chosen.choice(sound))
        for _ in range(chosen.randint(1, 3)):
            data[chosen.randrange(3, min(len(data), 700))] = chosen.choice([0, 1, 255, 0xC4, 0xDA])
        try:
            if 0 < image_formats.header(io.BytesIO(bytes(data))).picture_bytes < 10**7:
                decoded(bytes(data))
        except RefusedImageError:
            continue


def test_the_name_of_a_damaged_chunk_stays_in_the_line() -> None:
    data = behind_header(png(), bytes(4) + b"a\n\x1ab" + bytes(4))
    with pytest.raises(RefusedImageError) as caught:
        decoded(data)
    assert caught.value.got == r"a wrong checksum of its b'a\n\x1ab' part"
