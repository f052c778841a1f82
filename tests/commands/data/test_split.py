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
from components.shared.documents.plan import SourceSlice
from components.shared.pictures.slice_files import read_channels, read_header
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from tests.builders import invoke
from tests.components.shared.pictures.formats.test_tiff import REFUSED as TIFFS_THAT_A_RUN_REFUSES
from tests.tiff_file import Values, rational, short, text, tiff_file


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


def of_pages(
    folder: Path, pages: NDArray[Any], said: str = "", tags: dict[int, Values] | None = None
) -> Path:
    """A stack of pages [page, y, x, channel], the first of which has a description."""
    _, height, width, n_channels = pages.shape
    needed = {
        256: short(width),
        257: short(height),
        258: short(*[8 * pages.dtype.itemsize] * n_channels),
        277: short(n_channels),
        **(tags or {}),
    }
    first = {**needed, 270: text(said)} if said else needed
    path = folder / "stack.tif"
    path.write_bytes(tiff_file(*((needed if n else first, [page.tobytes()]) for n, page in enumerate(pages))))
    return path


def slices_of(folder: Path, stack: Path) -> NDArray[Any]:
    """The slices that a stack is split into, as a run reads them."""
    result = split(stack, folder / "slices")
    assert result.exit_code == 0, result.output
    store = FolderStore(folder / "slices")
    pictures = []
    for key in sorted(path.name for path in (folder / "slices").iterdir()):
        size = (folder / "slices" / key).stat().st_size
        header = read_header(store, key, size)
        entry = SourceSlice(
            z=0,
            key=key,
            size_bytes=size,
            width_px=header.width_px,
            height_px=header.height_px,
            n_channels=header.n_channels,
        )
        pictures += read_channels(store, entry, header.pixel_type)
    return np.array(pictures)


PAGES = np.random.default_rng(6).integers(0, 256, (12, 20, 30, 1), dtype=np.uint8)


def test_pages_with_white_as_0_become_slices_with_black_as_0(tmp_path: Path) -> None:
    volume = stack_of("uint16")
    tifffile.imwrite(tmp_path / "stack.tif", ~volume, photometric="miniswhite")
    np.testing.assert_array_equal(slices_of(tmp_path, tmp_path / "stack.tif"), volume)


def test_pages_without_a_tag_that_says_which_end_is_black_stay_as_they_are(tmp_path: Path) -> None:
    np.testing.assert_array_equal(slices_of(tmp_path, of_pages(tmp_path, PAGES)), PAGES[..., 0])


@pytest.mark.parametrize("orientation", [3, 6])
def test_pages_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    stack = of_pages(tmp_path, PAGES, tags={274: short(orientation)})
    expected = np.rot90(PAGES[..., 0], 2 if orientation == 3 else -1, axes=(1, 2))
    np.testing.assert_array_equal(slices_of(tmp_path, stack), expected)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("n_channels", [2, 3, 4])
def test_the_channels_of_a_page_stay_together(tmp_path: Path, planarconfig: Any, n_channels: int) -> None:
    volume = np.random.default_rng(1).integers(0, 255, (5, 20, 30, n_channels), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for picture in volume:
            page = picture if planarconfig == "contig" else np.moveaxis(picture, 2, 0)
            writer.write(page, photometric="minisblack", planarconfig=planarconfig)
    np.testing.assert_array_equal(slices_of(tmp_path, tmp_path / "stack.tif"), volume)


HYPERSTACKS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "imagej": ("ZCYX", {"imagej": True, "metadata": {"axes": "ZCYX"}}, (6, 2)),
    "imagej of one channel": ("ZCYX", {"imagej": True, "metadata": {"axes": "ZCYX"}}, (12, 1)),
    "ome": ("ZCYX", {"ome": True, "metadata": {"axes": "ZCYX"}}, (6, 2)),
    "ome, slices first": ("CZYX", {"ome": True, "metadata": {"axes": "CZYX"}}, (6, 2)),
    "tifffile": ("ZCYX", {"metadata": {"axes": "ZCYX"}}, (4, 3)),
    "tifffile, slices first": ("CZYX", {"metadata": {"axes": "CZYX"}}, (4, 3)),
}


@pytest.mark.parametrize("name", HYPERSTACKS)
def test_the_channels_of_a_hyperstack_are_channels_of_its_slices(tmp_path: Path, name: str) -> None:
    axes, options, (n_slices, n_channels) = HYPERSTACKS[name]
    volume = PAGES[..., 0].reshape(n_slices, n_channels, 20, 30)
    stored = volume if axes == "ZCYX" else volume.swapaxes(0, 1)
    tifffile.imwrite(tmp_path / "stack.tif", stored, photometric="minisblack", **options)
    expected = np.moveaxis(volume, 1, 3)
    found = slices_of(tmp_path, tmp_path / "stack.tif")
    np.testing.assert_array_equal(found, expected[..., 0] if n_channels == 1 else expected)


def test_a_large_hyperstack_of_imagej_has_one_page_alone(tmp_path: Path) -> None:
    said = "ImageJ=1.54f\nimages=12\nchannels=2\nslices=6\nhyperstack=true\nmode=composite\n"
    height, width = PAGES.shape[1:3]
    tags = {256: short(width), 257: short(height), 258: short(8), 262: short(0), 270: text(said)}
    # ImageJ writes the number of bytes of one picture; the others follow.
    data = tiff_file(({**tags, 278: short(height), 279: short(width * height)}, [PAGES.tobytes()]))
    (tmp_path / "stack.tif").write_bytes(data)
    found = slices_of(tmp_path, tmp_path / "stack.tif")
    np.testing.assert_array_equal(found, np.moveaxis(~PAGES[..., 0].reshape(6, 2, height, width), 1, 3))


def lsm(n_slices: int, n_times: int) -> bytes:
    """A stack of Zeiss' LSM of two channels in planes, a preview picture behind each slice."""
    info = struct.pack("<2I6i", 0x400494C, 32, 30, 20, n_slices, 2, n_times, 1)
    tags = {256: short(30), 257: short(20), 258: short(8, 8), 277: short(2), 284: short(2), 278: short(20)}
    pages: list[tuple[dict[int, Values], list[bytes]]] = []
    for index in range(n_slices * n_times):
        planes = [PAGES[(2 * index + channel) % 12].tobytes() for channel in range(2)]
        pages.append(({**tags, 254: short(0), **({34412: (1, info)} if index == 0 else {})}, planes))
        pages.append(({256: short(2), 257: short(2), 258: short(8), 254: short(1)}, [bytes(4)]))
    return tiff_file(*pages)


def test_a_stack_of_zeiss_lsm_has_slices_and_channels_and_no_times(tmp_path: Path) -> None:
    (tmp_path / "stack.lsm").write_bytes(lsm(6, 1))
    found = slices_of(tmp_path, tmp_path / "stack.lsm")
    np.testing.assert_array_equal(found, np.moveaxis(PAGES[..., 0].reshape(6, 2, 20, 30), 1, 3))
    (tmp_path / "times.lsm").write_bytes(lsm(3, 2))
    result = split(tmp_path / "times.lsm", tmp_path / "others")
    assert (result.exit_code, "got 2 along the axis 'time'" in result.output) == (65, True)


def test_a_stack_of_metamorph_has_one_page_alone(tmp_path: Path) -> None:
    tags = {256: short(30), 257: short(20), 258: short(8), 278: short(20), 279: short(600)}
    planes = {33629: rational(*[0] * 24)}
    (tmp_path / "stack.stk").write_bytes(tiff_file(({**tags, **planes}, [PAGES.tobytes()])))
    np.testing.assert_array_equal(slices_of(tmp_path, tmp_path / "stack.stk"), PAGES[..., 0])


def test_a_stack_that_tifffile_wrote_in_one_page(tmp_path: Path) -> None:
    volume = stack_of("float32", 6)
    tifffile.imwrite(tmp_path / "stack.tif", volume, truncate=True, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        assert len(file.pages) == 1
    assert split(tmp_path / "stack.tif", tmp_path / "slices").exit_code == 0
    check(tmp_path / "slices", volume)


SIZED: dict[str, dict[str, Any]] = {
    "resolution.tif": {"resolution": (2e6, 1e6), "resolutionunit": "CENTIMETER"},
    "imagej.tif": {"imagej": True, "resolution": (200, 100), "metadata": {"unit": "um", "axes": "ZYX"}},
    "ome.tif": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.005, "PhysicalSizeY": 0.01}},
}


@pytest.mark.parametrize("name", [*SIZED, "stack.mrc"])
def test_slices_have_the_size_of_a_pixel_of_their_stack(tmp_path: Path, name: str) -> None:
    volume = stack_of("uint16")
    if name in SIZED:
        tifffile.imwrite(tmp_path / name, volume, photometric="minisblack", **SIZED[name])
    else:
        data = bytearray(mrc(volume, 6))
        struct.pack_into("<3i3f", data, 28, 30, 20, 3, 30 * 50, 20 * 100, 3)
        (tmp_path / name).write_bytes(data)
    assert split(tmp_path / name, tmp_path / "slices").exit_code == 0
    check(tmp_path / "slices", volume)
    store, key = FolderStore(tmp_path / "slices"), "slice.00001.tif"
    size = read_header(store, key, (tmp_path / "slices" / key).stat().st_size).pixel_size
    assert size is not None
    assert (size.x_nm, size.y_nm) == pytest.approx((5, 10), rel=1e-5)


def test_reduced_pages_are_no_slices(tmp_path: Path) -> None:
    volume = stack_of("uint8", 4)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for picture in volume:
            writer.write(picture, photometric="minisblack", subifds=1)
            writer.write(picture[::2, ::2], photometric="minisblack", subfiletype=1)
            writer.write(picture[::4, ::4], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(slices_of(tmp_path, tmp_path / "stack.tif"), volume)


def imagej(**numbers: int) -> str:
    return "ImageJ=1.54f\n" + "".join(f"{key}={number}\n" for key, number in numbers.items())


OME = '<OME><Image ID="a"><Pixels SizeZ="{}" SizeC="1" SizeT="{}">{}</Pixels></Image>{}</OME>'
REFUSED_AXES = {
    "time of imagej": (imagej(images=12, slices=6, frames=2), "got 2 along the axis 'time'"),
    "time alone": (imagej(images=12, frames=12), "got 12 along the axis 'time'"),
    "fewer pages than imagej says": (
        imagej(images=20, slices=20),
        "got 12 pages, and tags that say 20 slices",
    ),
    "more pages than imagej says": (imagej(images=6, slices=6), "got 12 pages, and tags that say 6 slices"),
    "17 channels": (
        imagej(images=12, channels=17, slices=2),
        "got 12 pages, and tags that say 2 slices of 17",
    ),
    "time of ome": (OME.format(6, 2, "", ""), "got 2 along the axis 'time'"),
    "two images of ome": (OME.format(12, 1, "", '<Image ID="b"/>'), "got 2 along the axis 'image'"),
    "an ome of several files": (
        OME.format(12, 1, '<TiffData IFD="0" FirstZ="0"/><TiffData IFD="0" FirstZ="1"/>', ""),
        "must have its pages in their order, in one file",
    ),
    "an ome of numbers that are none": (OME.format("x", 1, "", ""), "must have sound OME-XML"),
    "time of tifffile": ('{"shape": [2, 6, 20, 30], "axes": "TZYX"}', "got 2 along the axis 'T'"),
    "two axes without names": ('{"shape": [2, 6, 20, 30]}', "along the axis 'unknown'"),
}


@pytest.mark.parametrize("name", REFUSED_AXES)
def test_another_axis_than_slices_and_channels_is_refused_by_name(tmp_path: Path, name: str) -> None:
    said, sentence = REFUSED_AXES[name]
    result = split(of_pages(tmp_path, PAGES, said), tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert sentence in result.output
    assert not (tmp_path / "slices").exists()


def with_last_page(folder: Path, page: NDArray[Any], **options: Any) -> Path:
    with tifffile.TiffWriter(folder / "stack.tif") as writer:
        for picture in stack_of("uint8", 4):
            writer.write(picture, photometric="minisblack", metadata=None)
        writer.write(page, metadata=None, **options)
    return folder / "stack.tif"


LAST = stack_of("uint8", 1)[0]
REFUSED_PAGES: dict[str, tuple[NDArray[Any], dict[str, Any], str]] = {
    "half float": (LAST.astype(np.float16), {}, "got page 4 (float of 16 bit)"),
    "1 bit": (LAST > 99, {}, "got page 4 (uint of 1 bit)"),
    "cmyk": (
        np.dstack([LAST] * 4),
        {"photometric": "separated"},
        "got page 4 (a TIFF of 4 channels, SEPARATED)",
    ),
    "grey with alpha": (
        np.dstack([LAST] * 2),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
        "got page 4 (grey with alpha)",
    ),
    "another size": (LAST[:9], {}, "got 30 x 20 px of uint8 and, in page 4, 30 x 9 px of uint8"),
    "another type": (LAST.astype(np.uint16), {}, "and, in page 4, 30 x 20 px of uint16"),
    "more channels": (
        np.dstack([LAST] * 3),
        {"photometric": "rgb"},
        "and, in page 4, 30 x 20 px of uint8, 3 channels",
    ),
    "another compression": (LAST, {"compression": "lzma"}, "got page 4 (LZMA)"),
}


@pytest.mark.parametrize("name", REFUSED_PAGES)
def test_what_a_run_refuses_is_refused_before_the_first_slice_is_written(tmp_path: Path, name: str) -> None:
    page, options, sentence = REFUSED_PAGES[name]
    result = split(with_last_page(tmp_path, page, **options), tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert sentence in result.output
    assert not (tmp_path / "slices").exists()


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", None])
def test_a_damaged_page_is_refused_before_the_first_slice_is_written(
    tmp_path: Path, compression: Any
) -> None:
    tifffile.imwrite(
        tmp_path / "stack.tif", stack_of("uint8", 5), photometric="minisblack", compression=compression
    )
    data = bytearray((tmp_path / "stack.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        tag = file.pages[4].tags[273 if compression is None else 279]  # type: ignore[union-attr]
    place = tag.offset + 8
    data[place : place + 4] = (len(data) - 5 if compression is None else 3).to_bytes(4, "little")
    (tmp_path / "stack.tif").write_bytes(data)
    result = split(tmp_path / "stack.tif", tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert "got page 4 (" in result.output
    assert not (tmp_path / "slices").exists()


ALONE = [name for name, (_, sentence) in TIFFS_THAT_A_RUN_REFUSES.items() if "one picture" not in sentence]


@pytest.mark.parametrize("name", ALONE)
def test_a_page_that_a_run_would_refuse_as_a_slice_is_refused(tmp_path: Path, name: str) -> None:
    data, sentence = TIFFS_THAT_A_RUN_REFUSES[name]
    (tmp_path / "stack.tif").write_bytes(data)
    result = split(tmp_path / "stack.tif", tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert sentence.partition("got ")[2] in result.output
    assert not (tmp_path / "slices").exists()


def test_a_page_that_leads_back_is_refused(tmp_path: Path) -> None:
    data = bytearray(of_pages(tmp_path, PAGES[:1]).read_bytes())
    data[-4:] = data[4:8]
    (tmp_path / "stack.tif").write_bytes(data)
    result = split(tmp_path / "stack.tif", tmp_path / "slices")
    assert (result.exit_code, result.output.count("error: ")) == (65, 1)
    assert "a page leads back to an earlier one" in result.output


def test_an_mrc_file_of_other_axes_is_refused(tmp_path: Path) -> None:
    data = bytearray(mrc(stack_of("int16"), 1))
    struct.pack_into("<3i", data, 64, 1, 2, 3)
    (tmp_path / "stack.mrc").write_bytes(data)
    assert split(tmp_path / "stack.mrc", tmp_path / "right").exit_code == 0
    struct.pack_into("<3i", data, 64, 3, 2, 1)
    (tmp_path / "stack.mrc").write_bytes(data)
    result = split(tmp_path / "stack.mrc", tmp_path / "slices")
    assert (result.exit_code, "sections along z (1, 2, 3); got (3, 2, 1)" in result.output) == (65, True)
    assert not (tmp_path / "slices").exists()


@pytest.mark.parametrize(("place", "number"), [(88, 401), (88, 630), (92, -16)])
def test_an_mrc_file_of_several_volumes_or_of_no_header_is_refused(
    tmp_path: Path, place: int, number: int
) -> None:
    data = bytearray(mrc(stack_of("int16"), 1))
    struct.pack_into("<i", data, place, number)
    (tmp_path / "stack.mrc").write_bytes(data)
    result = split(tmp_path / "stack.mrc", tmp_path / "slices")
    assert (result.exit_code, "must hold one stack of pictures" in result.output) == (65, True)
    assert not (tmp_path / "slices").exists()


def test_pages_of_two_channels_from_one_array(tmp_path: Path) -> None:
    volume = np.random.default_rng(1).integers(0, 255, (6, 20, 30, 2), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(slices_of(tmp_path, tmp_path / "stack.tif"), volume)


def test_a_pattern_must_name_a_number(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", stack_of("uint8"), photometric="minisblack")
    assert split(tmp_path / "stack.tif", tmp_path / "slices", "--image", "../%d").exit_code == 78
