"""The program on a process folder, as the pipeline runs it."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result
from numpy.typing import NDArray

from components.compose.main import main
from components.shared.documents.align import AlignRecord, PairRecord, SliceStatistics
from components.shared.documents.plan import Override, PixelType, Plan
from components.shared.documents.transforms import Transforms
from components.shared.geometry import rotation_about
from components.shared.grid import Span
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from components.shared.volume.volume import volume_of
from components.shared.work import records, units
from components.shared.work.left import chunks_to_do
from components.shared.work.refusal import standing_refusal
from components.shared.work.thumbnails import Thumbnail, Thumbnails
from tests.builders import invoke, plan_of
from tests.components.compose.planted_stack import Planted, errors_px, plant
from tests.components.shared.work.rot import rot

WIDTH = 500


def plan_in(
    folder: Path,
    n: int,
    *,
    missing: Collection[int] = (),
    pixel_type: PixelType = "uint8",
    first_z: int = 10,
    **config: Any,
) -> Plan:
    places = {"source": str(folder / "in"), "image": "s%05d.png", "output": str(folder / "out")}
    size_px = (WIDTH, WIDTH)
    last_z = first_z + n - 1
    return plan_of(
        first_z, last_z, missing, size_px=size_px, pixel_type=pixel_type, fan=4, **places, **config
    )


def statistics_of(z: int) -> SliceStatistics:
    return SliceStatistics(
        z=z, mean=100, std=20, low=1000, high=9000, zero_fraction=0, saturated_fraction=0,
        sharpness=1, content_fraction=0.9, n_features=1000 + z,
    )  # fmt: skip


def pair_of(z: int, neighbour_z: int, matrix: Any, sigma: float) -> PairRecord:
    accepted = matrix is not None
    return PairRecord(
        z=z, neighbour_z=neighbour_z, accepted=accepted, reason="" if accepted else "few_inliers",
        n_matches=500, n_inliers=300, coverage=0.8, model="affine" if accepted else None, residuals_px={},
        matrix=matrix, sigma_px=sigma, n_windows=0, ncc_before=0.3, ncc_after=0.8 if accepted else 0.3,
        fallback="",
    )  # fmt: skip


def write_process(
    plan: Plan,
    planted: Planted,
    refused: Callable[[int, int], bool] = lambda z, neighbour_z: False,
    **of_refused: object,
) -> Store:
    """Write what `plan` and `align` leave, for the slices of a planted stack that are present."""
    process = open_store(plan.locations.process_uri)
    process.write("plan.json", plan.to_json())
    present = {s.z for s in plan.slices}
    first_z = plan.config.minz
    entries = []
    for slot, neighbour, matrix, sigma in zip(
        planted.pairs.slot + first_z,
        planted.pairs.neighbour + first_z,
        planted.pairs.neighbour_from_slice.tolist(),
        planted.pairs.sigma_px,
        strict=True,
    ):
        if {slot, neighbour} <= present:
            no = refused(int(slot), int(neighbour))
            pair = pair_of(int(slot), int(neighbour), None if no else matrix, 0 if no else sigma)
            entries.append(pair.model_copy(update=of_refused if no else {}))
    for chunk in units.chunks(plan):
        document = AlignRecord(
            slices=tuple(statistics_of(s.z) for s in plan.slices if s.z in chunk),
            pairs=tuple(pair for pair in entries if pair.z in chunk),
        )
        archive = io.BytesIO()
        np.savez_compressed(archive, **{f"z{s.z}": np.zeros((25, 25), np.uint8) for s in document.slices})
        process.write(f"align/{chunk}.npz", archive.getvalue())
        output = records.write_output(process, f"align/{chunk}.json", document.to_json())
        records.commit(
            process,
            records.Record(
                step="align", unit=str(chunk), input_hash=units.chunk_hash(plan, chunk), outputs=(output,)
            ),
        )
    return process


def run(plan: Plan, folder: Path) -> tuple[Result, dict[str, list[str]]]:
    names = ("slabs", "blocks", "coarse-blocks", "top-blocks")
    flags = [part for name in names for part in (f"--{name}-out", str(folder / "kfp" / name))]
    result = invoke(main, "--process-uri", plan.locations.process_uri, *flags)
    lists = {n: json.loads((folder / "kfp" / n).read_text()) for n in names} if result.exit_code == 0 else {}
    return result, lists


def documents(process: Store) -> tuple[Transforms, list[dict[str, Any]]]:
    transforms = Transforms.model_validate_json(process.read("transforms.json"))
    rows = [json.loads(line) for line in process.read("slices.jsonl").decode().splitlines()]
    return transforms, rows


def matrices_of(transforms: Transforms) -> NDArray[np.float64]:
    return np.array([s.matrix for s in transforms.slices])


def test_the_documents_hold_the_solution(tmp_path: Path) -> None:
    planted = plant(20, 4, width=float(WIDTH))
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, planted)
    result, lists = run(plan, tmp_path)
    assert result.exit_code == 0, result.output
    transforms, rows = documents(process)

    assert [s.z for s in transforms.slices] == list(range(10, 30)) == [row["z"] for row in rows]
    assert errors_px(matrices_of(transforms), planted.truth, WIDTH).max() < 0.5
    origin = np.array([*transforms.volume_origin_xyz_px[:2], 0.0])
    expected = planted.solve().volume_from_slice[:, :, 2] - origin
    assert np.allclose(matrices_of(transforms)[:, :2, 2], expected[:, :2], atol=1e-5)
    corners = matrices_of(transforms) @ np.array([[0, 499, 0, 499], [0, 0, 499, 499], [1, 1, 1, 1.0]])
    assert corners[:, :2].min() > -1e-6
    assert (corners[:, :2].max(axis=(0, 2)) <= np.array(transforms.volume_size_xyz[:2]) - 1 + 1e-6).all()
    assert transforms.volume_size_xyz[2] == 20
    assert transforms.volume_origin_xyz_px[2] == 10
    assert transforms.intensity_range == (0, 255)
    assert transforms.slices[0].uri == str(tmp_path / "in" / "s00010.png")
    assert all(s.verdict == "good" and s.action == "keep" for s in transforms.slices)
    assert lists == {"slabs": ["0-0", "1-1"], "blocks": ["0-0"], "coarse-blocks": [], "top-blocks": []}


def test_the_rows_hold_readable_figures(tmp_path: Path) -> None:
    planted = plant(12, 4, width=float(WIDTH))
    plan = plan_in(tmp_path, 12)
    process = write_process(plan, planted)
    run(plan, tmp_path)
    transforms, rows = documents(process)
    for row, entry in zip(rows, transforms.slices, strict=True):
        center = np.array(entry.matrix) @ [249.5, 249.5, 1]
        assert np.allclose([row["dx_px"], row["dy_px"]], center[:2] - 249.5, atol=1e-5)
        (a, b), (c, d) = np.array(entry.matrix)[:2, :2]
        assert row["rotation_deg"] == pytest.approx(np.degrees(np.arctan2(c - b, a + d)), abs=1e-6)
        assert row["scale_ppm"] == pytest.approx((np.sqrt(a * d - b * c) - 1) * 1e6, abs=0.01)
        assert row["shear_ppm"] == pytest.approx((a * b + c * d) * 1e6, abs=0.02 * abs(row["shear_ppm"]))
        assert (row["n_features"], row["content_fraction"]) == (1000 + row["z"], 0.9)
    assert rows[0]["step_px"] is None
    step = np.hypot(rows[5]["dx_px"] - rows[4]["dx_px"], rows[5]["dy_px"] - rows[4]["dy_px"])
    assert rows[5]["step_px"] == pytest.approx(step, abs=1e-5)
    assert (rows[0]["ncc_before"], rows[0]["ncc_after"]) == (0.3, 0.8)
    assert rows[-1]["ncc_after"] is None


def test_repeating_writes_identical_bytes(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, plant(20, 4, width=float(WIDTH), bad=[7]))
    written = []
    for _ in range(2):
        assert run(plan, tmp_path)[0].exit_code == 0
        keys = ("transforms.json", "slices.jsonl", records.record_key("compose", "transforms"))
        written.append([process.read(key) for key in keys])
    assert written[0] == written[1]


def test_a_bad_and_a_missing_slice_are_replaced(tmp_path: Path) -> None:
    planted = plant(20, 4, width=float(WIDTH), bad=[0, 9])
    plan = plan_in(tmp_path, 20, missing=[25], allow_gaps=True)
    process = write_process(plan, planted)
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 0, result.output
    transforms, rows = documents(process)
    replaced = {s.z: (s.verdict, s.replaced_from) for s in transforms.slices if s.action == "replace"}
    assert replaced == {10: ("isolated", 11), 19: ("slip", 18), 25: ("missing", 24)}
    assert transforms.slices[15].matrix == transforms.slices[14].matrix
    assert transforms.slices[15].uri == ""
    assert rows[15]["n_features"] is None
    assert rows[14]["ncc_after"] == 0.8  # with z 26, the next present slice


def test_a_long_bad_run_is_refused_with_the_ways_on(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 30, max_replaced=1)
    process = write_process(plan, plant(30, 4, width=float(WIDTH), bad=[9, 10]))
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 65
    assert "must be 1 at most; got 2 (19-20: 19 " in result.output
    assert "--set allow_gaps=true" in result.output
    assert "{z: 19, keep: true}" in result.output
    assert process.stat("transforms.json") is None
    left = standing_refusal(process)
    assert left is not None
    assert (left.step, left.exit_code) == ("compose", 65)
    assert f"error: {left.sentence}" in result.output


def test_decisions_of_a_person_win_and_are_written(tmp_path: Path) -> None:
    overrides = (Override(z=12, replace=20), Override(z=14, skip=True), Override(z=19, keep=True))
    plan = plan_in(tmp_path, 20).model_copy(update={"overrides": overrides})
    process = write_process(plan, plant(20, 4, width=float(WIDTH), bad=[9]))
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 0, result.output
    transforms, rows = documents(process)
    shown = {s.z: (s.action, s.replaced_from, s.override) for s in transforms.slices if s.override}
    assert shown == {
        12: ("replace", 20, "{z: 12, replace: 20}"),
        14: ("replace", 13, "{z: 14, skip: true}"),
        19: ("keep", None, "{z: 19, keep: true}"),
    }
    assert [transforms.slices[z - 10].verdict for z in (12, 14, 19)] == ["good", "good", "slip"]
    assert transforms.slices[2].matrix == transforms.slices[10].matrix
    assert rows[2]["override"] == "{z: 12, replace: 20}"


def test_skip_align_is_the_identity(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 9, skip_align=True, pixel_type="uint16")
    process = write_process(plan, plant(0, 4))
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 0, result.output
    transforms, _ = documents(process)
    assert np.array_equal(matrices_of(transforms), np.tile(np.eye(3), (9, 1, 1)))
    assert transforms.volume_size_xyz == (WIDTH, WIDTH, 9)
    assert transforms.intensity_range == (1000, 9000)


def test_the_compose_solver_multiplies(tmp_path: Path) -> None:
    planted = plant(12, 1, width=float(WIDTH))
    plan = plan_in(tmp_path, 12, neighbours=1, solver="compose")
    process = write_process(plan, planted)
    assert run(plan, tmp_path)[0].exit_code == 0
    transforms, _ = documents(process)
    found = matrices_of(transforms)
    for slot in range(11):
        step = found[slot + 1] @ planted.pairs.neighbour_from_slice[slot]
        assert np.allclose(step, found[slot], atol=1e-5)


def test_the_compose_solver_names_the_refused_pair(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 12, neighbours=1, solver="compose")
    write_process(plan, plant(12, 1, width=float(WIDTH)), refused=lambda z, _: z == 15)
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 65
    assert "between 15 and 16 (refused pairs: few inliers in 1)" in result.output


def test_a_broken_stack_is_refused_with_the_place_and_the_way_on(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(
        plan, plant(20, 4, width=float(WIDTH)), refused=lambda z, neighbour_z: z < 18 <= neighbour_z
    )
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 65
    assert "slices 10-17; slices 18-29" in result.output
    assert "between 17 and 18" in result.output
    assert "--set allow_gaps=true" in result.output
    assert "Traceback" not in result.output
    assert process.stat("transforms.json") is None


def test_allowed_gaps_continue(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20, allow_gaps=True)
    process = write_process(
        plan, plant(20, 4, width=float(WIDTH)), refused=lambda z, neighbour_z: z < 18 <= neighbour_z
    )
    assert run(plan, tmp_path)[0].exit_code == 0
    _, rows = documents(process)
    assert rows[8]["step_px"] < 0.01
    assert rows[7]["step_px"] > 0.1
    assert [row["z"] for row in rows if row["verdict"] != "good"] == [18]
    assert (rows[8]["verdict"], rows[8]["action"]) == ("step", "keep")
    assert "no pair joins it" in rows[8]["evidence"]


@pytest.mark.parametrize("damage", ["absent", "stale", "altered", "gone"])
def test_an_incomplete_chunk_is_transient_and_named(tmp_path: Path, damage: str) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, plant(20, 4, width=float(WIDTH)))
    key = records.record_key("align", "18-25")
    if damage == "absent":
        process.delete(key)
    elif damage == "stale":
        record = records.read_record(process, "align", "18-25")
        records.commit(process, record.model_copy(update={"input_hash": "0"}))
    elif damage == "altered":
        process.write("align/18-25.json", process.read("align/18-25.json").replace(b"0.9", b"0.8"))
    else:
        process.delete("align/18-25.json")
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 75
    assert "18-25" in result.output


def test_a_chunk_that_a_failing_disk_has_damaged_is_matched_again(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, plant(20, 4, width=float(WIDTH)))
    evidence = Path(process.uri, "align/18-25.json")
    rot(evidence, evidence.read_bytes().replace(b"0.9", b"0.8"), Path(process.uri))
    assert chunks_to_do(plan, process) == []
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 75
    assert chunks_to_do(plan, process) == [Span(18, 25)]


def test_only_what_is_left_is_listed(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, plant(20, 4, width=float(WIDTH)))
    run(plan, tmp_path)
    transforms, _ = documents(process)
    records.commit(
        process,
        records.Record(
            step="tile",
            unit="1",
            input_hash=units.slab_hash(plan, transforms, volume_of(plan, transforms), 1),
            outputs=(),
        ),
    )
    _, lists = run(plan, tmp_path)
    assert lists["slabs"] == ["0-0"]
    assert lists["blocks"] == ["0-0"]


def test_coarse_blocks_follow_the_fine_ones(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 2, skip_align=True)
    wide = tuple(s.model_copy(update={"width_px": 3000}) for s in plan.slices)
    plan = plan.model_copy(update={"slices": wide, "fan": 2})
    process = write_process(plan, plant(0, 4))
    _, lists = run(plan, tmp_path)
    assert lists["blocks"] == ["0-1", "2-2"]
    assert lists["coarse-blocks"] == ["0-0"]
    process.write("plan.json", plan.model_copy(update={"task_voxels": 10**9}).to_json())
    assert run(plan, tmp_path)[1]["blocks"] == ["0-2"]
    process.write("plan.json", plan.to_json())
    transforms, _ = documents(process)
    volume = volume_of(plan, transforms)
    hashes = units.slab_hashes(plan, transforms, volume)
    for level, blocks in ((0, Span(0, 2)), (5, Span(0, 0))):
        for block in blocks:
            record = records.Record(
                step=f"pyramid/{level}",
                unit=str(block),
                input_hash=units.block_hash(plan, volume, level, block, hashes),
                outputs=(),
            )
            records.commit(process, record)
    _, lists = run(plan, tmp_path)
    assert lists == {"slabs": [], "blocks": [], "coarse-blocks": [], "top-blocks": []}
    process.delete(records.record_key("pyramid/0", "1"))
    _, lists = run(plan, tmp_path)
    assert (lists["blocks"], lists["coarse-blocks"]) == (["1-1"], ["0-0"])


def with_textured_thumbnails(plan: Plan, process: Store, seed_of: Callable[[int], int] = lambda z: 0) -> None:
    """Put the same picture in the place of every slice, or others where `seed_of` says so."""
    for chunk in units.chunks(plan):
        archive = io.BytesIO()
        pictures = {
            f"z{s.z}": np.random.default_rng(seed_of(s.z)).integers(0, 255, (250, 250), np.uint8)
            for s in plan.slices
            if s.z in chunk
        }
        np.savez_compressed(archive, **pictures)
        process.write(f"align/{chunk}.npz", archive.getvalue())


def test_a_failed_check_stops_the_run_with_the_documents_in_place(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, plant(20, 1, width=float(WIDTH), truth=np.tile(np.eye(3), (20, 1, 1))))
    with_textured_thumbnails(plan, process, seed_of=lambda z: z // 18)
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 65
    assert "nothing correlates across the step between slices 17-18" in result.output
    assert f"fibstack resolve {plan.config.output} --overrides FILE" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "kfp").exists()
    for key in ("transforms.json", "slices.jsonl", "preview.json"):
        assert process.stat(key) is not None
    forced = plan.model_copy(update={"config": plan.config.model_copy(update={"force": True})})
    process.write("plan.json", forced.to_json())
    result, lists = run(forced, tmp_path)
    assert result.exit_code == 0
    assert lists["slabs"] == ["0-0", "1-1"]
    preview = json.loads(process.read("preview.json"))
    assert preview["gate"]["failures"]
    assert not preview["gate"]["enforced"]


def test_the_preview_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_in(tmp_path, 9)
    process = write_process(plan, plant(9, 4, width=float(WIDTH)))
    assert run(plan, tmp_path)[0].exit_code == 0
    first = process.read("preview.json")
    monkeypatch.setattr("components.compose.look.tell", lambda *_: pytest.fail("made again"))
    assert run(plan, tmp_path)[0].exit_code == 0
    assert process.read("preview.json") == first


@pytest.mark.parametrize(("z", "n_passes"), [("report", 1), ("correct", 2)])
def test_each_thumbnail_is_read_once_in_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, z: str, n_passes: int
) -> None:
    """Which flicker, places along z and the check share."""
    plan = plan_in(tmp_path, 40, z=z)
    write_process(plan, plant(40, 4, width=float(WIDTH)))
    read: Counter[int] = Counter()

    def picture(thumbnails: Thumbnails, z: int, picture: Any = Thumbnails.picture) -> Thumbnail | None:
        read[z] += 1
        return picture(thumbnails, z)

    monkeypatch.setattr(Thumbnails, "picture", picture)
    assert run(plan, tmp_path)[0].exit_code == 0
    assert read == {s.z: n_passes for s in plan.slices}


def test_thumbnails_that_are_gone_are_made_again(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    process = write_process(plan, plant(20, 4, width=float(WIDTH)))
    process.delete("align/18-25.npz")
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 75
    assert "the thumbnail of slice 18 must lie in" in result.output


def test_a_turned_sample_is_told_with_the_override_that_accepts_it(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, 20)
    planted = plant(20, 4, width=float(WIDTH))
    turn = rotation_about((249.5, 249.5), np.radians(12))
    rows = tuple(tuple(row) for row in turn.tolist())
    words = "is turned by 12.0 degrees, at most 5"

    def crosses(z: int, neighbour_z: int) -> bool:
        return z < 18 <= neighbour_z

    write_process(plan, planted, refused=crosses, refused_matrix=rows, refused_motion=words)
    result, _ = run(plan, tmp_path)
    assert result.exit_code == 65
    assert "slice 18 is turned by 12.0 degrees, at most 5" in result.output
    given = re.search(r"echo '(.*)' > overrides.yaml\) and run again with --set overrides=", result.output)
    assert given is not None
    (override,) = yaml.safe_load(given[1])
    assert override["z"] == 18
    np.testing.assert_allclose(override["matrix"], turn, atol=0.005)

    accepted = plan.model_copy(update={"overrides": (Override.model_validate(override),)})
    write_process(accepted, planted, refused=crosses, refused_matrix=rows, refused_motion=words)
    result, _ = run(accepted, tmp_path)
    assert result.exit_code == 0, result.output
