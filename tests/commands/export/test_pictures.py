"""`fibstack export --tiff | --mrc | --png`: pixels and voxel sizes as others read them, and what may fail."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import mrcfile
import numpy as np
import pytest
import tifffile
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

import commands.export.pictures
import commands.export.slices
import commands.export.stack
from commands.export.formats.mrc import MrcStack
from commands.export.lossless import LosslessSource
from components.shared.documents.transforms import TRANSFORMS_KEY
from components.shared.errors import TransientError
from components.shared.storage.registry import open_store
from tests.builders import cli
from tests.commands.export import test_export
from tests.commands.export.test_export import digests, finished, root
from tests.components.pyramid.pyramid_builders import AlignedStack, halvings_of, reference_levels, textured
from tests.components.pyramid.test_channels import ChannelStack, channels

Reader = Callable[[Path], NDArray[Any]]


def export(stack: AlignedStack, target: object, *flags: Any) -> Result:
    return test_export.export(root(stack), target, *flags)


def read_tiffs(folder: Path) -> NDArray[Any]:
    return np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif"))])


def read_pngs(folder: Path) -> NDArray[Any]:
    flags = cv2.IMREAD_UNCHANGED
    return np.stack([cv2.imread(str(path), flags) for path in sorted(folder.glob("*.png"))])


def read_mrc(path: Path) -> NDArray[Any]:
    """The grey levels of an MRC file, first row on top."""
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        voxels = mrc.data[:, ::-1]
        return (voxels.astype(int) + 128).astype(np.uint8) if voxels.dtype == np.int8 else voxels.copy()


WAYS: dict[str, tuple[list[str], Reader]] = {
    "slices": (["--tiff"], read_tiffs),
    "stack.tif": (["--tiff"], tifffile.imread),
    "stack.ome.tif": (["--tiff"], tifffile.imread),
    "pngs": (["--png"], read_pngs),
    "stack.mrc": (["--mrc"], read_mrc),
}


def deep(folder: Path, shape_zyx: tuple[int, int, int] = (70, 130, 100), **settings: Any) -> ChannelStack:
    """A finished run on 16-bit slices that keeps their bits."""
    raw = channels(1, shape_zyx, "uint16")
    stack = ChannelStack(folder, (raw >> 8).astype(np.uint8), raw, raw_pyramid=False, **settings)
    stack.write_blocks()
    stack.write_info()
    return stack


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> AlignedStack:
    """Slices 16-85 of 100 x 130 px, 8 bit, voxels of 8 nm; `voxels` is [z, y, x]."""
    return finished(
        tmp_path_factory.mktemp("source"), textured((70, 130, 100)), minz=16, resolution=(8, 8, 8)
    )


@pytest.fixture(scope="module")
def source16(tmp_path_factory: pytest.TempPathFactory) -> ChannelStack:
    """Slices 16-85 of 100 x 130 px, 16 bit, voxels of 4 x 4 x 7.5 nm; `raw` is [1, z, y, x]."""
    return deep(tmp_path_factory.mktemp("source16"), minz=16, resolution=(4, 4, 7.5))


@pytest.mark.parametrize("name", WAYS)
def test_each_format_has_the_pixels_of_the_lossless_volume(
    source: AlignedStack, source16: ChannelStack, tmp_path: Path, name: str
) -> None:
    flags, read = WAYS[name]
    for folder, stack, expected in (("8", source, source.voxels), ("16", source16, source16.raw[0])):
        (tmp_path / folder).mkdir()
        result = export(stack, tmp_path / folder / name, *flags)
        assert result.exit_code == 0, result.output
        found = read(tmp_path / folder / name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_slices_are_named_by_their_numbers_and_the_summary_says_what_they_are(
    source16: ChannelStack, tmp_path: Path
) -> None:
    result = export(source16, tmp_path / "new", "--tiff")
    assert result.stdout == (
        f"Pictures: {tmp_path}/new: 70 pictures of 100 x 130 px, 16 bit; slices 16 to 85; "
        "voxels of 4 x 4 x 7.5 nm.\n"
    )
    names = sorted(path.name for path in (tmp_path / "new").glob("*.tif"))
    assert names == [f"{z:05d}.tif" for z in range(16, 86)]
    document = json.loads((tmp_path / "new/process/export.json").read_text())
    assert (document["slice_numbers"], document["voxel_nm"]) == ([16, 85], [4, 4, 7.5])


def test_each_format_tells_the_size_of_a_voxel(source16: ChannelStack, tmp_path: Path) -> None:
    for name, (flags, _) in WAYS.items():
        assert export(source16, tmp_path / name, *flags).exit_code == 0
    for path in (tmp_path / "slices/00016.tif", tmp_path / "stack.tif"):
        with tifffile.TiffFile(path) as tiff:
            tags, described = tiff.pages[0].tags, tiff.imagej_metadata
            assert (tags["XResolution"].value, tags["YResolution"].value) == ((1, 4), (1, 4))
            assert (described["unit"], described["spacing"]) == ("nm", 7.5)
    with tifffile.TiffFile(tmp_path / "stack.tif") as tiff:
        assert tiff.imagej_metadata["Labels"] == [str(z) for z in range(16, 86)]
    with tifffile.TiffFile(tmp_path / "stack.ome.tif") as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert [pixels[f"PhysicalSize{axis}"] for axis in "XYZ"] == [4, 4, 7.5]
        assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "XYZ"} == {"nm"}
    with mrcfile.open(tmp_path / "stack.mrc") as mrc:
        assert mrc.voxel_size.tolist() == (40, 40, 75)
    with Image.open(tmp_path / "pngs/00016.png") as png:
        assert png.info["dpi"] == pytest.approx((0.0254e9 / 4, 0.0254e9 / 4))


@pytest.mark.parametrize("name", ["slices", "pngs"])
def test_what_is_written_can_be_aligned_again(source: AlignedStack, tmp_path: Path, name: str) -> None:
    assert export(source, tmp_path / name, *WAYS[name][0], "--crop", ":,:,16:22").exit_code == 0
    said = cli("design", tmp_path / name).output
    assert "16 to 21" in said or "--minz 16 --maxz 21" in said
    assert "8 x 8" in said or "8 nm" in said


def test_split_takes_an_mrc_file_apart_as_it_was(source: AlignedStack, tmp_path: Path) -> None:
    assert export(source, tmp_path / "stack.mrc", "--mrc", "--crop", ":,:,16:20").exit_code == 0
    result = cli("data", "split", tmp_path / "stack.mrc", tmp_path / "slices")
    assert result.exit_code == 0, result.output
    found = np.stack([tifffile.imread(path) for path in sorted((tmp_path / "slices").glob("*.tif"))])
    np.testing.assert_array_equal(found.astype(np.int8).astype(int) + 128, source.voxels[:4])


def test_bin_writes_a_level_of_the_pyramid(source16: ChannelStack, tmp_path: Path) -> None:
    levels = reference_levels(source16.raw[0], halvings_of(source16.volume))
    for name, (flags, read) in WAYS.items():
        result = export(source16, tmp_path / name, *flags, "--bin", 2)
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(read(tmp_path / name), levels[1])
    assert (
        "slices 16 to 84, 2 in each, which has the number of the first; voxels of 8 x 8 x 15 nm"
        in result.stdout
    )
    assert (tmp_path / "slices/00018.tif").exists()
    assert not (tmp_path / "slices/00017.tif").exists()


def test_bin_leaves_slices_that_are_thicker_than_pixels(tmp_path: Path) -> None:
    stack = finished(tmp_path / "run", textured((5, 130, 100)), resolution=(4, 4, 40))
    result = export(stack, tmp_path / "pngs", "--png", "--bin", 2)
    assert "5 pictures of 50 x 65 px, 8 bit; slices 0 to 4; voxels of 8 x 8 x 40 nm" in result.stdout
    np.testing.assert_array_equal(
        read_pngs(tmp_path / "pngs"), reference_levels(stack.voxels, [(0, 0, 0), (1, 1, 0)])[1]
    )


@pytest.mark.parametrize("name", WAYS)
def test_every_option_at_once(source16: ChannelStack, tmp_path: Path, name: str) -> None:
    flags, read = WAYS[name]
    options = ["--crop", "10:75,:120,18:84", "--contrast", "15000-52000", "--without-slices", "19,40-42"]
    result = export(source16, tmp_path / name, *flags, *options, "--bin", 2)
    assert result.exit_code == 0, result.output
    shown = list(range(2, 68))
    for z, other in {19: 18, 40: 39, 41: 39, 42: 43}.items():
        shown[z - 18] = other - 16
    grey = (source16.raw[0][shown, :120, 10:75].astype(float) - 15000) * 255 / 37000
    whole = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(read(tmp_path / name), reference_levels(whole, [(0, 0, 0), (1, 1, 1)])[1])


@pytest.mark.parametrize("name", WAYS)
def test_processes_and_thin_layers_make_the_same_bytes(
    source: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    flags = [*WAYS[name][0], "--crop", ":,:,18:"]
    for folder in ("one", "two", "thin"):
        (tmp_path / folder).mkdir()
    assert export(source, tmp_path / "one" / name, *flags).exit_code == 0
    result = cli("export", root(source), tmp_path / "two" / name, "--jobs", "2", *flags)
    assert result.exit_code == 0, result.output
    limits = replace(commands.export.pictures.LIMITS, layer_bytes=5 * 13000, strip_rows=32)
    monkeypatch.setattr(commands.export.pictures, "LIMITS", limits)
    assert export(source, tmp_path / "thin" / name, *flags).exit_code == 0

    def written(folder: str) -> dict[str, str]:
        return {key: value for key, value in digests(tmp_path / folder).items() if "process/" not in key}

    assert written("one") == written("two") == written("thin")


def test_stopped_slices_go_on_where_they_were(
    source: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_output = commands.export.slices.write_output

    def stops(store: Any, key: str, *parts: bytes) -> Any:
        if key == "00081.tif":
            raise TransientError("the machine must go on; it stopped. Try again.")
        return write_output(store, key, *parts)

    monkeypatch.setattr(commands.export.slices, "write_output", stops)
    assert export(source, tmp_path / "new", "--tiff").exit_code == 75
    monkeypatch.setattr(commands.export.slices, "write_output", write_output)
    first = tmp_path / "new/00016.tif"
    before = first.stat().st_mtime_ns
    assert export(source, tmp_path / "new", "--tiff").exit_code == 0
    assert first.stat().st_mtime_ns == before
    np.testing.assert_array_equal(read_tiffs(tmp_path / "new"), source.voxels)


def test_a_changed_or_lost_slice_is_written_again(source: AlignedStack, tmp_path: Path) -> None:
    assert export(source, tmp_path / "new", "--png").exit_code == 0
    whole = digests(tmp_path / "new")
    (tmp_path / "new/00020.png").write_bytes((tmp_path / "new/00021.png").read_bytes())
    (tmp_path / "new/00085.png").unlink()
    assert export(source, tmp_path / "new", "--png").exit_code == 0
    assert digests(tmp_path / "new") == whole


@pytest.mark.parametrize("name", ["stack.tif", "stack.mrc"])
def test_half_a_stack_never_has_its_name(
    source: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_layer = commands.export.stack._write_layer

    def full(stack: Any, first_byte: int, layer: Any, n_threads: int) -> Any:
        if layer.first:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_layer(stack, first_byte, layer, n_threads)

    monkeypatch.setattr(commands.export.stack, "_write_layer", full)
    result = export(source, tmp_path / name, *WAYS[name][0])
    assert (result.exit_code, "the disk is full" in result.stderr) == (75, True)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(commands.export.stack, "_write_layer", write_layer)
    (tmp_path / f".fibstack-tmp-{name}").write_bytes(b"what a killed export has left" * 10**6)
    assert export(source, tmp_path / name, *WAYS[name][0]).exit_code == 0
    np.testing.assert_array_equal(WAYS[name][1](tmp_path / name), source.voxels)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "flags"), [("new", ["--tiff"]), ("new.mrc", ["--mrc"]), ("volume", [])])
def test_a_source_that_changes_meanwhile_is_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, flags: list[str]
) -> None:
    stack = finished(tmp_path / "run", textured((70, 130, 100)), minz=16, resolution=(8, 8, 8))
    store = open_store(stack.plan.locations.process_uri)
    before = store.read(TRANSFORMS_KEY)
    first, *others = stack.transforms.slices
    moved = first.model_copy(update={"matrix": ((1.0, 0.0, 3.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))})
    after = stack.transforms.model_copy(update={"slices": (moved, *others)})
    read = LosslessSource.read

    def changes_before(self: LosslessSource, box: Any) -> Any:
        store.write(TRANSFORMS_KEY, after.to_json())
        return read(self, box)

    target = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(LosslessSource, "read", changes_before)
        result = export(stack, target, *flags)
    assert (result.exit_code, "was written anew meanwhile" in result.stderr) == (75, True), result.output
    assert not (target / "neuroglancer/jpeg/info").exists()
    store.write(TRANSFORMS_KEY, before)
    result = export(stack, target, *flags)
    if flags == ["--mrc"]:  # nothing was left of it
        assert result.exit_code == 0, result.output
    else:  # what was left may be of either volume
        assert (result.exit_code, "an export must go where nothing is" in result.stderr) == (65, True)
    assert export(stack, tmp_path / f"other-{name}", *flags).exit_code == 0


def test_a_file_in_place_of_the_folder_is_told(source: AlignedStack, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    result = export(source, tmp_path / "mine/stack.tif", "--tiff")
    assert (result.exit_code, "mine is a file" in result.stderr) == (65, True)


def test_pictures_are_told_from_volumes(source: AlignedStack, tmp_path: Path) -> None:
    assert export(source, tmp_path / "new", "--png").exit_code == 0
    for command in (["export", tmp_path / "new", tmp_path / "a"], ["apply", tmp_path / "new", tmp_path, "b"]):
        result = cli(*command)
        assert (result.exit_code, "got pictures that" in result.stderr) == (65, True), result.output


def test_two_exports_do_not_write_one_file_at_a_time(source: AlignedStack, tmp_path: Path) -> None:
    class Nested(MrcStack):
        def finish(self, *args: Any) -> None:
            self.other = export(source, tmp_path / "stack.mrc", "--mrc")
            super().finish(*args)

    nested = Nested()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("commands.export.formats.table.format_of", lambda *args: nested)
        assert export(source, tmp_path / "stack.mrc", "--mrc").exit_code == 0
    assert (nested.other.exit_code, "another that does" in nested.other.stderr) == (75, True)
    np.testing.assert_array_equal(read_mrc(tmp_path / "stack.mrc"), source.voxels)


def test_a_disk_without_room_is_refused_before_anything_is_written(
    source: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(commands.export.stack.shutil, "disk_usage", lambda _: usage)
    result = export(source, tmp_path / "new/stack.tif", "--tiff")
    assert (result.exit_code, "must have room" in result.stderr) == (65, True)
    assert list(tmp_path.iterdir()) == []


def test_what_lies_there_is_not_written_over(source: AlignedStack, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    (tmp_path / "mine.mrc").write_text("mine")
    for name, flag, said in (("mine", "--tiff", "holds notes.txt"), ("mine.mrc", "--mrc", "which is there")):
        result = export(source, tmp_path / name, flag)
        assert (result.exit_code, said in result.stderr) == (65, True)
    assert export(source, tmp_path / "new", "--tiff").exit_code == 0
    before = digests(tmp_path)
    assert "holds 00016.tif" in export(source, tmp_path / "new", "--png").stderr
    assert "holds 00016.tif" in export(source, tmp_path / "new", "--tiff", "--bin", 2).stderr
    assert export(source, tmp_path / "new").exit_code == 65
    assert export(source, root(source), "--tiff").exit_code == 65
    assert digests(tmp_path) == before
    (tmp_path / "new/other.tif").write_text("among the slices of a sequence")
    assert "holds other.tif" in export(source, tmp_path / "new", "--tiff").stderr


@pytest.mark.parametrize(("name", "flag"), [("new", "--tiff"), ("new/stack.mrc", "--mrc")])
def test_a_dry_run_changes_nothing_and_lists_what_is_then_written(
    source: AlignedStack, tmp_path: Path, name: str, flag: str
) -> None:
    listed = export(source, tmp_path / name, flag, "--dry-run")
    assert listed.exit_code == 0, listed.output
    assert not (tmp_path / "new").exists()
    assert export(source, tmp_path / name, flag).exit_code == 0
    written = {line.removeprefix("write   ") for line in listed.output.splitlines() if line[:6] == "write "}
    assert written == {str(tmp_path / key) for key in digests(tmp_path)}


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("new", ["--tiff", "--png"], "got --tiff and --png"),
        ("new", ["--bin", "2"], "--bin must stand with --tiff, --mrc, --png"),
        ("new", ["--tiff", "--jpeg-quality", "90"], "--jpeg-quality must stand without"),
        ("new", ["--tiff", "--lossless"], "--lossless must stand without"),
        ("new", ["--tiff", "--bin", "3"], "power of 2 from 1 to 4, by the levels of this volume; got 3"),
        ("new", ["--tiff", "--bin", "8"], "got 8"),
        ("new", ["--tiff", "--channel", "1"], "--channel must be from 0 to 0; got 1"),
        ("new", ["--mrc"], "new.mrc"),
        ("new.tif", ["--png"], "the name of a folder"),
        ("new.mrc", ["--tiff"], "the name of a folder"),
        ("gs://em/new.mrc", ["--mrc"], "must go to a folder of this machine"),
        ("gs://em_*_new", ["--tiff"], "stands for several"),
    ],
)
def test_bad_options_are_one_sentence_and_write_nothing(
    source: AlignedStack, tmp_path: Path, name: str, flags: list[str], said: str
) -> None:
    result = export(source, name if "://" in name else tmp_path / name, *flags)
    assert (result.exit_code, result.stderr.count("\n")) == (78, 1)
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_buckets_hold_slices(bucket: str, source: AlignedStack) -> None:
    target = f"gs://{bucket}/slices"
    assert export(source, target, "--png", "--crop", ":,:,16:18").exit_code == 0
    from components.shared.storage.registry import open_store

    store = open_store(target)
    names = [found.key for found in store.list()]
    assert names[:3] == ["00016.png", "00017.png", "process/export.json"]
    picture = cv2.imdecode(np.frombuffer(store.read("00017.png"), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture, source.voxels[1])


def test_a_channel_is_chosen_and_colours_stay_colours(tmp_path: Path) -> None:
    for n in (2, 3):
        stack = ChannelStack(tmp_path / f"run{n}", channels(n, (5, 70, 90)), raw_pyramid=False)
        stack.write_blocks()
        stack.write_info()
        if n == 2:
            refused = export(stack, tmp_path / "all", "--tiff")
            assert (refused.exit_code, "such as --channel 0" in refused.stderr) == (78, True)
        else:
            colours = np.moveaxis(stack.voxels, 0, -1)
            for name in ("slices", "stack.tif", "stack.ome.tif", "pngs"):
                assert export(stack, tmp_path / name, *WAYS[name][0]).exit_code == 0
                found = WAYS[name][1](tmp_path / name)
                np.testing.assert_array_equal(found[..., ::-1] if name == "pngs" else found, colours)
            refused = export(stack, tmp_path / "all.mrc", "--mrc")
            assert (refused.exit_code, "grey pictures; got 3" in refused.stderr) == (78, True)
        assert export(stack, tmp_path / f"one{n}.mrc", "--mrc", "--channel", 1).exit_code == 0
        np.testing.assert_array_equal(read_mrc(tmp_path / f"one{n}.mrc"), stack.voxels[1])
