"""The report step as a program, on a small run whose documents and shards are known."""

import html
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from components.shared.storage.registry import open_store
from components.shared.work import verification
from components.shared.work.records import record_key
from components.shared.work.run import Run
from components.shared.work.superseded import Place, note_superseded
from tests.components.report.finished_run import (
    SIZE_XYZ,
    FinishedRun,
    finished_run,
    make_plan,
    make_transforms,
    seal_blocks,
    write_align,
    write_compose,
    write_plan,
    write_volume,
)
from tests.components.report.report_step import FAILED, read_page, report, run_json
from tests.components.shared.work.rot import change_with_time_put_back, rot


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return finished_run(tmp_path)


def test_a_whole_volume_is_published_and_opens(run: FinishedRun) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    result = report(output)
    assert result.exit_code == 0, result.output
    for folder, n_levels in (("neuroglancer/jpeg", 6), ("chunk", 1)):
        info = json.loads((output / folder / "info").read_text())
        assert len(info["scales"]) == n_levels
        spec = {"driver": "neuroglancer_precomputed", "kvstore": open_store(str(output / folder)).kvstore("")}
        assert tuple(ts.open(spec).result().shape) == (*SIZE_XYZ, 1)
    document = run_json(output)
    assert document["complete"]
    assert document["problems"] == []
    assert [o["n_shards"] for o in document["outputs"]] == [11, 3]
    assert document["n_replaced"] == 1
    assert document["refusal_reasons"] == {"few_inliers": 2}
    assert document["n_pairs_accepted"] == 68
    assert document["largest_step_px"] == 1.5
    assert 3 <= len(document["summary"]) <= 7
    assert "7 by 6" in " ".join(document["summary"])
    assert "have raw ones: --set clip_limit=0 --set intensity=none." in document["summary"][-1]
    assert "lies at z" not in " ".join(document["summary"]), "slice 0 lies at 0"
    sizes = [p.stat().st_size for p in (output / "neuroglancer/jpeg").rglob("*.shard")]
    assert document["outputs"][0]["size_bytes"] == sum(sizes)


def test_what_resolve_has_decided_is_told_with_the_way_back(run: FinishedRun) -> None:
    plan, _, process = run
    decided = plan.model_copy(update={"resolved_from": {"max_replaced": 5}})
    process.write("plan.json", decided.to_json())
    output = Path(plan.config.output)
    report(output)
    told = (
        'Decided by resolve: max_replaced=3 (before: 5); take it back with "fibstack resolve '
        f'{output} --set max_replaced=5".'
    )
    assert told in run_json(output)["summary"]
    assert told in html.unescape(read_page(plan.config.output))


def test_a_status_that_is_not_known_is_decided_by_looking(run: FinishedRun) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    assert report(output, "{{workflow.status}}").exit_code == 0
    assert run_json(output)["complete"]
    delete_shard(output)
    assert report(output, "").exit_code == 75


def test_the_page_is_self_contained_and_shows_the_run(run: FinishedRun, drawn: None) -> None:
    plan, _, _ = run
    report(plan.config.output)
    text = read_page(plan.config.output)
    for part in (
        "the volume is complete",
        "img.00007.png",
        "replaced by 6",
        "few inliers",
        "fibstack run --source",
    ):
        assert part in text
    assert text.count("<svg") == 2
    assert text.count("data:image/webp") == 4 + 4  # sections, and the card of the replaced slice


def test_the_report_is_the_same_each_time(run: FinishedRun, drawn: None) -> None:
    plan, _, process = run
    report(plan.config.output)
    first = process.read("report/index.html"), process.read("run.json")
    assert report(plan.config.output).exit_code == 0
    assert (process.read("report/index.html"), process.read("run.json")) == first


SHARD = "neuroglancer/jpeg/16x16x16/1.shard"


def delete_shard(output: Path) -> None:
    (output / SHARD).unlink()


def truncate_shard(output: Path) -> None:
    data = (output / SHARD).read_bytes()
    (output / SHARD).write_bytes(data[:-1])


def write_over_shard(output: Path) -> None:
    data = (output / SHARD).read_bytes()
    (output / SHARD).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def spoil_index(output: Path) -> None:
    data = bytearray((output / SHARD).read_bytes())
    data[:8] = b"\xff" * 8
    rot(output / SHARD, data, output / "process")


def spoil_middle_chunk(output: Path) -> None:
    """Every chunk of the shard, so the middle one too; its index stays."""
    data = bytearray((output / SHARD).read_bytes())
    index_start = 16 + int.from_bytes(data[:8], "little")
    data[16:index_start] = bytes(index_start - 16)
    rot(output / SHARD, data, output / "process")


def flip_with_time_put_back(output: Path) -> None:
    data = bytearray((output / SHARD).read_bytes())
    data[len(data) // 3] ^= 1
    change_with_time_put_back(output / SHARD, data)


def add_file(output: Path) -> None:
    (output / "neuroglancer/jpeg/16x16x16/7.shard").write_bytes(b"?")


def delete_lossless_shard(output: Path) -> None:
    (output / "chunk/8x8x8/2.shard").unlink()


def delete_record(output: Path) -> None:
    (output / "process" / record_key("pyramid/0", "1")).unlink()


def spoil_record(output: Path) -> None:
    path = output / "process" / record_key("pyramid/5", "0")
    path.write_bytes(path.read_bytes().replace(b"pyramid/5", b"pyramid/6"))


def delete_intermediate_block(output: Path) -> None:
    (output / "process/pyramid/exact/0-0.raw").unlink()


@pytest.mark.parametrize(
    ("damage", "exit_code", "named"),
    [
        (delete_shard, 75, "16x16x16/1.shard"),
        (truncate_shard, 75, "16x16x16/1.shard"),
        (write_over_shard, 75, "16x16x16/1.shard"),
        (flip_with_time_put_back, 75, "16x16x16/1.shard"),
        (add_file, 65, "16x16x16/7.shard"),
        (delete_lossless_shard, 75, "8x8x8/2.shard"),
        (delete_record, 75, "1 of level 0"),
        (spoil_record, 75, "0 of level 5"),
        (delete_intermediate_block, 75, "intermediate"),
    ],
)
def test_a_volume_with_a_flaw_is_not_published(
    run: FinishedRun, damage: Callable[[Path], None], exit_code: int, named: str
) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    assert report(output).exit_code == 0
    damage(output)
    result = report(output)
    assert result.exit_code == exit_code
    assert named in result.output
    assert "Traceback" not in result.output
    assert not (output / "neuroglancer/jpeg/info").exists()
    assert not (output / "chunk/info").exists()
    document = run_json(output)
    assert not document["complete"]
    assert named in " ".join(document["problems"])
    assert "NOT complete" in read_page(output)


@pytest.mark.parametrize("damage", [spoil_index, spoil_middle_chunk])
def test_a_volume_that_does_not_open_is_not_published(
    run: FinishedRun, damage: Callable[[Path], None]
) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    damage(output)
    result = report(output)
    assert result.exit_code == 65
    assert "16x16x16/1.shard" in result.output
    assert not (output / "neuroglancer/jpeg/info").exists()


def test_a_volume_that_was_proven_is_not_read_again(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    assert report(output).exit_code == 0
    monkeypatch.setattr(verification, "open_shards", lambda *_: pytest.fail("the volume is read"))
    assert report(output).exit_code == 0


def test_tiles_stay_while_the_volume_is_incomplete(run: FinishedRun) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    delete_shard(output)
    report(output)
    assert (output / "tmp/aligned/c/0/0/0").exists()


def test_only_recorded_tiles_are_removed(run: FinishedRun) -> None:
    plan, _, _ = run
    output = Path(plan.config.output)
    for name in ("tmp/notes.txt", "tmp/aligned/c/9/0/0", "tmp/other/zarr.json"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("mine")
    assert report(output).exit_code == 0
    left = sorted(p.relative_to(output).as_posix() for p in (output / "tmp").rglob("*") if p.is_file())
    assert left == ["tmp/aligned/c/9/0/0", "tmp/notes.txt", "tmp/other/zarr.json"]


def test_a_record_cannot_remove_anything_outside_the_tiles(run: FinishedRun) -> None:
    plan, _, process = run
    output = Path(plan.config.output)
    from components.shared.work.records import Output, Record, commit

    outputs = tuple(
        Output(uri=str(output / folder), key="plan.json", size_bytes=1, crc32c="0")
        for folder in ("process", "tmp")
    )
    (output / "tmp/plan.json").write_text("mine")
    (output / "tmp/aligned/plan.json").write_text("mine")
    commit(process, Record(step="tile", unit="2", input_hash="any", outputs=outputs))
    assert report(output).exit_code == 0
    assert (output / "process/plan.json").exists()
    assert (output / "tmp/plan.json").exists()
    assert (output / "tmp/aligned/plan.json").exists()


def test_no_empty_folder_is_left_of_the_tiles(run: FinishedRun) -> None:
    output = Path(run[0].config.output)
    assert report(output).exit_code == 0
    assert not (output / "tmp").exists()


def test_tiles_can_be_kept(tmp_path: Path) -> None:
    plan, _, _ = finished_run(tmp_path, keep_tiles=True)
    assert report(plan.config.output).exit_code == 0
    assert Path(plan.config.output, "tmp/aligned/c/0/0/0").exists()


def test_an_all_black_shard_is_not_missed(tmp_path: Path) -> None:
    output = tmp_path / "out"
    plan = make_plan(output)
    process = open_store(str(output / "process"))
    transforms = make_transforms(plan, [np.eye(3)] * SIZE_XYZ[2], SIZE_XYZ)
    write_plan(process, plan)
    write_compose(process, transforms)
    voxels = np.full(SIZE_XYZ, 100, np.uint8)
    voxels[1024:] = 0
    write_volume(plan, transforms, process, voxels)
    assert not (output / "chunk/8x8x8/2.shard").exists()
    assert report(output).exit_code == 0
    assert run_json(output)["outputs"][1]["n_black_shards"] == 1


def test_a_refused_input_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    result = report(tmp_path / "out", FAILED)
    assert result.exit_code == 0
    assert [message.partition(" in ")[0] for message in caplog.messages] == ["no plan"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n_documents", range(5))
def test_a_failed_run_tells_what_is_known(tmp_path: Path, n_documents: int) -> None:
    """With plan, the first chunk, all chunks, the transforms, and a volume that lacks a block."""
    output = tmp_path / "out"
    plan = make_plan(output)
    process = open_store(str(output / "process"))
    transforms = make_transforms(plan, [np.eye(3)] * SIZE_XYZ[2], SIZE_XYZ)
    write_plan(process, plan)
    if n_documents >= 1:
        write_align(process, plan, lambda z: np.full((35, 550), 10 * z, np.uint8), refused={(3, 4)})
    if n_documents == 1:
        for key in ("align/8-15.json", "align/16-19.json", "align/8-15.npz", "align/16-19.npz"):
            process.delete(key)
    if n_documents >= 3:
        write_compose(process, transforms)
    if n_documents >= 4:
        write_volume(plan, transforms, process)
        delete_record(output)
    result = report(output, FAILED)
    assert result.exit_code == 0, result.output
    document = run_json(output)
    assert (document["state"], document["complete"]) == ("failed", False)
    assert document["error"] == "tile: a slice <b> cannot be read."
    assert not (output / "neuroglancer/jpeg/info").exists()
    text = read_page(output)
    assert "The run failed: tile: a slice &lt;b&gt; cannot be read." in text
    assert ("few inliers" in text) == (n_documents >= 1)
    assert ("1 of 3 chunks" in text) == (n_documents == 1)
    assert ("data:image/webp" in text) == (n_documents >= 3)
    assert ("<svg" in text) == (n_documents >= 3)


def test_a_run_that_ended_without_transforms_is_an_error(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "out")
    write_plan(open_store(str(tmp_path / "out/process")), plan)
    result = report(tmp_path / "out", "Succeeded")
    assert result.exit_code == 75
    assert "no transforms" in result.output


@pytest.mark.parametrize("key", ["transforms.json", "slices.jsonl", "align/0-7.json", "align/0-7.npz"])
def test_a_document_that_cannot_be_read_is_named(run: FinishedRun, key: str) -> None:
    plan, _, process = run
    process.write(key, b"{nonsense\n")
    report(plan.config.output, FAILED)
    assert key in " ".join(run_json(plan.config.output)["problems"])
    assert key in read_page(plan.config.output)


def test_the_transforms_of_an_earlier_run_are_not_taken_for_this_one(run: FinishedRun) -> None:
    plan, _, process = run
    write_plan(process, make_plan(plan.config.output, n_slices=19))
    assert report(plan.config.output, FAILED).exit_code == 0
    assert "earlier run" in " ".join(run_json(plan.config.output)["problems"])
    assert run_json(plan.config.output)["volume_size_xyz"] is None


def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    open_store(str(tmp_path / "process")).write("plan.json", b"{}")
    result = report(tmp_path)
    assert result.exit_code == 65
    assert "plan.json" in result.output


def new_contrast(run: FinishedRun) -> FinishedRun:
    """The plan of a second run into the same output, with another contrast."""
    plan, transforms, process = run
    config = plan.config.model_copy(update={"clip_limit": 0.5})
    plan = plan.model_copy(update={"config": config})
    write_plan(process, plan)
    return plan, transforms, process


def test_a_failure_before_anything_was_overwritten_leaves_the_earlier_volume_published(
    run: FinishedRun,
) -> None:
    plan, _, _ = run
    assert report(plan.config.output).exit_code == 0
    new_contrast(run)
    report(plan.config.output, FAILED)
    assert Path(plan.config.output, "neuroglancer/jpeg/info").exists()


def test_a_failure_before_anything_was_changed_leaves_the_earlier_report(run: FinishedRun) -> None:
    output = Path(run[0].config.output)
    assert report(output).exit_code == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    result = report(output, FAILED)
    assert result.exit_code == 0
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    next(output.glob("neuroglancer/jpeg/*/*.shard")).unlink()
    report(output, FAILED)
    assert run_json(output)["state"] == "failed"


def test_a_failure_half_way_withdraws_the_earlier_volume(run: FinishedRun) -> None:
    output = run[0].config.output
    assert report(output).exit_code == 0
    plan, transforms, process = new_contrast(run)
    first = process.read(record_key("pyramid/0", "0"))
    seal_blocks(plan, transforms, process)
    process.write(record_key("pyramid/0", "0"), first)
    report(output, FAILED)
    assert not Path(output, "neuroglancer/jpeg/info").exists()


def test_a_failure_before_a_change_of_one_block_is_made_leaves_the_earlier_volume_published(
    tmp_path: Path,
) -> None:
    size_xyz = (40, 70, 1100)
    plan = make_plan(tmp_path / "out", n_slices=size_xyz[2], size_xy=size_xyz[:2])
    process = open_store(plan.locations.process_uri)
    matrices = [np.eye(3)] * size_xyz[2]
    transforms = make_transforms(plan, matrices, size_xyz)
    write_plan(process, plan)
    write_align(process, plan, lambda _: np.zeros((3, 3), np.uint8))
    write_compose(process, transforms)
    write_volume(plan, transforms, process)
    assert report(plan.config.output).exit_code == 0
    transforms = make_transforms(plan, matrices, size_xyz, replaced={1090: 1089})
    write_compose(process, transforms)
    blocks = verification.read_blocks(Run.of(process, plan, transforms))
    assert [block.is_done for block in blocks] == [True, False, False]
    for _ in ("a failure", "another one, after the first has written its report"):
        report(plan.config.output, FAILED)
        assert Path(plan.config.output, "neuroglancer/jpeg/info").exists()


@pytest.mark.parametrize("change", [truncate_shard, write_over_shard, flip_with_time_put_back])
def test_a_failure_within_the_first_block_withdraws_the_earlier_volume(
    run: FinishedRun, change: Callable[[Path], None]
) -> None:
    output = Path(run[0].config.output)
    assert report(output).exit_code == 0
    new_contrast(run)
    change(output)
    report(output, FAILED)
    assert not (output / "neuroglancer/jpeg/info").exists()


@pytest.mark.parametrize("damage", [delete_shard, truncate_shard, write_over_shard])
def test_an_earlier_volume_stays_until_the_new_one_is_in_its_place(
    run: FinishedRun, damage: Callable[[Path], None]
) -> None:
    plan, _, process = run
    output = Path(plan.config.output)
    raw, jpeg = output / "neuroglancer/raw", output / "neuroglancer/jpeg"
    noted = [Place(str(raw), "info"), Place(str(jpeg), "16x16x16/9.shard")]
    note_superseded(process, noted)
    earlier = [Path(place.uri, place.key) for place in noted]
    for path in earlier:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"{}")
    shard = (output / SHARD).read_bytes()
    damage(output)
    assert report(output).exit_code == 75
    assert all(path.exists() for path in earlier)
    (output / SHARD).write_bytes(shard)
    assert report(output).exit_code == 0
    assert not any(path.exists() for path in earlier)


def test_a_bucket_works_like_a_folder(bucket: str, tmp_path: Path) -> None:
    output = f"gs://{bucket}/out"
    plan = make_plan(output)
    process = open_store(f"{output}/process")
    transforms = make_transforms(plan, [np.eye(3)] * SIZE_XYZ[2], SIZE_XYZ)
    write_plan(process, plan)
    write_align(process, plan, lambda z: np.full((35, 550), 10 * z, np.uint8))
    write_compose(process, transforms)
    write_volume(plan, transforms, process)
    result = report(output)
    assert result.exit_code == 0, result.output
    assert open_store(f"{output}/neuroglancer/jpeg").stat("info")
    open_store(f"{output}/chunk").delete("8x8x8/1.shard")
    assert report(output).exit_code == 75
    assert open_store(f"{output}/neuroglancer/jpeg").stat("info") is None
