"""The plan step through its command line: what it writes, and what it refuses before anything is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from components.plan.estimate import task_voxels
from components.plan.main import main
from components.plan.work import expected_volume
from components.shared.documents.config import RunConfig
from components.shared.grid import Span
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from components.shared.storage.store import checksum
from components.shared.work import units
from components.shared.work.records import Record, commit
from tests.components.plan.plan_step import (
    FIRST,
    LAST,
    files_below,
    left_by_refusal,
    nothing_but_a_refusal,
    plan_of,
    refusal,
    run,
    write_slice,
)
from tests.components.shared.storage.memory_store import new_root


def test_a_sound_stack_is_planned(source: Path, tmp_path: Path) -> None:
    result = run(source)
    assert result.exit_code == 0, result.output
    plan = plan_of(tmp_path)
    assert [entry.z for entry in plan.slices] == list(range(FIRST, LAST + 1))
    assert {(entry.width_px, entry.height_px) for entry in plan.slices} == {(40, 30)}
    assert plan.slices[0].key == "img.00008.png"
    assert plan.slices[0].size_bytes == (source / "img.00008.png").stat().st_size
    assert (plan.pixel_type, plan.missing_z, plan.match_scale, plan.thumbnail_scale) == (
        "uint8",
        (),
        1.0,
        1.0,
    )
    assert (plan.chunk_length, plan.fan) == (8, 200)
    assert plan.task_voxels == task_voxels(expected_volume(plan))
    assert (tmp_path / "parameters/process_uri").read_text() == str(tmp_path / "out/process")
    assert json.loads((tmp_path / "parameters/chunks").read_text()) == ["8-15", "16-23", "24-25"]
    assert set(files_below(tmp_path / "out")) == {"process/plan.json"}


def test_slices_may_lie_in_the_folder_raw_as_in_the_older_workflow(source: Path, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    source.rename(bucket / "raw")
    assert run(bucket).exit_code == 0
    plan = plan_of(tmp_path)
    assert (plan.config.image, plan.slices[0].key) == ("raw/img.%05d.png", "raw/img.00008.png")
    said = refusal(run(bucket, image="slice.%d.png", output=tmp_path / "other"), 65)
    assert "must hold slices 'slice.%d.png'" in said


def test_every_field_of_the_configuration_has_a_flag() -> None:
    flags = {option for parameter in main.params for option in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in RunConfig.model_fields} < flags


def test_parameters_arrive_as_the_text_that_a_pod_gets(source: Path, tmp_path: Path) -> None:
    changes = {"resolution": "[4, 4, 8.5]", "skip_align": "true", "allow_gaps": "false", "clip_limit": "0.01"}
    assert run(source, **changes, id="", email="", fan=1).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.config.resolution == (4, 4, 8.5)
    assert plan.config.skip_align is True
    assert plan.config.allow_gaps is False
    assert plan.config.clip_limit == 0.01
    assert plan.chunk_length == 18


def test_a_second_run_writes_the_same_bytes_and_lists_only_what_is_left(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    path = tmp_path / "out/process/plan.json"
    before, written_ns = path.read_bytes(), path.stat().st_mtime_ns
    plan = plan_of(tmp_path)
    done = Record(step="align", unit="8-15", input_hash=units.chunk_hash(plan, Span(8, 15)), outputs=())
    commit(FolderStore(tmp_path / "out/process"), done)
    assert run(source).exit_code == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, written_ns)
    assert (tmp_path / "parameters/chunks").read_text() == '["16-23","24-25"]'


def test_another_setting_replans_and_a_changed_slice_is_matched_again(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    plan = plan_of(tmp_path)
    for chunk in units.chunks(plan):
        record = Record(step="align", unit=str(chunk), input_hash=units.chunk_hash(plan, chunk), outputs=())
        commit(FolderStore(tmp_path / "out/process"), record)
    assert run(source, clip_limit=0.1).exit_code == 0
    assert plan_of(tmp_path).config.clip_limit == 0.1
    assert (tmp_path / "parameters/chunks").read_text() == "[]"
    write_slice(source / "img.00025.png", width=64)
    assert run(source, clip_limit=0.1).exit_code == 0
    assert (tmp_path / "parameters/chunks").read_text() == '["16-23","24-25"]'


@pytest.mark.parametrize("changes", [{"minz": 9}, {"image": "copy/img.%05d.png"}])
def test_an_output_holds_one_stack(source: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    for z in range(FIRST, LAST + 1):
        write_slice(source / "copy" / f"img.{z:05d}.png")
    assert run(source).exit_code == 0
    before = files_below(tmp_path / "out")
    assert "Choose another output" in refusal(run(source, **changes), 65)
    assert files_below(tmp_path / "out") == before | left_by_refusal(tmp_path)


def test_an_exported_volume_is_left_alone(source: Path, tmp_path: Path) -> None:
    FolderStore(tmp_path / "out/process").write("export.json", b"{}")
    assert "must not hold an exported volume" in refusal(run(source), 65)
    assert list(files_below(tmp_path / "out")) == ["process/export.json"]


def test_a_plan_of_another_version_is_refused(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "out/process/plan.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"schema_version": 0}')
    assert "Choose another output" in refusal(run(source), 65)


def test_sizes_may_differ_and_the_longest_side_decides_the_scales(source: Path, tmp_path: Path) -> None:
    write_slice(source / "img.00010.png", width=7, height=2560)
    assert run(source).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.largest_xy == (40, 2560)
    assert (plan.match_scale, plan.thumbnail_scale) == (0.5, 0.2)


def test_downsample_factor_decides_the_scale(source: Path, tmp_path: Path) -> None:
    assert run(source, downsample_factor=4).exit_code == 0
    assert plan_of(tmp_path).match_scale == 0.25


def test_16_bit_is_planned(tmp_path: Path) -> None:
    for z in range(3):
        write_slice(tmp_path / "raw" / f"{z}.tif", dtype="uint16")
    assert run(tmp_path / "raw", image="%d.tif", minz=0, maxz=2).exit_code == 0
    assert plan_of(tmp_path).pixel_type == "uint16"


def test_gaps_are_refused_by_number_unless_allowed(source: Path, tmp_path: Path) -> None:
    for z in (10, 11, 20):
        (source / f"img.{z:05d}.png").unlink()
    sentence = refusal(run(source), 65)
    assert "3 missing (10, 11, 20)" in sentence
    assert "allow_gaps" in sentence
    assert nothing_but_a_refusal(tmp_path)
    assert run(source, allow_gaps="true").exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.missing_z == (10, 11, 20)
    assert len(plan.slices) == LAST - FIRST + 1 - 3


def test_the_first_and_last_slice_must_be_there(source: Path, tmp_path: Path) -> None:
    sentence = refusal(run(source, minz=5, maxz=30, allow_gaps="true"), 65)
    assert "Give --minz 8 --maxz 25." in sentence
    assert nothing_but_a_refusal(tmp_path)


def rgb(source: Path) -> None:
    cv2.imwrite(str(source / "img.00012.png"), np.zeros((30, 40, 3), np.uint8))


def web_page(source: Path) -> None:
    (source / "img.00012.png").write_text("<html>")


def deep(source: Path) -> None:
    write_slice(source / "img.00012.png", dtype="uint16")


REFUSED = {
    "no folder": (
        {"source": "no-such-folder"},
        65,
        "the source must be a folder or bucket that exists; got ",
    ),
    "empty folder": ({"source": "empty"}, 65, "got no file in"),
    "other range": ({"minz": 100, "maxz": 200}, 65, "18 slices numbered 8 to 25 in"),
    "other padding": ({"image": "img.%04d.png"}, 65, "names such as img.00008.png, img.00009.png"),
    "no padding": ({"image": "img.%d.png"}, 65, "names such as img.00008.png"),
    "other names": ({"image": "slice%04d.tif"}, 65, "names such as img.00008.png"),
    "beyond the end": ({"maxz": 30}, 65, "5 missing (26, 27, 28, 29, 30)"),
    "leaves the folder": ({"image": "../img.%05d.png"}, 78, "'image': must stay inside"),
    "empty range": ({"minz": 26}, 78, "minz must not exceed maxz"),
    "not a number": ({"clip_limit": "nan"}, 78, "clip_limit"),
    "not a boolean": ({"skip_align": "perhaps"}, 78, "skip_align"),
    "resolution": ({"resolution": "8 nm"}, 78, "Write 8 or [8,8,8]"),
    "enlarging": ({"downsample_factor": 0.5}, 78, "'downsample_factor' must be 0, or 1 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_configuration_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, exit_code, sentence = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert sentence in refusal(run(source, **{"output": tmp_path / "out", **changes}), exit_code)
    assert nothing_but_a_refusal(tmp_path)
    assert not (tmp_path / "parameters").exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (rgb, "every slice must have the same channels; got 1 (img.00008.png) and 3 (img.00012.png)"),
        (web_page, "must be a PNG, TIFF, JPEG or Janelia .dat file"),
        (deep, "got uint16 (img.00012.png) and uint8 (img.00008.png)"),
    ],
)
def test_one_bad_slice_is_named(source: Path, tmp_path: Path, spoil: Any, sentence: str) -> None:
    spoil(source)
    said = refusal(run(source), 65)
    assert sentence in said
    assert "img.00012.png" in said
    assert nothing_but_a_refusal(tmp_path)


@pytest.mark.parametrize("folder", ["tmp", "process/records", "chunk", "neuroglancer/jpeg"])
def test_slices_where_a_run_writes_are_refused(source: Path, tmp_path: Path, folder: str) -> None:
    inside = tmp_path / "out" / folder
    inside.parent.mkdir(parents=True)
    source.rename(inside)
    before = files_below(tmp_path / "out")
    assert "must lie outside" in refusal(run(inside, output=tmp_path / "out"), 65)
    pattern = f"{folder}/img.%05d.png"
    assert "must lie outside" in refusal(run(tmp_path / "out", image=pattern, output=tmp_path / "out"), 65)
    assert files_below(tmp_path / "out") == before


def test_an_output_beside_the_slices_leaves_them_as_they_are(source: Path) -> None:
    before = files_below(source)
    assert run(source, output=source).exit_code == 0
    after = files_below(source)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"process/plan.json"}


def write_channels(source: Path, pattern: str, n_channels: int = 1, dtype: str = "uint8") -> None:
    rng = np.random.default_rng(3)
    for z in range(FIRST, LAST + 1):
        shape = (30, 40) if n_channels == 1 else (30, 40, n_channels)
        image = rng.integers(1000, 3000, shape).astype(dtype)
        assert cv2.imwrite(str(source / (pattern % z)), image)


def test_rgb_slices_are_planned(source: Path, tmp_path: Path) -> None:
    write_channels(source, "rgb.%05d.png", 3)
    assert run(source, image="rgb.%05d.png").exit_code == 0
    assert plan_of(tmp_path).file_channels == (3,)


def test_further_channels_are_planned_with_their_slices(source: Path, tmp_path: Path) -> None:
    write_channels(source, "esb.%05d.png")
    result = run(source, more_channels='["esb.%05d.png"]')
    assert result.exit_code == 0, result.output
    plan = plan_of(tmp_path)
    assert plan.file_channels == (1, 1)
    assert [entry.more_channels[0].key for entry in plan.slices] == [
        f"esb.{z:05d}.png" for z in range(FIRST, LAST + 1)
    ]
    assert plan.more_intensity_ranges == ((0, 255),)
    assert run(source).exit_code == 65  # the output holds another stack


def test_the_grey_levels_of_a_further_channel_of_16_bit_are_sampled(source: Path, tmp_path: Path) -> None:
    write_channels(source, "se.%05d.png", dtype="uint16")
    write_channels(source, "esb.%05d.png", dtype="uint16")
    cv2.imwrite(str(source / "esb.00009.png"), np.full((30, 40), 65535, np.uint16))
    result = run(source, image="se.%05d.png", more_channels='["esb.%05d.png"]', keep_bits="true")
    assert result.exit_code == 0, result.output
    ((low, high),) = plan_of(tmp_path).more_intensity_ranges
    assert 1000 <= low < 1100
    assert 2900 < high < 3000


def test_a_slice_without_one_of_its_channels_is_named_or_a_gap(source: Path, tmp_path: Path) -> None:
    write_channels(source, "esb.%05d.png")
    (source / "esb.00011.png").unlink()
    sentence = refusal(run(source, more_channels='["esb.%05d.png"]'), 65)
    assert "got 1 without 'esb.%05d.png' (11)" in sentence
    assert nothing_but_a_refusal(tmp_path)
    assert run(source, more_channels='["esb.%05d.png"]', allow_gaps="true").exit_code == 0
    assert plan_of(tmp_path).missing_z == (11,)
    for path in source.glob("esb.*"):
        if path.name != "esb.00020.png":
            path.unlink()
    (source / "img.00020.png").unlink()
    assert "every slice must have every channel" in refusal(
        run(source, more_channels='["esb.%05d.png"]', allow_gaps="true"), 65
    )


def test_channels_of_other_sizes_depths_and_names_are_refused(source: Path) -> None:
    write_channels(source, "esb.%05d.png")
    write_slice(source / "esb.00011.png", width=41)
    sentence = refusal(run(source, more_channels='["esb.%05d.png"]'), 65)
    assert "got 40 x 30 px (img.00011.png) and 41 x 30 px (esb.00011.png)" in sentence
    write_channels(source, "deep.%05d.png", dtype="uint16")
    assert "numbers of one type" in refusal(run(source, more_channels='["deep.%05d.png"]'), 65)
    assert "in --set more_channels=..., or" in refusal(run(source, more_channels='["deep.%03d.png"]'), 65)
    assert "own name pattern" in refusal(run(source, more_channels='["img.%05d.png"]'), 78)
    assert "must be a list of name patterns" in refusal(run(source, more_channels="esb.%05d.png"), 78)


def test_another_look_at_the_same_files_reads_none_of_them(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(source).exit_code == 0
    before = files_below(tmp_path / "out")
    ranges = []
    monkeypatch.setattr(FolderStore, "read_range", lambda _, key, *ends: ranges.append((key, *ends)))
    assert run(source).exit_code == 0
    assert run(source, jpeg_quality=70).exit_code == 0
    assert ranges == []
    assert run(source, jpeg_quality=80).exit_code == 0
    assert files_below(tmp_path / "out") == before


def test_a_slice_that_was_written_again_is_another_slice(source: Path, tmp_path: Path) -> None:
    """A folder tells no checksum, and the new file may be as long as the old one."""
    assert run(source).exit_code == 0
    before = plan_of(tmp_path)
    path = source / "img.00012.png"
    written_ns = path.stat().st_mtime_ns
    os.utime(path, ns=(written_ns, written_ns + 1))
    assert run(source).exit_code == 0
    after = plan_of(tmp_path)
    assert after.slices[4].modified_ns == written_ns + 1
    chunk = Span(8, 15)
    assert units.chunk_hash(before, chunk) != units.chunk_hash(after, chunk)
    chunk = Span(16, 23)
    assert units.chunk_hash(before, chunk) == units.chunk_hash(after, chunk)


def test_what_a_killed_writer_left_long_ago_is_cleared_away(source: Path, tmp_path: Path) -> None:
    left = tmp_path / "out/chunk/8x8x8/.fibstack-tmp-7-abcd"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a sh")
    os.utime(left, (0, 0))
    assert run(source).exit_code == 0
    assert not left.exists()


def sizes_of(folder: Path) -> set[tuple[int, int]]:
    return {(entry.width_px, entry.height_px) for entry in plan_of(folder).slices}


def test_another_crop_or_inversion_is_planned_anew(source: Path, tmp_path: Path) -> None:
    assert run(source, crop="[5, 2, 30, 28]").exit_code == 0
    assert sizes_of(tmp_path) == {(30, 28)}
    assert run(source, crop="[5, 2, 30, 28]", invert="true").exit_code == 0
    assert (plan_of(tmp_path).reading.crop, plan_of(tmp_path).reading.invert) == ((5, 2, 30, 28), True)
    assert run(source, crop="[]").exit_code == 0
    assert sizes_of(tmp_path) == {(40, 30)}
    assert (plan_of(tmp_path).reading.crop, plan_of(tmp_path).reading.invert) == (None, False)


@pytest.mark.parametrize(
    ("crop", "sentence"),
    [
        ("[5, 2, 36, 28]", "'crop' must lie inside of every picture; got [5, 2, 36, 28] for 40 x 30 px in"),
        ("[-1, 0, 9, 9]", "'crop': must be [x, y, width, height] in px"),
        ("[0, 0, 9, 0]", "'crop': must be [x, y, width, height] in px"),
        ("[0, 0, 9]", "'crop': must be [x, y, width, height] in px"),
        ("top", "'crop' must be a list [x, y, width, height] of px; got 'top'. Write [0,0,4096,3800]."),
    ],
)
def test_a_crop_that_cannot_be_is_refused(source: Path, tmp_path: Path, crop: str, sentence: str) -> None:
    assert sentence in refusal(run(source, crop=crop), 78)
    assert nothing_but_a_refusal(tmp_path)


@pytest.mark.parametrize(
    ("region", "crop", "sentence"),
    [
        ("[0, 0, 41, 30]", "[]", "'match_region' must lie inside of every picture; got [0, 0, 41, 30] for"),
        ("[0, 0, 20, 20]", "[5, 2, 30, 28]", "must lie inside of 'crop' [5, 2, 30, 28]; got [0, 0, 20, 20]"),
        ("[0, 0, 40, 20]", "[]", "'match_region' must have sides of at least 64 px; got [0, 0, 40, 20]"),
        ("[0, 0, 9, 0]", "[]", "'match_region': must be [x, y, width, height] in px"),
    ],
)
def test_a_match_region_that_cannot_be_is_refused(
    source: Path, tmp_path: Path, region: str, crop: str, sentence: str
) -> None:
    assert sentence in refusal(run(source, match_region=region, crop=crop), 78)
    assert nothing_but_a_refusal(tmp_path)


def test_the_values_of_floating_point_are_sampled(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for z in range(3):
        image = np.random.default_rng(z).uniform(-3, 7, (30, 40)).astype(np.float32)
        tifffile.imwrite(tmp_path / "raw" / f"{z}.tif", image)
    assert run(tmp_path / "raw", image="%d.tif", minz=0, maxz=2).exit_code == 0
    plan = plan_of(tmp_path)
    ((low, high),) = plan.reading.values
    assert (low, high, plan.pixel_type) == (pytest.approx(-13, abs=0.7), pytest.approx(17, abs=0.7), "uint16")


def test_slices_that_nothing_vouches_for_are_read(source: Path, tmp_path: Path) -> None:
    """Their store tells a size alone, so that other bytes would be taken for the same slice."""
    uri = new_root("slices")
    store = open_store(uri)
    for path in source.iterdir():
        store.write(path.name, path.read_bytes())
    folder = tmp_path / "parameters"
    places = {"output": tmp_path / "out", "process_uri_out": folder / "uri", "chunks_out": folder / "chunks"}
    assert run(uri, **places).exit_code == 0
    first = plan_of(tmp_path).slices[0]
    assert first.crc32c == checksum(store.read(first.key))
    changed = bytearray(store.read(first.key))
    changed[-1] ^= 1  # the end of the last PNG chunk's checksum, which no header is read from
    store.write(first.key, bytes(changed))
    assert run(uri, **places).exit_code == 0
    assert plan_of(tmp_path).slices[0].crc32c == checksum(bytes(changed))
