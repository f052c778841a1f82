"""Slices are read as they are, or refused with their name; never partly."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from components.shared.documents.plan import ChannelFile, Reading, SourceSlice
from components.shared.errors import UserError
from components.shared.pictures.grey_levels import value_range
from components.shared.pictures.slice_files import (
    read_channels,
    read_further_channel,
    read_header,
    read_numbers,
    read_slice,
)
from components.shared.storage.folder import FolderStore
from components.shared.storage.store import checksum

HEIGHT, WIDTH = 150, 203
GREYS = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))


def picture(dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(7)
    return rng.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH), endpoint=True).astype(dtype)


def png(image: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def tiff(image: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png_of_header(width: int, height: int, depth: int = 8, colour_type: int = 0) -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour_type, 0, 0, 0])
    body = png_chunk(b"IDAT", zlib.compress(b"\0" * 10))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def test_a_blank_slice_may_be_packed_as_small_as_it_can_be(tmp_path: Path) -> None:
    data = tiff(np.zeros((2048, 2048), np.uint8), compression="zstd")
    assert read_header(store_of(tmp_path, data), "slice", len(data)).width_px == 2048


def test_a_file_may_be_twice_its_picture_and_64_mib(tmp_path: Path) -> None:
    store, most = store_of(tmp_path, png(picture())), 2 * HEIGHT * WIDTH + 64 * 2**20
    assert read_header(store, "slice", most).width_px == WIDTH
    with pytest.raises(UserError, match="must not hold far more than its picture"):
        read_header(store, "slice", most + 1)


def store_of(folder: Path, data: bytes) -> FolderStore:
    (folder / "slice").write_bytes(data)
    return FolderStore(folder)


def entry_of(data: bytes, **changes: Any) -> SourceSlice:
    facts = {"z": 3, "key": "slice", "size_bytes": len(data), "width_px": WIDTH, "height_px": HEIGHT}
    return SourceSlice(**{**facts, **changes})


SOUND = {
    "png8": (png(picture()), picture()),
    "png16": (png(picture("uint16")), picture("uint16")),
    "tiff8": (tiff(picture()), picture()),
    "tiff16": (tiff(picture("uint16")), picture("uint16")),
    "tiff big-endian": (tiff(picture("uint16"), byteorder=">"), picture("uint16")),
    "tiff with white as 0": (tiff(~picture("uint16"), photometric="miniswhite"), picture("uint16")),
    "bigtiff": (tiff(picture(), bigtiff=True), picture()),
    "tiff tiles": (tiff(picture("uint16"), tile=(64, 64)), picture("uint16")),
    "tiff lzw": (tiff(picture(), compression="lzw", rowsperstrip=16), picture()),
    "tiff zstd": (tiff(picture("uint16"), compression="zstd", tile=(64, 64)), picture("uint16")),
    "tiff deflate": (tiff(picture("uint16"), compression="zlib", rowsperstrip=16), picture("uint16")),
    "tiff predictor": (tiff(picture(), compression="zlib", predictor=2, rowsperstrip=16), picture()),
    "tiff deflate tiles": (tiff(picture(), compression="zlib", tile=(64, 64)), picture()),
    "tiff with a grey palette": (tiff(picture(), photometric="palette", colormap=GREYS), picture()),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_slice_is_read_exactly(tmp_path: Path, name: str) -> None:
    data, expected = SOUND[name]
    store = store_of(tmp_path, data)
    header = read_header(store, "slice", len(data))
    assert (header.width_px, header.height_px, header.pixel_type) == (WIDTH, HEIGHT, str(expected.dtype))
    read = read_slice(store, entry_of(data, crc32c=checksum(data)), header.pixel_type)
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_grey_jpeg_is_read_as_opencv_reads_it(tmp_path: Path, progressive: int) -> None:
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    store = store_of(tmp_path, data)
    assert read_header(store, "slice", len(data)).image_format == "jpeg"
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read_slice(store, entry_of(data), "uint8"), expected)


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("name", SOUND)
def test_a_truncated_slice_is_refused(tmp_path: Path, name: str, fraction: float) -> None:
    data, expected = SOUND[name]
    cut = data[: int(len(data) * fraction)]
    with pytest.raises(UserError, match=r"slice\. Copy the slice again\."):
        read_slice(store_of(tmp_path, cut), entry_of(cut), str(expected.dtype))  # type: ignore[arg-type]


@pytest.mark.parametrize("position", np.linspace(0.05, 0.99, 12))
@pytest.mark.parametrize("name", ["png8", "png16", "tiff deflate"])
def test_a_flipped_bit_never_goes_unnoticed(tmp_path: Path, name: str, position: float) -> None:
    data, expected = SOUND[name]
    damaged = bytearray(data)
    damaged[int(len(data) * position)] ^= 0x10
    with pytest.raises(UserError, match=r"slice\. Copy the slice again\."):
        read_slice(store_of(tmp_path, bytes(damaged)), entry_of(data), str(expected.dtype))  # type: ignore[arg-type]


def read_as(folder: Path, data: bytes, image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape[:2]
    n_channels = image.shape[2] if image.ndim == 3 else 1
    entry = entry_of(data, width_px=width, height_px=height, n_channels=n_channels)
    (read,) = read_channels(store_of(folder, data), entry, str(image.dtype))  # type: ignore[arg-type]
    return read


SMALL = {
    "grey": picture()[:5, :7],
    "grey of 16 bit": picture("uint16")[:5, :7],
    "RGB": np.dstack([picture()[:5, :7]] * 3),
}


@pytest.mark.parametrize("name", SMALL)
def test_no_bit_of_a_png_can_flip_unnoticed(tmp_path: Path, name: str) -> None:
    data = png(SMALL[name])
    data = data[:33] + png_chunk(b"tEXt", b"Comment\0fine") + data[33:]
    np.testing.assert_array_equal(read_as(tmp_path, data, SMALL[name]), SMALL[name])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UserError, match=r"slice\. "):
            read_as(tmp_path, bytes(damaged), SMALL[name])


@pytest.mark.parametrize("name", SMALL)
def test_a_png_can_be_cut_nowhere(tmp_path: Path, name: str) -> None:
    data = png(SMALL[name])
    for n_bytes in range(len(data)):
        with pytest.raises(UserError, match=r"slice\. "):
            read_as(tmp_path, data[:n_bytes], SMALL[name])


@pytest.mark.parametrize(("name", "transparent"), [("grey", bytes(2)), ("RGB", bytes(6))])
def test_a_transparent_colour_of_a_png_is_a_colour(tmp_path: Path, name: str, transparent: bytes) -> None:
    data = png(SMALL[name])
    data = data[:33] + png_chunk(b"tRNS", transparent) + data[33:]
    np.testing.assert_array_equal(read_as(tmp_path, data, SMALL[name]), SMALL[name])


@pytest.mark.parametrize("fraction", [0.5, 0.98])
def test_a_truncated_jpeg_is_refused(tmp_path: Path, fraction: float) -> None:
    data = cv2.imencode(".jpg", picture())[1].tobytes()
    cut = data[: int(len(data) * fraction)]
    with pytest.raises(UserError, match="whole picture"):
        read_slice(store_of(tmp_path, cut), entry_of(cut), "uint8")


def test_a_tiff_strip_with_too_few_rows_is_refused(tmp_path: Path) -> None:
    data = tiff(picture(), compression="zlib", rowsperstrip=HEIGHT)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset, count = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    short = zlib.compress(picture()[: HEIGHT // 2].tobytes())
    data = data[:offset] + short.ljust(count, b"\0") + data[offset + count :]
    with pytest.raises(UserError, match=r"must (be|hold a) whole"):
        read_slice(store_of(tmp_path, data), entry_of(data), "uint8")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_a_tiff_strip_that_unpacks_without_end_is_refused(tmp_path: Path, compression: str) -> None:
    data = bytearray(tiff(picture(), compression=compression, rowsperstrip=HEIGHT))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset, count = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    bomb = getattr(imagecodecs, f"{compression}_encode")(bytes(20_000_000))
    assert len(bomb) < count
    data[offset : offset + count] = bomb.ljust(count, b"\0")
    with pytest.raises(UserError, match=r"a part holds more than its pixels|Destination buffer|Src size"):
        read_slice(store_of(tmp_path, bytes(data)), entry_of(data), "uint8")


def test_a_png_with_too_few_rows_is_refused(tmp_path: Path) -> None:
    data = png_of_header(WIDTH, HEIGHT)
    with pytest.raises(UserError, match="do not decode"):
        read_slice(store_of(tmp_path, data), entry_of(data), "uint8")


REFUSED_HEADERS = {
    "empty": (b"", "got an empty file"),
    "html": (b"<!DOCTYPE html><html>Sign in</html>", "must be a PNG, TIFF, JPEG or Janelia .dat file"),
    "mrc": (bytes(208) + b"MAP " + bytes(900), "got an MRC file in"),
    "bitmap": (b"BM6D" + bytes(900), "Export the slices as one of these, or copy this one again."),
    "palette": (png_of_header(4, 4, 8, 3), "must be grey or RGB; got palette colours"),
    "grey with alpha": (png_of_header(4, 4, 8, 4), "must be grey or RGB; got grey with alpha"),
    "1 bit": (png_of_header(4, 4, 1), "must have 8 or 16 bit; got 1 bit"),
    "too wide": (png_of_header(100_000, 10), "got 100,000 x 10 px"),
    "too large": (png_of_header(60_000, 60_000), "got 60,000 x 60,000 px"),
    "no area": (png_of_header(0, 5), "got 0 x 5 px"),
    "damaged header": (png(picture())[:18] + b"x" + png(picture())[19:], "wrong checksum"),
    "short header": (png(picture())[:20], "must begin with a PNG header"),
    "seventeen channels": (
        tiff(np.zeros((4, 4, 17), np.uint8), photometric="minisblack", planarconfig="contig"),
        "at most 16 channels; got a TIFF of 17 channels",
    ),
    "palette tiff": (
        tiff(picture(), photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        "must be RGB or grey, of at most 16 channels; got a TIFF of 1 channels, PALETTE",
    ),
    "inverted palette tiff": (
        tiff(picture(), photometric="palette", colormap=GREYS[:, ::-1]),
        "must be RGB or grey, of at most 16 channels; got a TIFF of 1 channels, PALETTE",
    ),
    "half float": (tiff(np.zeros((4, 4), np.float16)), "of 32 or 64; got float of 16 bit"),
    "64 bit": (tiff(np.zeros((4, 4), np.uint64)), "integers of 8, 16 or 32 bit, or floating point"),
    "complex": (tiff(np.zeros((4, 4), np.complex64)), "got COMPLEXIEEEFP of 64 bit"),
    "float with white as 0": (
        tiff(np.zeros((4, 4), np.float32), photometric="miniswhite"),
        "must have black as 0; got a TIFF of float32 with white as 0",
    ),
    "more than 4 GiB": (png_of_header(30_000, 30_000, 16, 6), "must have at most 4,294,967,296 bytes"),
    "pages": (tiff(np.zeros((2, 4, 4), np.uint8), photometric="minisblack"), "several pages"),
    "a thousandth": (png_of_header(9000, 9000), "at least 1/1,100 of its picture's bytes; got 68 bytes for"),
    "far more than its picture": (png(picture()) + bytes(70_000_000), "must not hold far more than its"),
    "large tiles": (tiff(picture(), tile=(4096, 4096), compression="zlib"), "no larger than the picture"),
    "tiff tags": (tiff(picture())[:6] + b"\xff\xff\xff\x7f" + tiff(picture())[10:], "damaged tags"),
    "jpeg stub": (b"\xff\xd8\xff\xe0\x00\x10", "without a frame header"),
}


@pytest.mark.parametrize("name", REFUSED_HEADERS)
def test_a_header_that_no_step_can_use_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    data, sentence = REFUSED_HEADERS[name]
    with pytest.raises(UserError) as caught:
        read_header(store_of(tmp_path, data), "slice", len(data))
    message = str(caught.value)
    assert sentence in message
    assert str(tmp_path / "slice") in message
    assert "\n" not in message


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_lzw_that_opencv_writes_is_read(tmp_path: Path, dtype: str) -> None:
    data = cv2.imencode(".tif", picture(dtype))[1].tobytes()
    assert tifffile.TiffFile(io.BytesIO(data)).pages.first.compression == tifffile.COMPRESSION.LZW
    read = read_slice(store_of(tmp_path, data), entry_of(data), dtype)
    np.testing.assert_array_equal(read, picture(dtype))


def test_an_lzw_strip_that_lost_its_middle_is_refused(tmp_path: Path) -> None:
    data = bytearray(tiff(picture(), compression="lzw"))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    with pytest.raises(UserError, match=r"must be whole|must hold a whole picture"):
        read_slice(store_of(tmp_path, bytes(data)), entry_of(bytes(data)), "uint8")


def test_a_slice_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    data = png(picture())
    store = store_of(tmp_path, data)
    with pytest.raises(UserError, match="planned size"):
        read_slice(store, entry_of(data, size_bytes=len(data) + 1), "uint8")
    with pytest.raises(UserError, match="planned crc32c 00000000"):
        read_slice(store, entry_of(data, crc32c="00000000"), "uint8")
    with pytest.raises(
        UserError, match=r"must be 203 x 150 px of uint16, as planned; got 203 x 150 px of uint8"
    ):
        read_slice(store, entry_of(data), "uint16")
    with pytest.raises(UserError, match="must be 9 x 150"):
        read_slice(store, entry_of(data, width_px=9), "uint8")


class CountingStore(FolderStore):
    read_bytes = 0

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        self.read_bytes += stop - start
        return super().read_range(key, start, stop)


@pytest.mark.parametrize(
    "data", [png(picture()), tiff(picture()), tiff(picture("uint16"), compression="zlib")]
)
def test_a_header_costs_a_few_kilobytes(tmp_path: Path, data: bytes) -> None:
    store = CountingStore(store_of(tmp_path, data)._root)
    read_header(store, "slice", len(data))
    assert 0 < store.read_bytes <= 2 * 4096


def test_a_tiff_directory_at_the_end_of_the_file_is_found(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(picture()).save(file, "TIFF", compression="tiff_adobe_deflate")
    data = file.getvalue()
    assert int.from_bytes(data[4:8], "little") > len(data) // 2
    store = CountingStore(store_of(tmp_path, data)._root)
    assert read_header(store, "slice", len(data)).width_px == WIDTH
    assert store.read_bytes < len(data) // 2
    np.testing.assert_array_equal(read_slice(store, entry_of(data), "uint8"), picture())


def colours(n_channels: int, dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(8)
    return rng.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, n_channels), endpoint=True).astype(dtype)


def rgb_png(image: NDArray[Any]) -> bytes:
    return png(image[:, :, [2, 1, 0, 3][: image.shape[2]]])


SEVERAL_CHANNELS = {
    "rgb png": (rgb_png(colours(3)), colours(3)),
    "rgba png": (rgb_png(colours(4)), colours(4)),
    "rgb png16": (rgb_png(colours(3, "uint16")), colours(3, "uint16")),
    "rgb tiff": (tiff(colours(3), photometric="rgb"), colours(3)),
    "rgba tiff16": (
        tiff(colours(4, "uint16"), photometric="rgb", compression="zlib", predictor=2),
        colours(4, "uint16"),
    ),
    "rgb tiff tiles": (tiff(colours(3), photometric="rgb", tile=(64, 64)), colours(3)),
    "rgb tiff planes": (
        tiff(np.moveaxis(colours(3), 2, 0), photometric="rgb", planarconfig="separate", rowsperstrip=16),
        colours(3),
    ),
    "two detectors": (
        tiff(colours(2, "uint16"), photometric="minisblack", planarconfig="contig"),
        colours(2, "uint16"),
    ),
}


@pytest.mark.parametrize("name", SEVERAL_CHANNELS)
def test_several_channels_are_read_in_their_order(tmp_path: Path, name: str) -> None:
    data, expected = SEVERAL_CHANNELS[name]
    store = store_of(tmp_path, data)
    header = read_header(store, "slice", len(data))
    assert (header.n_channels, header.pixel_type) == (expected.shape[2], str(expected.dtype))
    entry = entry_of(data, n_channels=header.n_channels)
    (read,) = read_channels(store, entry, header.pixel_type)
    np.testing.assert_array_equal(read, expected)
    aligned = read_slice(store, entry, header.pixel_type)
    luminance = (
        expected[:, :, :3] @ np.array([0.299, 0.587, 0.114]) if header.n_channels > 2 else expected[..., 0]
    )
    assert aligned.dtype == expected.dtype
    # OpenCV has 14 bits for the weights, and none for the rounding at 16 bit.
    assert np.abs(aligned - luminance).max() <= (1 if expected.dtype == np.uint8 else 4)


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", SEVERAL_CHANNELS)
def test_a_truncated_slice_of_several_channels_is_refused(tmp_path: Path, name: str, fraction: float) -> None:
    data, expected = SEVERAL_CHANNELS[name]
    cut = data[: int(len(data) * fraction)]
    entry = entry_of(cut, n_channels=expected.shape[2])
    with pytest.raises(UserError, match=r"slice\. Copy the slice again\."):
        read_channels(store_of(tmp_path, cut), entry, str(expected.dtype))  # type: ignore[arg-type]


def test_the_colours_of_a_jpeg_are_read(tmp_path: Path) -> None:
    image = cv2.GaussianBlur(colours(3), (0, 0), 5)
    data = cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes()
    store = store_of(tmp_path, data)
    assert read_header(store, "slice", len(data)).n_channels == 3
    (read,) = read_channels(store, entry_of(data, n_channels=3), "uint8")
    assert np.abs(read.astype(int) - image).mean() < 3


def test_a_slice_whose_channels_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    data = rgb_png(colours(3))
    with pytest.raises(UserError, match="uint8, as planned; got 203 x 150 px of uint8, 3 channels"):
        read_slice(store_of(tmp_path, data), entry_of(data), "uint8")


def test_further_channels_follow_the_slice(tmp_path: Path) -> None:
    data, more = png(picture()), rgb_png(colours(3))
    store = store_of(tmp_path, data)
    (tmp_path / "more").write_bytes(more)
    file = ChannelFile(key="more", size_bytes=len(more), n_channels=3)
    entry = entry_of(data, more_channels=(file,))
    first, second = read_channels(store, entry, "uint8")
    np.testing.assert_array_equal(first, picture())
    np.testing.assert_array_equal(second, colours(3))
    np.testing.assert_array_equal(read_further_channel(store, entry, 0, "uint8"), colours(3))
    np.testing.assert_array_equal(read_slice(store, entry, "uint8"), picture())


def test_a_file_that_was_written_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    data = png(picture())
    store = store_of(tmp_path, data)
    found = store.stat("slice")
    assert found is not None
    entry = entry_of(data, modified_ns=found.modified_ns)
    np.testing.assert_array_equal(read_slice(store, entry, "uint8"), picture())
    os.utime(tmp_path / "slice", ns=(0, 1))
    with pytest.raises(
        UserError, match=r"stay as it was planned; got a file that was written since.*Run fib"
    ):
        read_slice(store, entry, "uint8")


def test_a_header_that_arrives_damaged_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(picture())
    store = store_of(tmp_path, data)
    read_range, n_reads = FolderStore.read_range, 0

    def damaged_at_first(self: FolderStore, key: str, start: int, stop: int) -> bytes:
        nonlocal n_reads
        n_reads += 1
        read = bytearray(read_range(self, key, start, stop))
        if n_reads < 3:
            read[18] ^= 1  # in the width
        return bytes(read)

    monkeypatch.setattr(FolderStore, "read_range", damaged_at_first)
    assert read_header(store, "slice", len(data)).width_px == WIDTH
    assert n_reads == 3


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_signed_numbers_move_up_by_half_their_range(tmp_path: Path, dtype: str) -> None:
    unsigned = picture(f"u{dtype}")
    data = tiff((unsigned.astype(np.int32) + np.iinfo(dtype).min).astype(dtype))
    store = store_of(tmp_path, data)
    header = read_header(store, "slice", len(data))
    assert (header.sample_type, header.pixel_type) == (dtype, f"u{dtype}")
    np.testing.assert_array_equal(read_slice(store, entry_of(data), header.pixel_type), unsigned)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint32", "int32"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_wide_numbers_are_spread_over_16_bit(tmp_path: Path, dtype: str, byteorder: Any) -> None:
    levels = picture("uint16")
    data = tiff((levels.astype(np.float64) * 3 + 1000).astype(dtype), byteorder=byteorder, compression="zlib")
    store = store_of(tmp_path, data)
    header = read_header(store, "slice", len(data))
    assert (header.sample_type, header.pixel_type) == (dtype, "uint16")
    reading = Reading(values=((1000, 1000 + 3 * 65535),))
    np.testing.assert_array_equal(read_slice(store, entry_of(data), "uint16", reading), levels)
    numbers = read_numbers(store, entry_of(data), 0, "uint16", reading)
    assert (numbers.dtype.kind, float(numbers[3, 5])) == (np.dtype(dtype).kind, 1000 + 3 * int(levels[3, 5]))


def test_what_is_no_number_becomes_black(tmp_path: Path) -> None:
    image = picture("uint16").astype(np.float32)
    image[:9] = np.nan
    image[9], image[10] = np.inf, -np.inf
    image[:4] = np.array([0x7F800001], np.uint32).view(np.float32)  # a signalling NaN
    data = tiff(image)
    read = read_slice(store_of(tmp_path, data), entry_of(data), "uint16", Reading(values=((0, 65535),)))
    assert not read[:9].any()
    assert (read[9].min(), read[10].max()) == (65535, 0)
    np.testing.assert_array_equal(read[11:], picture("uint16")[11:])
    low, high = value_range([image, np.full_like(image, np.nan)])
    assert low == pytest.approx(-65535, rel=0.01)
    assert high == pytest.approx(2 * 65535, rel=0.01)
    assert value_range([np.full((9, 9), np.nan)]) == (0, 1)
    assert value_range([np.full((9, 9), 5.0)]) == (4, 6)
    assert value_range([np.full(9, 5.0), np.full(9, 2.0), np.full(9, 6.0)]) == (-2, 10)


@pytest.mark.parametrize("name", ["png8", "png16", "tiff tiles", "bigtiff"])
def test_the_part_that_is_used_is_cut_out(tmp_path: Path, name: str) -> None:
    data, expected = SOUND[name]
    reading = Reading(crop=(20, 5, 150, 100), invert=True)
    entry = entry_of(data, width_px=150, height_px=100)
    read = read_slice(store_of(tmp_path, data), entry, str(expected.dtype), reading)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read, ~expected[5:105, 20:170])


def test_the_slice_alone_is_inverted_and_alpha_never(tmp_path: Path) -> None:
    data, more = rgb_png(colours(4)), png(picture())
    store = store_of(tmp_path, data)
    (tmp_path / "more").write_bytes(more)
    file = ChannelFile(key="more", size_bytes=len(more), n_channels=1)
    entry = entry_of(data, n_channels=4, more_channels=(file,))
    first, second = read_channels(store, entry, "uint8", Reading(invert=True))
    np.testing.assert_array_equal(first[:, :, :3], ~colours(4)[:, :, :3])
    np.testing.assert_array_equal(first[:, :, 3], colours(4)[:, :, 3])
    np.testing.assert_array_equal(second, picture())
