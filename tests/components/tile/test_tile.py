"""The tile step through its command line, its slabs read back through tensorstore."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import google_crc32c
import numpy as np
import pytest
import tensorstore
from click.testing import Result
from numpy.typing import NDArray

from components.shared.documents.plan import ChannelFile, Plan, SourceSlice
from components.shared.documents.transforms import Transforms
from components.shared.geometry import translation
from components.shared.pictures.slice_files import read_channels
from components.shared.storage.folder import FolderStore
from components.shared.volume.tiles import array_metadata, shard_key, tile_array_spec
from components.shared.volume.volume import GREY_TILES, TILES_KEY, TileArray, Volume, volume_of
from components.shared.work.records import read_record
from components.tile.contrast import equalized, to_uint8
from components.tile.main import main
from components.tile.slab import make_slab, shard_parts
from tests.builders import invoke, plan_of, transforms_of, with_sizes

FIRST, N_SLICES, HEIGHT, WIDTH = 5, 20, 40, 56
SHIFT_XY = (3, 2)
VOLUME_XYZ = (WIDTH + 7, HEIGHT + 5, N_SLICES)


def grey(z: int, dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(z)
    return rng.integers(1, np.iinfo(dtype).max, (HEIGHT, WIDTH)).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Run:
    """A planned and composed stack in a folder."""

    folder: Path
    plan: Plan
    transforms: Transforms

    @property
    def volume(self) -> Volume:
        return volume_of(self.plan, self.transforms)

    @property
    def process(self) -> FolderStore:
        return FolderStore(self.folder / "out/process")

    def write(self) -> Run:
        self.process.write("plan.json", self.plan.to_json())
        self.process.write("transforms.json", self.transforms.to_json())
        return self

    def tile(self, slabs: str = "0-1") -> Result:
        return invoke(main, process_uri=self.process.uri, slabs=slabs)

    def voxels(self) -> NDArray[np.uint8]:
        return self.voxels_of(GREY_TILES)

    def voxels_of(self, array: TileArray) -> NDArray[Any]:
        spec = tile_array_spec(self.volume, array, FolderStore(self.folder / "out/tmp").kvstore(array.key))
        return tensorstore.open(spec, open=True).result().read().result()

    def shard(self, slab: int) -> Path:
        return self.folder / "out/tmp" / TILES_KEY / shard_key(slab, GREY_TILES)

    def with_clip_limit(self, clip_limit: float) -> Run:
        config = self.plan.config.model_copy(update={"clip_limit": clip_limit})
        return dataclasses.replace(self, plan=self.plan.model_copy(update={"config": config})).write()

    def with_slice(self, z: int, **changes: Any) -> Run:
        slices = list(self.transforms.slices)
        slices[z - FIRST] = slices[z - FIRST].model_copy(update=changes)
        transforms = self.transforms.model_copy(update={"slices": tuple(slices)})
        return dataclasses.replace(self, transforms=transforms).write()


def make_run(folder: Path, dtype: str = "uint8") -> Run:
    """A stack whose every slice is shifted by SHIFT_XY, without CLAHE."""
    (folder / "raw").mkdir()
    for z in range(FIRST, FIRST + N_SLICES):
        (folder / "raw" / f"{z:03d}.png").write_bytes(cv2.imencode(".png", grey(z, dtype))[1].tobytes())
    places = {"source": str(folder / "raw"), "image": "%03d.png", "output": str(folder / "out")}
    plan = plan_of(
        *(FIRST, FIRST + N_SLICES - 1),
        size_px=(WIDTH, HEIGHT),
        pixel_type=dtype,  # type: ignore[arg-type]
        chunk_length=16,
        clip_limit=0,
        **places,
    )
    transforms = transforms_of(
        plan, [translation(*SHIFT_XY)] * N_SLICES, size_px=VOLUME_XYZ[:2], intensity_range=(10_000, 50_000)
    )
    return Run(folder, with_sizes(plan, folder / "raw"), transforms).write()


def first_slab(stack: Run, files: list[str] | None = None) -> dict[TileArray, NDArray[Any]]:
    """The first slab of each array; `files` gets the names of the files that are read."""
    source = FolderStore(stack.folder / "raw")

    def read(entry: SourceSlice) -> list[Any]:
        if files is not None:
            files.append(entry.key)
        return read_channels(source, entry, stack.plan.pixel_type, stack.plan.reading)

    return make_slab(stack.plan, stack.transforms, stack.volume, 0, read)


def grey_slab(stack: Run) -> NDArray[Any]:
    """The first slab, `[z, y, x]`."""
    return first_slab(stack)[GREY_TILES][0]


@pytest.fixture
def stack(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def placed(picture: NDArray[np.uint8], shift_xy: tuple[int, int] = SHIFT_XY) -> NDArray[np.uint8]:
    plane = np.zeros((VOLUME_XYZ[1], VOLUME_XYZ[0]), np.uint8)
    plane[shift_xy[1] :, shift_xy[0] :][:HEIGHT, :WIDTH] = picture
    return plane


def test_a_stack_is_tiled_exactly(stack: Run) -> None:
    result = stack.tile()
    assert result.exit_code == 0, result.output
    expected = np.stack([placed(grey(z)) for z in range(FIRST, FIRST + N_SLICES)])
    np.testing.assert_array_equal(stack.voxels(), expected)
    record = read_record(stack.process, "tile", "1")
    assert record is not None
    assert [output.key for output in record.outputs] == ["zarr.json", "c/1/0/0"]


def test_each_slice_has_a_line_in_the_log(stack: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever follows a pod sees how far it is."""
    caplog.set_level("INFO")
    assert stack.tile("0-0").exit_code == 0
    lines = [message for message in caplog.messages if " read, " in message]
    z = sorted(int(line.split()[3]) for line in lines)
    assert z == [s.z for s in stack.transforms.slices][: len(z)]
    assert [line.partition(" read, ")[2] for line in lines] == [
        f"{n} of {len(z)}" for n in range(1, len(z) + 1)
    ]
    assert all(line.startswith("slab 0: slice ") for line in lines)


def test_16_bit_is_shown_in_its_intensity_range(tmp_path: Path) -> None:
    stack = make_run(tmp_path, "uint16")
    assert stack.tile().exit_code == 0
    expected = placed(to_uint8(grey(FIRST, "uint16"), (10_000, 50_000)))
    np.testing.assert_array_equal(stack.voxels()[0], expected)
    assert len(np.unique(expected)) > 200


def test_clahe_sees_the_raw_slice_alone(stack: Run) -> None:
    stack = stack.with_clip_limit(0.02)
    assert stack.tile().exit_code == 0
    np.testing.assert_array_equal(stack.voxels()[3], placed(equalized(grey(FIRST + 3), 0.02)))


def test_a_replaced_slice_shows_its_replacement_with_that_ones_matrix(stack: Run) -> None:
    moved = ((1.0, 0.0, 6.0), (0.0, 1.0, 4.0), (0.0, 0.0, 1.0))
    stack = stack.with_slice(FIRST + 15, matrix=moved)
    stack = stack.with_slice(FIRST + 14, action="replace", replaced_from=FIRST + 15)
    stack = stack.with_slice(FIRST + 16, action="replace", replaced_from=FIRST + 15)
    (stack.folder / "raw" / f"{FIRST + 14:03d}.png").write_bytes(b"unreadable, and not to be read")
    assert stack.tile().exit_code == 0
    voxels = stack.voxels()
    for z_index in (14, 15, 16):
        np.testing.assert_array_equal(voxels[z_index], placed(grey(FIRST + 15), (6, 4)))


def test_a_second_run_writes_nothing(stack: Run) -> None:
    assert stack.tile().exit_code == 0
    metadata = stack.folder / "out/tmp" / TILES_KEY / "zarr.json"
    written_ns = [path.stat().st_mtime_ns for path in (metadata, stack.shard(0), stack.shard(1))]
    for path in (stack.folder / "raw").iterdir():
        path.unlink()
    assert stack.tile().exit_code == 0
    assert [path.stat().st_mtime_ns for path in (metadata, stack.shard(0), stack.shard(1))] == written_ns


def test_only_what_changed_is_made_again(stack: Run) -> None:
    assert stack.tile().exit_code == 0
    before = [stack.shard(slab).stat().st_ino for slab in (0, 1)]
    moved = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    stack = stack.with_slice(FIRST + 17, matrix=moved)
    assert stack.tile().exit_code == 0
    after = [stack.shard(slab).stat().st_ino for slab in (0, 1)]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    np.testing.assert_array_equal(stack.voxels()[17], placed(grey(FIRST + 17), (0, 0)))


def test_another_clip_limit_makes_every_slab_again(stack: Run) -> None:
    assert stack.tile().exit_code == 0
    plain = stack.voxels()
    stack = stack.with_clip_limit(0.02)
    assert stack.tile().exit_code == 0
    assert all((stack.voxels()[z] != plain[z]).any() for z in range(N_SLICES))


def test_bytes_do_not_depend_on_how_the_work_is_cut(stack: Run, tmp_path: Path) -> None:
    assert stack.tile("0-1").exit_code == 0
    together = [stack.shard(slab).read_bytes() for slab in (0, 1)]
    for slab in (1, 0):
        stack.process.delete(f"records/tile/{slab}.json")
        stack.shard(slab).unlink()
        assert stack.tile(f"{slab}-{slab}").exit_code == 0
    assert [stack.shard(slab).read_bytes() for slab in (0, 1)] == together


@pytest.mark.parametrize("damage", ["truncated", "gone", "another"])
def test_an_unreadable_slice_is_an_error_and_no_slab(stack: Run, damage: str) -> None:
    path = stack.folder / "raw" / f"{FIRST + 2:03d}.png"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-50] if damage == "truncated" else b"")
    result = stack.tile("0-0")
    assert result.exit_code == 65
    assert path.name in result.output
    assert "Traceback" not in result.output
    assert not stack.shard(0).exists()
    assert read_record(stack.process, "tile", "0") is None


def test_a_plane_without_a_slice_is_an_error(stack: Run) -> None:
    slices = tuple(entry for entry in stack.plan.slices if entry.z != FIRST + 2)
    dataclasses.replace(stack, plan=stack.plan.model_copy(update={"slices": slices})).write()
    result = stack.tile("0-0")
    assert result.exit_code == 65
    assert f"got z {FIRST + 2}, which is missing" in result.output


@pytest.mark.parametrize("slabs", ["0-2", "1-0", "x", "-1"])
def test_a_bad_range_of_slabs_is_refused(stack: Run, slabs: str) -> None:
    result = stack.tile(slabs)
    assert result.exit_code == 78
    assert result.output.count("error: '--slabs'") == 1
    assert not (stack.folder / "out/tmp").exists()


def test_a_missing_slab_is_an_error_for_readers_never_black(stack: Run) -> None:
    assert stack.tile("0-0").exit_code == 0
    with pytest.raises(ValueError, match="missing"):
        stack.voxels()


def test_a_black_slab_is_stored_and_read(stack: Run) -> None:
    black = np.zeros((1, 4, VOLUME_XYZ[1], VOLUME_XYZ[0]), np.uint8)
    data = b"".join(shard_parts(stack.volume, GREY_TILES, black))
    store = FolderStore(stack.folder / "out/tmp" / TILES_KEY)
    assert stack.tile("0-0").exit_code == 0
    store.write(shard_key(1, GREY_TILES), data)
    assert not stack.voxels()[16:].any()


def test_a_flipped_bit_in_a_tile_is_noticed(stack: Run) -> None:
    assert stack.tile().exit_code == 0
    data = bytearray(stack.shard(0).read_bytes())
    data[len(data) // 2] ^= 1
    stack.shard(0).write_bytes(data)
    with pytest.raises(ValueError, match=r"(?i)crc|checksum|digest"):
        stack.voxels()


def test_a_shard_is_laid_out_as_the_zarr_specification_says() -> None:
    """Zarr v3 sharding: chunks, then an index of (offset, length); each ends in its crc32c."""
    volume = Volume(
        size_xyz=(2100, 1030, 3),
        voxel_offset_xyz=(0, 0, 0),
        resolution_nm=(8, 8, 8),
        slab_depth=16,
        passes=(),
        outputs=(),
    )
    data = b"".join(shard_parts(volume, GREY_TILES, np.ones((1, 3, 1030, 2100), np.uint8)))
    index = data[-(16 * 6 + 4) :]
    assert google_crc32c.value(index[:-4]) == int.from_bytes(index[-4:], "little")
    entries = np.frombuffer(index[:-4], "<u8").reshape(6, 2)
    spans = sorted((int(offset), int(offset + length)) for offset, length in entries)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(data) - len(index)
    for start, stop in spans:
        assert google_crc32c.value(data[start : stop - 4]) == int.from_bytes(data[stop - 4 : stop], "little")


def test_the_metadata_opens_without_our_spec(stack: Run) -> None:
    assert stack.tile().exit_code == 0
    folder = str(stack.folder / "out/tmp" / TILES_KEY)
    array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": folder}}).result()
    assert array.domain.labels == ("z", "y", "x")
    assert array.shape == VOLUME_XYZ[::-1]
    np.testing.assert_array_equal(array.read().result(), stack.voxels())
    opened = array.spec().to_json()["metadata"]
    chunk_shape = array_metadata(stack.volume, GREY_TILES)["codecs"][0]["configuration"]["chunk_shape"]
    assert opened["codecs"][0]["configuration"]["chunk_shape"] == chunk_shape == [16, 1024, 1024]


def test_zarr_python_reads_the_same(stack: Run) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    assert stack.tile().exit_code == 0
    array = zarr.open_array(str(stack.folder / "out/tmp" / TILES_KEY), mode="r")
    np.testing.assert_array_equal(array[:], stack.voxels())


def test_an_inverted_slice_is_turned_round(stack: Run) -> None:
    stack = stack.with_slice(FIRST + 2, action="invert")
    stack = stack.with_slice(FIRST + 3, action="replace", replaced_from=FIRST + 2)
    assert stack.tile("0-0").exit_code == 0
    voxels = grey_slab(stack)
    for z_index in (2, 3):
        np.testing.assert_array_equal(voxels[z_index], placed(255 - grey(FIRST + 2)))


def test_16_bit_is_turned_round_within_the_intensity_range(tmp_path: Path) -> None:
    stack = make_run(tmp_path, "uint16").with_slice(FIRST, action="invert")
    turned = np.clip(60_000 - grey(FIRST, "uint16").astype(np.int64), 0, 65_535).astype(np.uint16)
    expected = placed(to_uint8(turned, (10_000, 50_000)))
    found = grey_slab(stack)[0]
    assert np.abs(found.astype(int) - expected).max() <= 1  # halves are rounded to even on either side


def test_a_blank_slice_is_black_and_not_read(stack: Run) -> None:
    stack = stack.with_slice(FIRST + 4, action="blank")
    (stack.folder / "raw" / f"{FIRST + 4:03d}.png").unlink()
    assert stack.tile("0-0").exit_code == 0
    voxels = grey_slab(stack)
    assert not voxels[4].any()
    assert voxels[3].any()


def test_a_blend_is_the_mean_of_two_slices_each_where_it_lies(stack: Run) -> None:
    moved = ((1.0, 0.0, 6.0), (0.0, 1.0, 4.0), (0.0, 0.0, 1.0))
    stack = stack.with_slice(FIRST + 6, matrix=moved)
    for z in (FIRST + 4, FIRST + 5):
        stack = stack.with_slice(z, action="blend", replaced_from=FIRST + 3, blended_with=FIRST + 6)
    a, b = placed(grey(FIRST + 3)).astype(int), placed(grey(FIRST + 6), (6, 4)).astype(int)
    expected = np.where((a == 0) | (b == 0), a + b, (a + b + 1) // 2)
    voxels = grey_slab(stack)
    for z_index in (4, 5):
        np.testing.assert_array_equal(voxels[z_index], expected)
    np.testing.assert_array_equal(voxels[3], a)
    np.testing.assert_array_equal(voxels[6], b)


def test_a_plane_that_is_evened_shows_the_other_slice_where_that_lies(stack: Run) -> None:
    moved = ((1.0, 0.0, 6.0), (0.0, 1.0, 4.0), (0.0, 0.0, 1.0))
    stack = stack.with_slice(FIRST + 4, matrix=moved, shown_z=FIRST + 5).with_slice(
        FIRST + 3, shown_z=FIRST + 4
    )
    voxels = grey_slab(stack)
    np.testing.assert_array_equal(voxels[3], placed(grey(FIRST + 4), (6, 4)))
    np.testing.assert_array_equal(voxels[4], placed(grey(FIRST + 5)))
    np.testing.assert_array_equal(voxels[5], placed(grey(FIRST + 5)))


def test_raw_grey_levels_stay_where_their_slices_are_when_steps_are_evened(tmp_path: Path) -> None:
    stack = make_run(tmp_path, "uint16")
    config = stack.plan.config.model_copy(update={"keep_bits": True})
    kept = dataclasses.replace(stack, plan=stack.plan.model_copy(update={"config": config})).write()
    kept = kept.with_slice(FIRST + 1, shown_z=FIRST + 2)
    assert kept.tile().exit_code == 0
    shown, exact = kept.volume.arrays
    np.testing.assert_array_equal(kept.voxels_of(shown)[1], kept.voxels_of(shown)[2])
    raw = kept.voxels_of(exact)
    np.testing.assert_array_equal(raw[1, 2 : 2 + HEIGHT, 3 : 3 + WIDTH], grey(FIRST + 1, "uint16"))


def test_each_slice_of_a_slab_is_read_once(stack: Run) -> None:
    for z in (7, 8):
        stack = stack.with_slice(FIRST + z, action="blend", replaced_from=FIRST + 6, blended_with=FIRST + 9)
    stack = stack.with_slice(FIRST + 10, action="replace", replaced_from=FIRST + 9)
    read: list[str] = []
    first_slab(stack, read)
    shown = [z for z in range(16) if z not in (7, 8, 10)]
    assert sorted(read) == [f"{FIRST + z:03d}.png" for z in shown]


@pytest.mark.parametrize(("n_cores", "most"), [(1, 1), (2, 2), (64, 4)])
def test_memory_does_not_grow_with_the_cores(
    stack: Run, n_cores: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice in work holds memory, so that no more are than the cores, and than four."""
    asked = []

    class Executor(ThreadPoolExecutor):
        def __init__(self, max_workers: int) -> None:
            asked.append(max_workers)
            super().__init__(max_workers)

    monkeypatch.setattr("components.tile.slab.available_cores", lambda: n_cores)
    monkeypatch.setattr("components.tile.slab.ThreadPoolExecutor", Executor)
    first_slab(stack)
    assert asked == [most]


def test_the_slices_of_a_slab_are_the_only_threads(stack: Run) -> None:
    assert stack.tile().exit_code == 0
    assert cv2.getNumThreads() == 1


def with_channels(stack: Run, pictures: dict[int, NDArray[Any]], more: dict[int, NDArray[Any]]) -> Run:
    """The stack with these pictures, [y, x, channel] in OpenCV's order, and further ones beside them."""
    entries = []
    for entry in stack.plan.slices:
        files = {entry.key: pictures[entry.z], f"more.{entry.key}": more[entry.z]}
        for name, picture in files.items():
            cv2.imwrite(str(stack.folder / "raw" / name), picture)
        facts = [
            {
                "key": name,
                "size_bytes": (stack.folder / "raw" / name).stat().st_size,
                "n_channels": 1 if picture.ndim == 2 else picture.shape[2],
            }
            for name, picture in files.items()
        ]
        entries.append(entry.model_copy(update={**facts[0], "more_channels": (ChannelFile(**facts[1]),)}))
    changes = {"slices": tuple(entries), "more_intensity_ranges": ((0.0, 255.0),)}
    return dataclasses.replace(stack, plan=stack.plan.model_copy(update=changes)).write()


def test_every_channel_is_warped_by_the_same_transform(stack: Run) -> None:
    turned = ((0.99, 0.02, 4.3), (-0.02, 1.01, 2.6), (0.0, 0.0, 1.0))
    zs = range(FIRST, FIRST + N_SLICES)
    bgr = {z: np.dstack([255 - grey(z), grey(z), grey(z + 50)]) for z in zs}
    stack = with_channels(stack, bgr, {z: grey(z) for z in zs}).with_slice(FIRST + 2, matrix=turned)
    stack = stack.with_slice(FIRST + 4, action="blend", replaced_from=FIRST + 2, blended_with=FIRST + 5)
    stack = stack.with_slice(FIRST + 6, action="invert")
    assert stack.tile().exit_code == 0
    (array,) = stack.volume.arrays
    red, green, blue, further = stack.voxels_of(array).astype(int)
    assert stack.voxels_of(array).shape == (4, *VOLUME_XYZ[::-1])
    np.testing.assert_array_equal(red[0], placed(grey(FIRST + 50)))
    np.testing.assert_array_equal(green[0], placed(grey(FIRST)))
    np.testing.assert_array_equal(np.delete(green, 6, axis=0), np.delete(further, 6, axis=0))
    np.testing.assert_array_equal(further[6], placed(grey(FIRST + 6)))  # the first file alone was judged
    np.testing.assert_array_equal(green[6], placed(255 - grey(FIRST + 6)))
    inside = (green[2] > 0) & (blue[2] > 0)
    assert inside.mean() > 0.5
    clipped = (green[2] == 255) | (blue[2] == 255)
    assert np.abs(green[2] + blue[2] - 255)[inside & ~clipped].max() <= 1


def test_raw_grey_levels_go_to_an_array_of_their_own(tmp_path: Path) -> None:
    stack = make_run(tmp_path, "uint16")
    plain = stack.tile() and stack.voxels()
    config = stack.plan.config.model_copy(update={"keep_bits": True, "clip_limit": 0.02})
    kept = dataclasses.replace(stack, plan=stack.plan.model_copy(update={"config": config})).write()
    kept = kept.with_slice(FIRST + 1, action="invert")
    assert kept.tile().exit_code == 0
    shown, exact = kept.volume.arrays
    raw = kept.voxels_of(exact)
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw[0, 2 : 2 + HEIGHT, 3 : 3 + WIDTH], grey(FIRST, "uint16"))
    turned = np.clip(60_000 - grey(FIRST + 1, "uint16").astype(int), 0, 65_535)
    np.testing.assert_array_equal(raw[1, 2 : 2 + HEIGHT, 3 : 3 + WIDTH], turned)
    assert (kept.voxels_of(shown)[0] != plain[0]).any()  # CLAHE is for what is looked at
    record = read_record(kept.process, "tile", "0")
    assert record is not None
    assert {Path(output.uri).name for output in record.outputs} == {"aligned", "aligned-uint16"}
    before = (kept.folder / "out/tmp/aligned-uint16/c/0/0/0").read_bytes()
    again = dataclasses.replace(kept, transforms=kept.transforms).with_clip_limit(0)
    assert again.tile("0-0").exit_code == 0
    assert (kept.folder / "out/tmp/aligned-uint16/c/0/0/0").read_bytes() == before
