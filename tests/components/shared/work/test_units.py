"""Hashes change exactly when the result of their unit would."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.documents.plan import FillNumber, Plan, Reading
from components.shared.documents.transforms import GreyLine, RowShifts, Transforms, WarpField
from components.shared.grid import Span, ceil_div, pyramid_passes
from components.shared.row_shifts import packed
from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.folder import FolderStore
from components.shared.volume.volume import volume_of
from components.shared.work.left import blocks_to_do, chunks_to_do, slabs_to_do
from components.shared.work.records import Record, commit
from components.shared.work.run import Run
from components.shared.work.units import (
    block_hash,
    block_items,
    chunk_hash,
    chunk_items,
    chunk_slices,
    chunks,
    chunks_of_item,
    slab_hashes,
)
from tests.builders import plan_of, transforms_of, with_config, with_slice

MOVED = ((1.0, 0.0, 3.5), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def all_chunk_hashes(plan: Plan) -> list[str]:
    return [chunk_hash(plan, chunk) for chunk in chunks(plan)]


def all_block_hashes(plan: Plan, transforms: Transforms) -> list[str]:
    volume = volume_of(plan, transforms)
    slabs = slab_hashes(plan, transforms, volume)
    return [
        block_hash(plan, volume, one_pass.base_level, block, slabs)
        for one_pass in volume.passes
        for block in range(one_pass.n_blocks)
    ]


def all_slab_hashes(plan: Plan, transforms: Transforms) -> list[str]:
    return slab_hashes(plan, transforms, volume_of(plan, transforms))


def changed(before: list[str], after: list[str]) -> set[int]:
    """The positions at which two equally long lists differ."""
    return {index for index, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}


@given(
    first=st.integers(0, 50),
    length=st.integers(1, 40),
    chunk_length=st.integers(1, 12),
    neighbours=st.integers(1, 8),
    data=st.data(),
)
def test_chunks_and_halos_hold_every_pair_once(
    first: int, length: int, chunk_length: int, neighbours: int, data: st.DataObject
) -> None:
    numbers = st.integers(first, first + length - 1)
    missing = data.draw(st.sets(numbers, max_size=length - 1))
    plan = plan_of(first, first + length - 1, missing, chunk_length=chunk_length, neighbours=neighbours)
    pairs = []
    for chunk in chunks(plan):
        own, halo = chunk_slices(plan, chunk)
        assert own
        assert len(chunk) <= chunk_length
        seen = [s.z for s in own + halo]
        assert seen == sorted(seen)
        pairs += [(s.z, other) for n, s in enumerate(own) for other in seen[n + 1 : n + 1 + neighbours]]
    present = [s.z for s in plan.slices]
    assert sorted(pairs) == [
        (z, other) for n, z in enumerate(present) for other in present[n + 1 : n + 1 + neighbours]
    ]
    assert len(pairs) == len(set(pairs))


@given(
    n_slices=st.integers(1, 60),
    chunk_length=st.integers(1, 12),
    fan=st.integers(1, 9),
    data=st.data(),
)
def test_items_hold_every_chunk_that_is_left_once_and_are_no_more_than_fan(
    n_slices: int, chunk_length: int, fan: int, data: st.DataObject
) -> None:
    missing = data.draw(st.sets(st.integers(3, n_slices + 2), max_size=n_slices - 1))
    plan = plan_of(3, n_slices + 2, missing, chunk_length=chunk_length, fan=fan)
    some = [chunk for chunk in chunks(plan) if data.draw(st.booleans())]
    items = chunk_items(plan, some)
    assert len(items) <= fan
    held = [chunk for item in items for chunk in chunks_of_item(plan, item)]
    assert held == sorted(set(held), key=lambda chunk: chunk.first)
    assert set(some) <= set(held)
    if len(some) <= fan:
        assert items == some


def test_what_is_no_item_of_chunks_holds_none() -> None:
    plan = plan_of(10, 39, missing=range(18, 26), chunk_length=8)
    assert [chunks_of_item(plan, Span(*ends)) for ends in ((11, 17), (18, 25), (40, 47))] == [[], [], []]


def test_a_fill_value_of_another_channel_is_nothing_to_matching() -> None:
    plan = plan_of(0, 7, pixel_type="uint16")
    fill = (FillNumber(number=-1.0, share=0.5),)
    alone = plan.model_copy(update={"reading": Reading(values=((0, 9),))})
    with_channel = plan.model_copy(update={"reading": Reading(values=((0, 9), (1, 2)), fill=((), fill))})
    of_image = plan.model_copy(update={"reading": Reading(values=((0, 9),), fill=(fill,))})
    assert chunk_hash(alone, Span(0, 7)) == chunk_hash(with_channel, Span(0, 7))
    assert chunk_hash(alone, Span(0, 7)) != chunk_hash(of_image, Span(0, 7))


def test_a_chunk_without_slices_is_no_work() -> None:
    plan = plan_of(10, 39, missing=range(18, 26), chunk_length=8)
    assert [str(chunk) for chunk in chunks(plan)] == ["10-17", "26-33", "34-39"]
    own, halo = chunk_slices(plan, Span(10, 17))
    assert [s.z for s in own] == list(range(10, 18))
    assert [s.z for s in halo] == list(range(26, 34))  # twice the neighbours, for slices that find none


@given(
    st.integers(1, 6000),
    st.integers(1, 6000),
    st.integers(1, 3000),
    st.integers(0, 10**10),
    st.integers(1, 9),
)
def test_tasks_of_the_pyramid_are_as_few_as_take_their_voxels(
    width: int, height: int, depth: int, task_voxels: int, fan: int
) -> None:
    plan = plan_of(0, 1, fan=fan).model_copy(update={"task_voxels": task_voxels})
    for one_pass in pyramid_passes((width, height, depth)):
        items = block_items(plan, one_pass, range(one_pass.n_blocks))
        assert [block for item in items for block in item] == list(range(one_pass.n_blocks))
        assert len(items) <= fan
        if task_voxels:
            wanted = min(fan, ceil_div(prod(one_pass.size_xyz), task_voxels))
            assert len(items) <= wanted


def test_blocks_that_are_left_make_tasks_as_those_of_a_whole_volume() -> None:
    (one_pass, _) = pyramid_passes((5000, 5000, 70))  # 25 blocks of 70 million voxels
    plan = plan_of(0, 1).model_copy(update={"task_voxels": 10 * 70_000_000})
    left = [3, 4, 5, 11, 12, 24]
    assert [str(item) for item in block_items(plan, one_pass, range(25))] == ["0-8", "9-17", "18-24"]
    assert [str(item) for item in block_items(plan, one_pass, left)] == ["3-24"]
    assert block_items(plan, one_pass, []) == []
    before = plan.model_copy(update={"task_voxels": 0})
    assert [str(item) for item in block_items(before, one_pass, left[:4])] == ["3-3", "4-4", "5-5", "11-11"]


@pytest.mark.parametrize(
    "config",
    [{"match_size": 2560}, {"neighbours": 2}, {"downsample_factor": 2.0}, {"skip_align": True}],
    ids=str,
)
def test_matching_settings_change_chunks_only(config: dict[str, object]) -> None:
    before = plan_of(0, 39)
    after = with_config(before, **config)
    transforms = transforms_of(before)
    assert changed(all_chunk_hashes(before), all_chunk_hashes(after)) == {0, 1, 2, 3, 4}
    assert all_slab_hashes(before, transforms) == all_slab_hashes(after, transforms)
    assert all_block_hashes(before, transforms) == all_block_hashes(after, transforms)


def test_tile_settings_change_slabs_and_blocks_but_no_chunk() -> None:
    before = plan_of(0, 39)
    after = with_config(before, clip_limit=0.03)
    transforms = transforms_of(before)
    assert all_chunk_hashes(before) == all_chunk_hashes(after)
    assert changed(all_slab_hashes(before, transforms), all_slab_hashes(after, transforms)) == {0, 1, 2}
    assert changed(all_block_hashes(before, transforms), all_block_hashes(after, transforms)) == {0}


@pytest.mark.parametrize(
    "config",
    [
        {"jpeg_quality": 90},
        {"raw_pyramid": True},
        {"resolution": (4.0, 4.0, 4.0)},
        {"output_level": 1},
        {"lossless_encoding": "png"},
        {"ome_zarr": True},
        {"ome_zarr_version": "0.6"},
    ],
    ids=str,
)
def test_output_settings_change_blocks_only(config: dict[str, object]) -> None:
    before = plan_of(0, 39)
    after = with_config(before, **config)
    transforms = transforms_of(before)
    assert all_chunk_hashes(before) == all_chunk_hashes(after)
    assert all_slab_hashes(before, transforms) == all_slab_hashes(after, transforms)
    assert changed(all_block_hashes(before, transforms), all_block_hashes(after, transforms)) == {0}


@pytest.mark.parametrize(
    "config", [{"email": "a@b"}, {"id": "x"}, {"keep_tiles": True}, {"project": "my-project"}], ids=str
)
def test_settings_without_a_result_change_nothing(config: dict[str, object]) -> None:
    before = plan_of(0, 39)
    after = with_config(before, **config)
    transforms = transforms_of(before)
    assert all_chunk_hashes(before) == all_chunk_hashes(after)
    assert all_slab_hashes(before, transforms) == all_slab_hashes(after, transforms)
    assert all_block_hashes(before, transforms) == all_block_hashes(after, transforms)


@pytest.mark.parametrize(
    ("step", "changes"),
    [("align", {"chunks"}), ("tile", {"slabs", "blocks"}), ("pyramid", {"blocks"}), ("compose", set())],
)
def test_other_code_of_a_step_changes_what_it_writes_and_what_is_made_of_it(
    step: str, changes: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(0, 39)
    transforms = transforms_of(plan)

    def hashes() -> dict[str, list[str]]:
        return {
            "chunks": all_chunk_hashes(plan),
            "slabs": all_slab_hashes(plan, transforms),
            "blocks": all_block_hashes(plan, transforms),
        }

    before = hashes()
    monkeypatch.setitem(RESULT_VERSIONS, step, RESULT_VERSIONS[step] + 1)
    after = hashes()
    assert {kind for kind in before if before[kind] != after[kind]} == changes


@pytest.mark.parametrize(
    ("z", "slab", "blocks"),
    [(0, 0, {0, 1, 4}), (1023, 63, {0, 1, 4}), (1024, 64, {2, 3, 4}), (1029, 64, {2, 3, 4})],
)
def test_a_moved_slice_changes_its_slab_and_the_blocks_above(z: int, slab: int, blocks: set[int]) -> None:
    plan = plan_of(0, 1029)
    before = transforms_of(
        plan, size_px=(2000, 80)
    )  # two blocks wide, two deep, and one of the coarse levels
    after = with_slice(before, z, matrix=MOVED)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, after)) == {slab}
    assert changed(all_block_hashes(plan, before), all_block_hashes(plan, after)) == blocks


def test_evidence_that_tiles_do_not_use_changes_nothing() -> None:
    plan = plan_of(0, 39)
    before = transforms_of(plan)
    after = with_slice(before, 5, residual_px=2.0, n_edges=1, edge_weight=0.5)
    assert all_slab_hashes(plan, before) == all_slab_hashes(plan, after)


def test_a_slab_depends_on_the_slice_that_it_shows_instead() -> None:
    plan = plan_of(0, 47)
    before = transforms_of(plan, replaced={16: 15})  # slab 1 shows the last slice of slab 0
    moved = with_slice(before, 15, matrix=MOVED)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, moved)) == {0, 1}
    restored = with_slice(before, 16, replaced_from=None)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, restored)) == {1}


@pytest.mark.parametrize(
    "change",
    [
        {"action": "invert"},
        {"action": "blank"},
        {"action": "replace", "replaced_from": 19},
        {"action": "blend", "replaced_from": 19, "blended_with": 21},
        {"shown_z": 21},
        {"grey_line": GreyLine(gain=1.0, offset=2.0)},
        {"filtered_streaks": "y"},
    ],
    ids=str,
)
def test_what_is_shown_of_a_slice_changes_its_slab(change: dict[str, object]) -> None:
    plan = plan_of(0, 47)
    before = transforms_of(plan)
    after = with_slice(before, 20, **change)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, after)) == {1}


def test_a_slab_depends_on_both_slices_of_a_blend() -> None:
    plan = plan_of(0, 47)
    before = with_slice(transforms_of(plan), 16, action="blend", replaced_from=15, blended_with=32)
    for z, slabs in ((15, {0, 1}), (32, {1, 2})):
        for change in ({"matrix": MOVED}, {"action": "invert"}):
            after = with_slice(before, z, **change)
            assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, after)) == slabs
    other = with_slice(before, 16, blended_with=33)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, other)) == {1}


def test_a_slab_depends_on_the_slice_that_evens_it() -> None:
    plan = plan_of(0, 47)
    before = with_slice(transforms_of(plan), 16, shown_z=15)
    moved = with_slice(before, 15, matrix=MOVED)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, moved)) == {0, 1}


def test_verdicts_and_decisions_that_change_no_voxel_change_no_slab() -> None:
    plan = plan_of(0, 47)
    before = transforms_of(plan)
    after = with_slice(before, 20, verdict="step", evidence="jumps", override="{z: 20, cut: true}")
    assert all_slab_hashes(plan, before) == all_slab_hashes(plan, after)


def test_another_file_changes_its_chunk_its_halo_and_its_slab() -> None:
    before = plan_of(0, 39, neighbours=2)
    slices = tuple(s.model_copy(update={"crc32c": "00000001"}) if s.z == 16 else s for s in before.slices)
    after = before.model_copy(update={"slices": slices})
    assert changed(all_chunk_hashes(before), all_chunk_hashes(after)) == {1, 2}  # 16 is in the halo of 8-15
    transforms = transforms_of(before)
    assert changed(all_slab_hashes(before, transforms), all_slab_hashes(after, transforms)) == {1}


def test_only_work_without_a_record_is_left(tmp_path: Path) -> None:
    process = FolderStore(tmp_path)
    plan = plan_of(0, 39)
    transforms = transforms_of(plan)
    run = Run.of(process, plan, transforms)
    first_pass = run.volume.passes[0]
    assert [str(c) for c in chunks_to_do(plan, process)] == ["0-7", "8-15", "16-23", "24-31", "32-39"]
    assert blocks_to_do(run, first_pass) == [0]
    assert slabs_to_do(run, [0]) == [0, 1, 2]
    assert slabs_to_do(run, []) == []

    chunk = Span(8, 15)
    commit(process, Record(step="align", unit=str(chunk), input_hash=chunk_hash(plan, chunk), outputs=()))
    commit(process, Record(step="tile", unit="1", input_hash=run.slab_hashes[1], outputs=()))
    assert [str(c) for c in chunks_to_do(plan, process)] == ["0-7", "16-23", "24-31", "32-39"]
    assert slabs_to_do(run, [0]) == [0, 2]
    assert len(chunks_to_do(with_config(plan, match_size=640), process)) == 5
    assert slabs_to_do(Run.of(process, with_config(plan, clip_limit=0.5), transforms), [0]) == [0, 1, 2]

    commit(process, Record(step="pyramid/0", unit="0", input_hash=run.block_hash(0, 0), outputs=()))
    assert blocks_to_do(run, first_pass) == []
    assert blocks_to_do(Run.of(process, with_config(plan, jpeg_quality=50), transforms), first_pass) == [0]


def test_rows_that_are_shifted_change_their_slab() -> None:
    plan = plan_of(0, 39)
    before = transforms_of(plan)
    rows = RowShifts(first_row_px=0.0, knot_px=12.0, shifts=packed(np.ones((2, 8))))
    after = with_slice(before, 20, rows=rows)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, after)) == {1}


def test_slices_that_are_straightened_change_their_slab() -> None:
    plan = plan_of(0, 39)
    before = transforms_of(plan)
    warp = WarpField(
        first_xy_px=(0.0, 0.0), knot_px=80.0, n_xy=(4, 4), displacements=packed(np.ones((2, 4, 4)))
    )
    after = with_slice(before, 20, warp=warp)
    assert changed(all_slab_hashes(plan, before), all_slab_hashes(plan, after)) == {1}
