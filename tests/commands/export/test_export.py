"""`fibstack export`: the voxels, the bytes, and what happens when something is in the way."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray

import commands.export.volume
from commands.export.exported import left_out, transforms_as_read, transforms_of_export
from commands.verify.mending import export_command
from commands.view.published import find_volumes
from commands.view.viewer import first_view
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import Transforms
from components.shared.errors import ConfigError, TransientError
from components.shared.storage.registry import open_store
from components.shared.storage.store import join_uri
from components.shared.volume.volume import RAW_TILES_KEY, TILES_KEY, TileArray
from components.shared.work.export import EXPORT_KEY, Export
from components.shared.work.records import Record
from components.shared.work.verification import read_written
from tests.builders import cli, plan_of, transforms_of
from tests.components.pyramid.pyramid_builders import (
    AlignedStack,
    halvings_of,
    read_tensorstore,
    reference_levels,
    textured,
)
from tests.components.shared.work.rot import change_places, change_with_time_put_back


def finished(root: Any, voxels: NDArray[Any], **settings: Any) -> AlignedStack:
    stack = AlignedStack(root, voxels, **{"raw_pyramid": False} | settings)
    stack.write_blocks()
    stack.write_info()
    return stack


def export(source: AlignedStack, target: object, *flags: Any) -> Result:
    result = cli("export", source, target, "--jobs", "1", *flags)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def digests(folder: Any) -> dict[str, str]:
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> AlignedStack:
    """Slices 16-85 of 100 x 130 px; `voxels` is [z, y, x]."""
    return finished(tmp_path_factory.mktemp("source"), textured((70, 130, 100)), minz=16)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> AlignedStack:
    """Two blocks and a coarse pass."""
    return finished(tmp_path_factory.mktemp("wide"), textured((5, 9, 1100)))


def root(stack: AlignedStack) -> str:
    return stack.plan.config.output


def test_without_options_the_bytes_are_those_of_the_run(wide: AlignedStack, tmp_path: Path) -> None:
    result = export(root(wide), tmp_path / "new", "--lossless")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Volume: {tmp_path}/new/neuroglancer/jpeg\n"
    for name in ("neuroglancer", "chunk"):
        assert digests(tmp_path / "new" / name) == digests(Path(root(wide), name))


def test_without_lossless_there_is_only_what_is_browsed(wide: AlignedStack, tmp_path: Path) -> None:
    assert export(root(wide), tmp_path / "new").exit_code == 0
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"neuroglancer", "process"}


def test_a_volume_that_was_moved_is_exported_from_where_it_lies(wide: AlignedStack, tmp_path: Path) -> None:
    shutil.copytree(root(wide), tmp_path / "written")
    expected = export(root(wide), tmp_path / "one")
    assert expected.exit_code == 0, expected.output
    (tmp_path / "written").rename(tmp_path / "moved")
    result = export(tmp_path / "moved", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert digests(tmp_path / "new/neuroglancer") == digests(tmp_path / "one/neuroglancer")
    assert json.loads((tmp_path / "new/process/export.json").read_text())["source"] == f"{tmp_path}/moved"


def test_an_export_goes_on_where_it_and_its_source_were_moved(wide: AlignedStack, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(root(wide), home / "aligned")
    assert export(home / "aligned", home / "new").exit_code == 0
    finest = next((home / "new/neuroglancer/jpeg/8x8x8").iterdir())
    before = finest.stat().st_mtime_ns
    there = home.rename(tmp_path / "there")
    assert cli("verify", there / "new").exit_code == 0
    (there / "new/process/records/pyramid/5/0.json").unlink()
    (there / "new/neuroglancer/jpeg/info").unlink()
    result = export(there / "aligned", there / "new")
    assert result.exit_code == 0, result.output
    assert cli("verify", there / "new").exit_code == 0
    assert (there / finest.relative_to(home)).stat().st_mtime_ns == before, "what was written holds"
    other = export(there / "aligned", there / "new", "--contrast", "10-200")
    assert "holds another volume" in other.stderr


def test_processes_make_the_same_bytes(wide: AlignedStack, tmp_path: Path) -> None:
    words = ["export", root(wide), str(tmp_path / "two"), "--crop", "3:,:,:", "--jobs", "2"]
    result = cli(*words)
    assert result.exit_code == 0, result.output
    assert export(root(wide), tmp_path / "one", "--crop", "3:,:,:").exit_code == 0
    assert digests(tmp_path / "two/neuroglancer") == digests(tmp_path / "one/neuroglancer")


def test_every_option_at_once(source: AlignedStack, tmp_path: Path) -> None:
    flags = ["--crop", "10:75,:120,18:84", "--contrast", "60-200", "--without-slices", "19,40-42"]
    result = export(root(source), tmp_path / "new", *flags, "--jpeg-quality", 95, "--lossless")
    assert result.exit_code == 0, result.output
    shown = list(range(2, 68))
    for z, other in {19: 18, 40: 39, 41: 39, 42: 43}.items():
        shown[z - 18] = other - 16
    grey = (source.voxels[shown, :120, 10:75].astype(float) - 60) * 255 / 140
    expected = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
    voxels, _ = read_tensorstore(str(tmp_path / "new/chunk"), 0)
    np.testing.assert_array_equal(voxels, expected)
    written = read_written(open_store(str(tmp_path / "new/process")))
    for index, level in enumerate(reference_levels(expected, halvings_of(written.volume))):
        jpeg, _ = read_tensorstore(str(tmp_path / "new/neuroglancer/jpeg"), index)
        assert np.abs(jpeg.astype(int) - level).mean() < 2
    info = json.loads((tmp_path / "new/neuroglancer/jpeg/info").read_text())
    assert info["scales"][0]["jpeg_quality"] == 95
    record = json.loads((tmp_path / "new/process/export.json").read_text())
    assert record["crop_xyz"] == [[10, 75], [0, 120], [2, 68]]
    assert record["left_out"][0] == {"z": 19, "shown_z": 18}
    assert cli("verify", tmp_path / "new", "--full").exit_code == 0


def test_the_documents_hold_for_the_new_volume(source: AlignedStack, tmp_path: Path) -> None:
    export(root(source), tmp_path / "new", "--crop", "10:75,7:,18:84", "--without-slices", "19")
    transforms = Transforms.model_validate_json((tmp_path / "new/process/transforms.json").read_text())
    assert transforms.volume_size_xyz == (65, 123, 66)
    assert transforms.volume_origin_xyz_px == (10, 7, 18)
    assert transforms.first_voxel_xy == (10, 7)
    assert [entry.z for entry in transforms.slices] == list(range(18, 84))
    assert transforms.slices[0].matrix == ((1, 0, -10), (0, 1, -7), (0, 0, 1))
    assert (transforms.slices[1].action, transforms.slices[1].replaced_from) == ("replace", 18)
    assert transforms.slices[2].action == "keep"


def test_an_export_of_an_export(source: AlignedStack, tmp_path: Path) -> None:
    assert export(root(source), tmp_path / "a", "--crop", "5:,:,20:", "--lossless").exit_code == 0
    assert export(tmp_path / "a", tmp_path / "b", "--crop", "12:30,:,:", "--lossless").exit_code == 0
    voxels, _ = read_tensorstore(str(tmp_path / "b/chunk"), 0)
    np.testing.assert_array_equal(voxels, source.voxels[4:, :, 12:30])
    refused = export(tmp_path / "a", tmp_path / "c", "--crop", "0:30,:,:")
    assert (refused.exit_code, "inside 5:100,0:130,20:86" in refused.stderr) == (78, True)
    process = open_store(str(tmp_path / "b/process"))
    again = export_command(read_document(process, EXPORT_KEY, Export), str(tmp_path / "c"))
    assert "--crop 12:30,0:130,20:86" in again
    assert cli(*shlex.split(again)[1:]).exit_code == 0
    assert digests(tmp_path / "c/chunk") == digests(tmp_path / "b/chunk")


@pytest.mark.parametrize(
    ("crop", "first", "in_info"),
    [
        ("8:72,16:,20:", (8, 16, 20), (8, 16, 20)),
        ("9:73,16:,17:", (9, 16, 17), (0, 16, 0)),  # no level but the finest could begin there
    ],
)
def test_a_crop_lies_over_its_source_in_the_viewer(
    source: AlignedStack,
    tmp_path: Path,
    crop: str,
    first: tuple[int, int, int],
    in_info: tuple[int, int, int],
) -> None:
    """The viewer's coordinates are those of the run; info has them where all levels can hold them."""
    assert export(root(source), tmp_path / "new", "--lossless", "--crop", crop).exit_code == 0
    volumes = find_volumes(str(tmp_path / "new"))
    state, _ = first_view(str(tmp_path / "new"), {volume.name: "http://here" for volume in volumes}, volumes)
    size = read_written(open_store(str(tmp_path / "new/process"))).volume.size_xyz
    assert tuple(state.position) == tuple(a + n / 2 for a, n in zip(first, size, strict=True))
    for volume, layer in zip(volumes, state.to_json()["layers"], strict=True):
        _, origin = read_tensorstore(volume.store.uri, 0)
        assert origin == in_info
        matrix = layer["source"][0].get("transform", {"matrix": np.eye(3, 4)})["matrix"]
        shift = [row[-1] for row in matrix]
        assert [a + b for a, b in zip(origin, shift, strict=True)] == list(first)
    assert cli("verify", tmp_path / "new").exit_code == 0


def test_levels_of_a_crop_begin_where_those_of_its_source_do(source: AlignedStack, tmp_path: Path) -> None:
    assert export(root(source), tmp_path / "new", "--crop", "8:72,16:,20:").exit_code == 0
    info = json.loads((tmp_path / "new/neuroglancer/jpeg/info").read_text())
    assert [scale["voxel_offset"] for scale in info["scales"]] == [[8, 16, 20], [4, 8, 10]]


def test_a_stopped_export_goes_on_where_it_was(
    wide: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_block = commands.export.volume.write_block

    def stops(job: Any, level: int, block: int, pool: Any, n_threads: int) -> Record:
        if block == 1:
            raise TransientError("the machine must go on; it stopped. Try again.")
        return write_block(job, level, block, pool, n_threads)

    monkeypatch.setattr(commands.export.volume, "write_block", stops)
    assert export(root(wide), tmp_path / "new").exit_code == 75
    assert not (tmp_path / "new/neuroglancer/jpeg/info").exists()
    done = tmp_path / "new/process/records/pyramid/0/0.json"
    before = done.stat().st_mtime_ns
    monkeypatch.setattr(commands.export.volume, "write_block", write_block)
    assert export(root(wide), tmp_path / "new").exit_code == 0
    assert done.stat().st_mtime_ns == before
    assert digests(tmp_path / "new/neuroglancer") == digests(Path(root(wide), "neuroglancer"))


def test_a_damaged_shard_is_made_again(wide: AlignedStack, tmp_path: Path) -> None:
    export(root(wide), tmp_path / "new")
    whole = digests(tmp_path / "new/neuroglancer")
    (tmp_path / "new/neuroglancer/jpeg/8x8x8/1.shard").unlink()
    assert export(root(wide), tmp_path / "new").exit_code == 0
    assert digests(tmp_path / "new/neuroglancer") == whole


@pytest.mark.parametrize("flags", [["--contrast", "3-200"], ["--jpeg-quality", "7"], ["--lossless"]])
def test_another_export_is_not_written_over(wide: AlignedStack, tmp_path: Path, flags: Any) -> None:
    export(root(wide), tmp_path / "new")
    before = digests(tmp_path / "new")
    result = export(root(wide), tmp_path / "new", *flags)
    assert result.exit_code == 65
    assert "another volume" in result.stderr
    assert digests(tmp_path / "new") == before


def test_a_run_is_not_written_over(wide: AlignedStack, source: AlignedStack) -> None:
    for target in (root(wide), root(source)):
        result = export(root(wide), target)
        assert result.exit_code == 65
        assert "another volume" in result.stderr


@pytest.mark.parametrize(
    "damage", ["deleted", "flipped", "time put back", "exchanged", "truncated", "unpublished", "no record"]
)
def test_a_lossless_volume_that_is_not_whole_is_never_black(tmp_path: Path, damage: str) -> None:
    stack = finished(tmp_path / "old", textured((5, 9, 1100)))
    shard = tmp_path / "old/chunk/8x8x8/2.shard"
    data = bytearray(shard.read_bytes())
    if damage == "deleted":
        shard.unlink()
    elif damage == "flipped":
        data[200] ^= 0xFF
        shard.write_bytes(data)
    elif damage == "time put back":
        data[200] ^= 0x01
        change_with_time_put_back(shard, data)
    elif damage == "exchanged":
        change_places(shard, shard.with_name("0.shard"))
    elif damage == "truncated":
        shard.write_bytes(data[:-5])
    elif damage == "no record":
        stack.process.delete("records/pyramid/0/1.json")
    else:
        (tmp_path / "old/chunk/info").unlink()
    result = export(root(stack), tmp_path / "new")
    assert result.exit_code == 65
    assert str(tmp_path / "old/chunk") in result.stderr or damage == "no record"
    assert not (tmp_path / "new/neuroglancer/jpeg/info").exists()


def test_the_command_that_names_the_damage_can_be_copied(tmp_path: Path) -> None:
    stack = finished(tmp_path / "the lab's run", textured((5, 9, 70)))
    (tmp_path / "the lab's run/chunk/8x8x8/0.shard").unlink()
    said = export(root(stack), tmp_path / "new").stderr
    command = said.rpartition("Run '")[2].rstrip().removesuffix("'.")
    assert shlex.split(command) == ["fibstack", "verify", root(stack)]


def test_buckets(bucket: str, tmp_path: Path) -> None:
    stack = finished(f"gs://{bucket}/old", textured((5, 20, 30)))
    result = export(root(stack), f"gs://{bucket}/new", "--crop", "4:20,:,:", "--lossless")
    assert result.exit_code == 0, result.output
    voxels, _ = read_tensorstore(f"gs://{bucket}/new/chunk", 0)
    np.testing.assert_array_equal(voxels, stack.voxels[:, :, 4:20])
    assert open_store(join_uri(f"gs://{bucket}/new", "process")).stat("export.json") is not None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--contrast", "9"], "--contrast must be two grey levels"),
        (["--contrast", "200-30"], "--contrast must be two grey levels"),
        (["--contrast", "0-256"], "0 to 255"),
        (["--crop", "0:10,0:10"], "0:100,0:130,16:86"),
        (["--crop", "0:101,:,:"], "got 0:101,:,:"),
        (["--crop", ":,:,0:10"], "got :,:,0:10"),
        (["--crop", "9:9,:,:"], "got 9:9,:,:"),
        (["--crop", "a:b,:,:"], "got a:b,:,:"),
        (["--without-slices", "x"], "--without-slices"),
        (["--without-slices", "15"], "from 16 to 85; got 15"),
        (["--without-slices", "1-99999999999"], "fewer than 1,000,000"),
        (["--without-slices", "16-85"], "leave a good slice"),
    ],
)
def test_bad_options_are_one_sentence_and_write_nothing(
    source: AlignedStack, tmp_path: Path, flags: Any, said: str
) -> None:
    result = export(root(source), tmp_path / "new", *flags)
    assert result.exit_code == 78
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    result = export(tmp_path, tmp_path / "new")
    assert result.exit_code == 65
    assert "process/plan.json" in result.stderr


def test_full_resolution_is_needed(tmp_path: Path) -> None:
    stack = finished(tmp_path / "old", textured((5, 70, 70)), output_level=1)
    result = export(root(stack), tmp_path / "new")
    assert result.exit_code == 65
    assert "output_level 1" in result.stderr


def test_an_export_cannot_be_resolved(source: AlignedStack, tmp_path: Path) -> None:
    export(root(source), tmp_path / "new", "--crop", "0:20,0:20,:")
    result = cli("resolve", tmp_path / "new")
    assert result.exit_code == 65
    assert root(source) in result.stderr


def test_who_stands_in_for_a_slice_left_out_is_itself_good(source: AlignedStack) -> None:
    slices = list(source.transforms.slices)
    slices[3] = slices[3].model_copy(update={"action": "replace", "replaced_from": 18})
    slices[5] = slices[5].model_copy(update={"action": "blend", "replaced_from": 20, "blended_with": 22})
    slices[6] = slices[6].model_copy(update={"action": "blank"})
    transforms = source.transforms.model_copy(update={"slices": tuple(slices)})
    # 19 showed 18, so it changes too; 21 was blended of 20 and 22.
    assert [(s.z, s.shown_z) for s in left_out(transforms, {18})] == [(18, 17), (19, 20)]
    assert [(s.z, s.shown_z) for s in left_out(transforms, {20})] == [(20, 18), (21, 23)]
    assert left_out(transforms, ()) == ()
    with pytest.raises(ConfigError, match="got 99"):
        left_out(transforms, {18, 99})


@pytest.mark.parametrize(
    "settings",
    [
        {"raw_pyramid": True, "ome_zarr": True, "lossless_encoding": "png"},
        {"resolution": (4, 4, 40)},
        {"output_level": 1, "raw_pyramid": True},
    ],
    ids=str,
)
def test_what_the_pyramid_writes_is_verified(tmp_path: Path, settings: dict[str, Any]) -> None:
    stack = finished(tmp_path / "run", textured((70, 75, 1030)), **settings)
    with_tiles = cli("verify", root(stack), "--full")
    assert with_tiles.exit_code == 0, with_tiles.output
    assert "nothing" not in with_tiles.stdout
    shutil.rmtree(stack.plan.locations.tmp_uri)
    without = cli("verify", root(stack))
    assert without.exit_code == 0, without.output
    assert without.stdout.count("nothing") == 1


@pytest.mark.parametrize("flags", [(), ("--lossless", "--crop", "3:,:,:")], ids=str)
def test_a_dry_run_changes_nothing_and_lists_what_is_then_written(
    wide: AlignedStack, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    listed = export(root(wide), tmp_path / "new", "--dry-run", *flags)
    assert listed.exit_code == 0, listed.output
    assert not (tmp_path / "new").exists()
    assert export(root(wide), tmp_path / "new", *flags).exit_code == 0
    written = {line.removeprefix("write   ") for line in listed.output.splitlines() if line[:6] == "write "}
    assert written == {str(tmp_path / "new" / key) for key in digests(tmp_path / "new")}


def test_a_dry_run_of_an_export_that_was_stopped_lists_what_is_left(
    wide: AlignedStack, tmp_path: Path
) -> None:
    assert export(root(wide), tmp_path / "new").exit_code == 0
    (tmp_path / "new/process/records/pyramid/0/1.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*") if path.is_file()}
    lines = export(root(wide), tmp_path / "new", "--dry-run").output.splitlines()
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*") if path.is_file()
    } == before
    assert export(root(wide), tmp_path / "new").exit_code == 0
    changed = {str(path) for path in before if path.stat().st_mtime_ns != before[path]}
    assert {line.removeprefix("replace ") for line in lines if line.startswith("replace")} == changed
    assert "write   " + str(tmp_path / "new/process/records/pyramid/0/1.json") in lines


def test_a_dry_run_refuses_what_the_export_refuses(wide: AlignedStack, tmp_path: Path) -> None:
    assert export(root(wide), root(wide), "--dry-run").exit_code == 65
    assert export(tmp_path / "nothing", tmp_path / "new", "--dry-run").exit_code == 65
    assert not (tmp_path / "new").exists()


def test_a_slice_is_replaced_by_one_that_its_own_plane_shows() -> None:
    """Steps along z are evened: plane 18 shows slice 19, so that it is no place of slice 18."""
    transforms = transforms_of(plan_of(17, 22))
    slices = [s.model_copy(update={"shown_z": 19} if s.z == 18 else {}) for s in transforms.slices]
    evened = transforms.model_copy(update={"slices": tuple(slices)})
    gone = left_out(evened, {19})
    assert [(s.z, s.shown_z) for s in gone] == [(18, 17), (19, 20)]
    assert [s.shown_z for s in left_out(evened, {17})] == [19]
    export = Export(
        source="out",
        source_hash="",
        contrast=None,
        crop_xyz=((0, 100), (0, 80), (0, 6)),
        left_out=gone,
        jpeg_quality=80,
        lossless=True,
    )
    written = transforms_of_export(evened, export)
    assert [written.plane(index).source_z for index in range(6)] == [17, 17, 20, 20, 21, 22]


def test_raw_grey_levels_are_exported_with_each_slice_at_its_own_number() -> None:
    transforms = transforms_of(plan_of(17, 22), shown_z=20)
    raw, seen = (TileArray(key=key, data_type="uint16", n_channels=1) for key in (RAW_TILES_KEY, TILES_KEY))
    assert {entry.shown_z for entry in transforms_as_read(transforms, raw).slices} == {None}
    assert transforms_as_read(transforms, seen) == transforms


def test_a_crop_takes_slice_numbers_where_info_cannot_carry_them(tmp_path: Path) -> None:
    """Slices 17-86 in levels that halve z twice: no level but the finest could begin at 17."""
    stack = finished(tmp_path / "run", textured((70, 130, 100)), minz=17)
    assert stack.volume.voxel_offset_xyz == (0, 0, 0)
    assert export(root(stack), tmp_path / "new", "--lossless", "--crop", ":,:,20:30").exit_code == 0
    voxels, _ = read_tensorstore(str(tmp_path / "new/chunk"), 0)
    np.testing.assert_array_equal(voxels, stack.voxels[3:13])
    refused = export(root(stack), tmp_path / "other", "--crop", ":,:,0:10")
    assert (refused.exit_code, "inside 0:100,0:130,17:87" in refused.output) == (78, True)
