"""The align step through its command line, on a small stack in a folder."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result

from components.align.main import main
from components.shared.documents.align import AlignRecord, PairRecord
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.geometry import translation
from components.shared.storage.folder import FolderStore
from components.shared.work.left import chunks_to_do
from components.shared.work.units import chunks
from tests.builders import invoke, plan_of, with_sizes
from tests.components.align.planted_pair import error_px, render, texture

FIRST, LAST, MISSING = 10, 20, 14
SIDE = 160
SHIFT_XY = (1.5, -0.75)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for z in range(FIRST, LAST + 1):
        if z != MISSING:
            moved = translation(SHIFT_XY[0] * (z - FIRST), SHIFT_XY[1] * (z - FIRST))
            picture = render(texture(1), moved, seed=z, shape_yx=(SIDE, SIDE))
            assert cv2.imwrite(str(folder / f"img.{z}.png"), picture)
    return folder


def plan_for(source: Path, output: Path, chunk_length: int, **settings: object) -> Plan:
    given = {"source": str(source), "image": "img.%d.png", "output": str(output), "neighbours": 2, **settings}
    plan = plan_of(
        FIRST, LAST, [MISSING], size_px=(SIDE, SIDE), thumbnail_scale=0.25, chunk_length=chunk_length, **given
    )
    return with_sizes(plan, source)


def align(plan: Plan, chunk: str) -> Result:
    process = FolderStore(Path(plan.locations.process_uri))
    process.write("plan.json", plan.to_json())
    return invoke(main, process_uri=process.uri, chunk=chunk)


def run_all(plan: Plan) -> tuple[list[AlignRecord], FolderStore]:
    process = FolderStore(Path(plan.locations.process_uri))
    found = []
    for chunk in chunks(plan):
        result = align(plan, str(chunk))
        assert result.exit_code == 0, result.output
        found.append(AlignRecord.model_validate_json(process.read(f"align/{chunk}.json")))
    return found, process


def pairs_of(found: list[AlignRecord]) -> list[PairRecord]:
    return [pair for record in found for pair in record.pairs]


def test_each_slice_has_a_line_in_the_log(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever follows a pod sees how far it is."""
    caplog.set_level("INFO")
    assert align(plan_for(source, tmp_path, 3), "10-12").exit_code == 0
    lines = [message for message in caplog.messages if message.startswith("slice ")]
    said = [re.sub(r"\d+ features", "N features", line) for line in lines]
    assert said == [
        "slice 10, 1 of at most 7: N features, matches 0 of 0 slices before it",
        "slice 11, 2 of at most 7: N features, matches 1 of 1 slices before it",
        "slice 12, 3 of at most 7: N features, matches 2 of 2 slices before it",
        "slice 13, 4 of at most 7: N features, matches 2 of 2 slices before it",
        "slice 15, 5 of at most 7: N features, matches 1 of 1 slices before it",
    ]


def test_every_pair_of_neighbours_once_whatever_the_chunks(source: Path, tmp_path: Path) -> None:
    in_threes, process = run_all(plan_for(source, tmp_path / "3", 3))
    in_sevens, _ = run_all(plan_for(source, tmp_path / "7", 7))
    pairs = pairs_of(in_threes)
    present = [z for z in range(FIRST, LAST + 1) if z != MISSING]
    want = [(z, other) for i, z in enumerate(present) for other in present[i + 1 : i + 3]]
    assert [(pair.z, pair.neighbour_z) for pair in pairs] == want
    assert pairs == pairs_of(in_sevens)
    assert [s for r in in_threes for s in r.slices] == [s for r in in_sevens for s in r.slices]
    for pair in pairs:
        apart = pair.neighbour_z - pair.z
        assert error_px(pair.matrix, translation(SHIFT_XY[0] * apart, SHIFT_XY[1] * apart)) < 0.1
    assert [s.z for r in in_threes for s in r.slices] == present
    assert chunks_to_do(plan_for(source, tmp_path / "3", 3), process) == []


def test_an_item_of_several_chunks_matches_each_that_is_left(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, process = run_all(plan_for(source, tmp_path / "one", 3))
    plan = plan_for(source, tmp_path / "many", 3)
    assert align(plan, "13-15").exit_code == 0
    caplog.set_level("INFO")
    assert align(plan, "10-18").exit_code == 0
    assert "chunk 13-15 is already done" in caplog.messages
    many = FolderStore(Path(plan.locations.process_uri))
    assert [str(chunk) for chunk in chunks_to_do(plan, many)] == ["19-20"]
    for name in ("10-12", "13-15", "16-18"):
        assert many.read(f"align/{name}.json") == process.read(f"align/{name}.json")


BLANK = (13, 15)


def test_slice_before_bad_ones_looks_further_whatever_the_chunks(source: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(source, damaged)
    for z in BLANK:
        assert cv2.imwrite(str(damaged / f"img.{z}.png"), np.full((SIDE, SIDE), 90, np.uint8))
    in_twos, _ = run_all(plan_for(damaged, tmp_path / "2", 2))
    in_one, _ = run_all(plan_for(damaged, tmp_path / "11", 11))
    pairs = pairs_of(in_twos)
    assert pairs == pairs_of(in_one)
    found = {(p.z, p.neighbour_z): p for p in pairs}
    assert [b for a, b in found if a == 12] == [13, 15, 16, 17]
    assert [b for a, b in found if a == 11] == [12, 13, 15, 16]
    assert [b for a, b in found if a == 16] == [17, 18]
    assert found[12, 16].fallback == found[12, 17].fallback == "wide"
    assert found[12, 13].reason == "no_content"
    truth = translation(SHIFT_XY[0] * 4, SHIFT_XY[1] * 4)
    assert error_px(found[12, 16].matrix, truth) < 0.1


def test_outputs_repeat_to_the_byte_and_name_no_time(source: Path, tmp_path: Path) -> None:
    stores = []
    for name in ("a", "b"):
        plan = plan_for(source, tmp_path / name, 4, neighbours=1)
        assert align(plan, "10-13").exit_code == 0
        stores.append(FolderStore(Path(plan.locations.process_uri)))
    for key in ("align/10-13.json", "align/10-13.npz"):
        assert stores[0].read(key) == stores[1].read(key)


def test_thumbnails_of_own_slices_alone(source: Path, tmp_path: Path) -> None:
    plan = plan_for(source, tmp_path, 3, neighbours=1)
    assert align(plan, "13-15").exit_code == 0
    data = FolderStore(Path(plan.locations.process_uri)).read("align/13-15.npz")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert sorted(archive.files) == ["z13", "z15"]
        picture = cv2.imread(str(source / "img.13.png"), cv2.IMREAD_GRAYSCALE)
        blocks = picture.reshape(SIDE // 4, 4, SIDE // 4, 4).mean(axis=(1, 3))
        assert archive["z13"].dtype == np.uint8
        assert np.abs(archive["z13"] - blocks).max() <= 0.51


def test_finished_chunk_is_not_done_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(source, tmp_path, 3, neighbours=1)
    assert align(plan, "10-12").exit_code == 0
    monkeypatch.setattr("components.align.main.read_slice", lambda *_: pytest.fail("read again"))
    assert align(plan, "10-12").exit_code == 0
    changed = plan_for(source, tmp_path, 3, neighbours=3)
    with pytest.raises(pytest.fail.Exception):
        invoke(main, process_uri=write_plan(changed), chunk="10-12")


def write_plan(plan: Plan) -> str:
    process = FolderStore(Path(plan.locations.process_uri))
    process.write("plan.json", plan.to_json())
    return process.uri


def test_each_slice_is_read_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.align import main as module

    read, original = [], module.read_slice

    def counting(store: object, entry: SourceSlice, *how: object) -> object:
        read.append(entry.z)
        return original(store, entry, *how)

    monkeypatch.setattr(module, "read_slice", counting)
    assert align(plan_for(source, tmp_path, 3), "13-15").exit_code == 0
    assert read == [13, 15, 16, 17]


def test_without_alignment_there_are_statistics_and_thumbnails(source: Path, tmp_path: Path) -> None:
    found, _ = run_all(plan_for(source, tmp_path, 11, skip_align=True))
    assert len(found[0].slices) == LAST - FIRST
    assert found[0].pairs == ()


@pytest.mark.parametrize("chunk", ["14", "14-14", "30-31", "x"])
def test_chunk_that_was_not_planned_is_refused_in_a_sentence(
    source: Path, tmp_path: Path, chunk: str
) -> None:
    result = align(plan_for(source, tmp_path, 3), chunk)
    assert result.exit_code == 78
    assert "Traceback" not in result.output
    assert "Pass" in result.output


def test_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    FolderStore(tmp_path).write("plan.json", json.dumps({"schema_version": 0}).encode())
    result = invoke(main, process_uri=tmp_path, chunk="0-1")
    assert result.exit_code == 65
    assert "plan.json" in result.output
