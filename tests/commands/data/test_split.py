"""Stacks in one file become slices, pixel by pixel the same."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import Result
from numpy.typing import NDArray

from commands.data.main import main
from components.shared.storage.registry import open_store
from tests.builders import invoke


def stack_of(dtype: str, n_slices: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(4)
    return (rng.random((n_slices, 20, 30)) * 200 - 70 * (np.dtype(dtype).kind != "u")).astype(dtype)


def mrc(
    volume: NDArray[Any], mode: int, order: str = "<", extended: bytes = b"", imod_flags: int | None = None
) -> bytes:
    """An MRC file, written from the table of fields of MRC2014."""
    header = bytearray(1024)
    struct.pack_into(f"{order}4i", header, 0, *volume.shape[::-1], mode)
    struct.pack_into(f"{order}2f", header, 76, volume.min(), volume.max())
    struct.pack_into(f"{order}i", header, 92, len(extended))
    if imod_flags is not None:
        struct.pack_into(f"{order}2i", header, 152, 1146047817, imod_flags)
    header[208:216] = b"MAP " + (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    bottom_up = volume[:, ::-1].astype(volume.dtype.newbyteorder(order))
    return bytes(header) + extended + bottom_up.tobytes()


def split(file: Path, target: Path, *flags: str) -> Result:
    return invoke(main, "split", file, target, *flags)


def check(target: Path, volume: NDArray[Any]) -> None:
    names = sorted(path.name for path in target.iterdir())
    assert names == [f"slice.{z:05d}.tif" for z in range(len(volume))]
    for name, expected in zip(names, volume, strict=True):
        found = tifffile.imread(target / name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bigtiff": {"bigtiff": True},
    "deflate": {"compression": "zlib", "predictor": 2},
    "big-endian": {"byteorder": ">"},
    "imagej": {"imagej": True},
    "tiles": {"tile": (16, 16)},
}


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_pages_of_a_tiff(tmp_path: Path, name: str, dtype: str) -> None:
    volume = stack_of(dtype)
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack", **TIFFS[name])
    result = split(tmp_path / "stack.tif", tmp_path / "slices")
    assert result.exit_code == 0, result.output
    check(tmp_path / "slices", volume)
    assert result.output.endswith(f"--source {tmp_path}/slices --image slice.%05d.tif --minz 0 --maxz 2\n")


def test_a_large_stack_of_imagej_has_one_page_alone(tmp_path: Path) -> None:
    volume = stack_of("uint16")
    tifffile.imwrite(tmp_path / "stack.tif", volume[:1], imagej=True, byteorder=">")
    data = bytearray((tmp_path / "stack.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        offset = file.pages[0].dataoffsets[0]
        description = file.pages[0].tags["ImageDescription"]
        text = f"ImageJ=1.54f\nimages={len(volume)}\nslices={len(volume)}\n".encode()
        data[description.valueoffset : description.valueoffset + description.count] = text.ljust(
            description.count, b"\0"
        )
    (tmp_path / "stack.tif").write_bytes(bytes(data[:offset]) + volume.astype(">u2").tobytes())
    result = split(tmp_path / "stack.tif", tmp_path / "slices")
    assert result.exit_code == 0, result.output
    check(tmp_path / "slices", volume)


MRCS = {
    "signed bytes": ("int8", 0, {}),
    "bytes that older programs wrote": ("uint8", 0, {}),
    "unsigned bytes of IMOD": ("uint8", 0, {"imod_flags": 0}),
    "signed bytes of IMOD": ("int8", 0, {"imod_flags": 1}),
    "16 bit": ("uint16", 6, {}),
    "signed 16 bit, big-endian": ("int16", 1, {"order": ">"}),
    "floating point behind an extended header": ("float32", 2, {"extended": bytes(80)}),
}


@pytest.mark.parametrize("name", MRCS)
def test_the_slices_of_an_mrc_file(tmp_path: Path, name: str) -> None:
    dtype, mode, options = MRCS[name]
    volume = stack_of(dtype)
    (tmp_path / "stack.mrc").write_bytes(mrc(volume, mode, **options))
    result = split(tmp_path / "stack.mrc", tmp_path / "slices")
    assert result.exit_code == 0, result.output
    check(tmp_path / "slices", volume)


@pytest.mark.parametrize("name", ["stack.tif", "stack.mrc"])
def test_a_stack_in_a_bucket(bucket: str, tmp_path: Path, name: str) -> None:
    volume = stack_of("uint16")
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack")
    (tmp_path / "stack.mrc").write_bytes(mrc(volume, 6))
    store = open_store(f"gs://{bucket}/em")
    store.write(name, (tmp_path / name).read_bytes())
    arguments = ["split", f"{store.uri}/{name}", f"{store.uri}/slices"]
    result = invoke(main, *arguments)
    assert result.exit_code == 0, result.output
    for z, expected in enumerate(volume):
        found = tifffile.imread(io.BytesIO(store.read(f"slices/slice.{z:05d}.tif")))
        np.testing.assert_array_equal(found, expected)


def test_a_second_time_writes_nothing_and_another_stack_is_refused(tmp_path: Path) -> None:
    volume = stack_of("uint8")
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack")
    tifffile.imwrite(tmp_path / "other.tif", volume + 1, photometric="minisblack")
    assert split(tmp_path / "stack.tif", tmp_path / "slices").exit_code == 0
    (tmp_path / "slices/slice.00001.tif").unlink()
    written = (tmp_path / "slices/slice.00002.tif").stat().st_mtime_ns
    assert split(tmp_path / "stack.tif", tmp_path / "slices").exit_code == 0
    assert (tmp_path / "slices/slice.00002.tif").stat().st_mtime_ns == written
    check(tmp_path / "slices", volume)
    result = split(tmp_path / "other.tif", tmp_path / "slices")
    assert result.exit_code == 65
    assert "no file may be replaced" in result.output
    check(tmp_path / "slices", volume)


SOUND = mrc(stack_of("int16"), 1)
REFUSED = {
    "nothing.tif": (None, "a stack must be a file; got"),
    "page.html": (
        b"<html>",
        "must be a TIFF of several pages or an MRC file; got one that starts with b'<html>'",
    ),
    "cut.mrc": (SOUND[:-1], "must hold what its header says; got 4,623 bytes for 30 x 20 x 3 of int16"),
    "complex.mrc": (SOUND[:12] + b"\4" + SOUND[13:], "must be of mode 0, 1, 2, 6; got 4"),
    "negative.mrc": (b"\xff" * 12 + SOUND[12:], "must hold what its header says"),
    "stub.mrc": (b"", "must hold what its header says"),
    "tags.tif": (b"II*\0\xff\xff\xff\x7f", "must be a sound TIFF file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_stack_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    data, sentence = REFUSED[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    result = split(tmp_path / name, tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert sentence in result.output
    assert not list(tmp_path.glob("slices/*"))


def test_a_page_that_is_cut_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", stack_of("uint8"), photometric="minisblack", compression="zlib")
    data = bytearray((tmp_path / "stack.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        data[file.pages[1].dataoffsets[0] + 30] ^= 255
    (tmp_path / "stack.tif").write_bytes(data)
    result = split(tmp_path / "stack.tif", tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert "got page 1 (" in result.output


def test_a_pattern_must_name_a_number(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", stack_of("uint8"), photometric="minisblack")
    assert split(tmp_path / "stack.tif", tmp_path / "slices", "--image", "../%d").exit_code == 78
