"""The arithmetic of an estimate: the work of any stack, what is written of it, and what a worker holds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.encoded_bytes import encoded_once, n_shards_at, output_estimate
from components.plan.estimate import Estimate, asked_memory, estimate, task_voxels
from components.plan.rates import RATES
from components.plan.storage_requests import plan_requests
from components.plan.work import Work, expected_volume
from components.shared.documents.cost import Pod, read_prices
from components.shared.documents.plan import Plan
from components.shared.steps import MEMORY_OUTPUTS, STEPS
from components.shared.volume.layout import predicted_shards
from components.shared.work.units import chunk_slices, chunks
from pipeline.settings import quantity
from tests.builders import plan_of

GIB = 2**30


def planned(
    width_px: int,
    height_px: int,
    n_slices: int,
    missing: set[int] | None = None,
    chunk_length: int = 16,
    **given: Any,
) -> Plan:
    scales = {"match_scale": 0.25, "thumbnail_scale": 0.1, "chunk_length": chunk_length}
    plan = plan_of(0, n_slices - 1, missing or (), size_px=(width_px, height_px), **scales, **given)
    return plan.model_copy(update={"task_voxels": task_voxels(expected_volume(plan))})


def predicted(plan: Plan, cores: float = 1, memory_bytes: float = 4 * GIB) -> Estimate:
    pods = {step: Pod(image="", cores=cores, memory_bytes=memory_bytes, spot=False) for step in STEPS}
    return estimate(plan, expected_volume(plan), pods, read_prices())


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 8), st.booleans(), st.sets(st.integers(1, 58)))
def test_slices_and_pairs_are_those_that_align_takes(
    n_slices: int, chunk_length: int, neighbours: int, skip_align: bool, missing: set[int]
) -> None:
    absent = {z for z in missing if z < n_slices - 1}
    plan = planned(
        100, 80, n_slices, absent, chunk_length, neighbours=neighbours, skip_align=skip_align, allow_gaps=True
    )
    work = Work.of(plan, expected_volume(plan))
    assert list(work.chunks) == chunks(plan)
    n_read = n_pairs = 0
    for chunk in chunks(plan):
        own, after = chunk_slices(plan, chunk)
        halo = [] if skip_align else after[:neighbours]
        n_read += len(own) + len(halo)
        for index in range(len(own)):
            following = own[index + 1 :] + halo
            n_pairs += 0 if skip_align else len(following[:neighbours])
    assert (work.n_slices_matched, work.n_pairs) == (n_read, n_pairs)


def works() -> st.SearchStrategy[Work]:
    sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000), st.integers(2, 2500))
    options = st.fixed_dictionaries(
        {
            "raw_pyramid": st.booleans(),
            "ome_zarr": st.booleans(),
            "output_level": st.integers(0, 2),
            "resolution": st.sampled_from([(8, 8, 8), (4, 4, 40)]),
        }
    )

    def make(size: tuple[int, int, int], config: dict[str, object]) -> Work:
        few = planned(size[0], size[1], 2, **config)
        plan = few.model_copy(update={"config": few.config.model_copy(update={"maxz": size[2] - 1})})
        return Work.of(plan, expected_volume(plan))

    return st.builds(make, sizes, options)


@given(works())
def test_shards_are_those_that_blocks_write(work: Work) -> None:
    volume = work.volume
    for output in volume.outputs:
        names = predicted_shards(volume, output)
        assert output_estimate(work, output).n_files == sum(map(len, names.values()))
        assert [n_shards_at(volume, output, level) for level in output.levels] == [*map(len, names.values())]


def test_exact_blocks_and_slab_readings_are_counted_block_by_block() -> None:
    plan = planned(1500, 2600, 2, raw_pyramid=True, resolution=(4, 4, 16))
    plan = plan.model_copy(update={"config": plan.config.model_copy(update={"maxz": 1499})})
    volume = expected_volume(plan)
    work = Work.of(plan, volume)
    first, second = volume.passes
    assert work.n_slab_readings() == sum(len(volume.slabs_of_block(b)) for b in range(first.n_blocks))
    layers = 0
    for block in range(first.n_blocks):
        (_, _, z0), (_, _, z1) = first.block_bounds(block, first.levels[-1])
        layers += math.ceil((z1 - z0) / first.chunk)
    assert work.n_exact_layers(first) == layers
    assert work.n_exact_layers(second) == 0


def test_what_has_the_same_bytes_is_encoded_once() -> None:
    volume = expected_volume(planned(5000, 5000, 3, raw_pyramid=True, ome_zarr=True))
    encoded = encoded_once(volume, volume.passes[0])
    assert [(o.encoding, level) for o, level in encoded if level == 0] == [("jpeg", 0), ("raw", 0)]
    assert len(encoded) == 2 * 5


def test_more_work_takes_more() -> None:
    small = predicted(planned(5000, 5000, 64))
    tall = predicted(planned(5000, 5000, 128))
    wide = predicted(planned(10_000, 10_000, 64))
    rich = predicted(planned(5000, 5000, 64, raw_pyramid=True, ome_zarr=True))
    for more in (tall, wide, rich):
        assert more.core_hours > small.core_hours
        assert more.output_bytes > small.output_bytes
        assert more.bill.on_demand > small.bill.on_demand > small.bill.spot
    # What has a worker for each part of the stack grows with the stack, its workers do not.
    assert tall.tiles_bytes == 2 * small.tiles_bytes
    memory = {step.title: step.memory_bytes for step in small.steps}
    assert {s.title: s.memory_bytes for s in tall.steps if s.step in ("align", "tile")} == {
        title: memory[title] for title in ("align", "tile")
    }


@pytest.mark.parametrize(("n_slices", "n_tasks"), [(64, 1), (1024, 6)])
def test_starts_are_little_of_a_wide_shallow_pyramid(n_slices: int, n_tasks: int) -> None:
    plan = planned(8192, 8192, n_slices)
    tasks = [step for step in predicted(plan).steps if step.step == "pyramid"]
    assert [task.n_pods for task in tasks] == [n_tasks, 1]
    assert [task.n_units for task in tasks] == [64, 1]
    starts_s = (n_tasks + 1) * RATES.start_cpu_s.pyramid
    assert starts_s < 0.1 * 3600 * sum(task.core_hours for task in tasks)


def test_a_task_of_the_pyramid_takes_minutes_whatever_it_writes() -> None:
    for settings in ({}, {"raw_pyramid": True}, {"output_level": 2}, {"n_channels": 3}):
        plan = planned(8192, 8192, 3000, **settings)
        first = next(step for step in predicted(plan).steps if step.step == "pyramid")
        assert 60 < 3600 * first.core_hours / first.n_pods < 180


def test_16_bits_and_channels_take_more_bytes() -> None:
    grey, rgb = (predicted(planned(500, 500, 20, n_channels=n)) for n in (1, 3))
    assert rgb.tiles_bytes == pytest.approx(3 * grey.tiles_bytes, rel=1e-6)
    assert [o.raw_bytes for o in rgb.outputs] == [3 * o.raw_bytes for o in grey.outputs]
    wide = predicted(planned(500, 500, 20, pixel_type="uint16", keep_bits=True))
    jpeg, lossless = wide.outputs
    assert jpeg.raw_bytes == grey.outputs[0].raw_bytes
    assert lossless.raw_bytes == 2 * grey.outputs[1].raw_bytes


def test_a_quality_of_90_and_clahe_take_half_as_many_bytes_again() -> None:
    usual, fine, plain = (
        predicted(planned(500, 500, 20, **config)).outputs[0].size_bytes
        for config in ({}, {"jpeg_quality": 90}, {"clip_limit": 0})
    )
    assert fine / usual == pytest.approx(0.48 / 0.33, abs=0.01)
    assert usual / plain == pytest.approx(0.33 / 0.21, abs=0.01)


def test_a_tile_pod_of_four_cores_has_four_slices_in_work() -> None:
    one, four, eight = (
        next(s.memory_bytes for s in predicted(planned(20_000, 20_000, 8), cores).steps if s.step == "tile")
        for cores in (1, 4, 8)
    )
    assert four - one == pytest.approx(3 * 20_000**2 * 6, rel=0.15)
    assert eight == four


def test_a_filter_of_streaks_takes_what_was_measured() -> None:
    """6 slices of 5000 x 5000 px, 16 bit, with curtains, on one core: 671 MiB, 665 again."""
    plan = planned(5000, 5000, 6, pixel_type="uint16", streaks="filter")
    tile = next(step for step in predicted(plan).steps if step.step == "tile")
    assert 671 < tile.memory_bytes / 2**20 < 671 * 1.2


def test_a_block_takes_the_memory_and_the_time_that_were_measured() -> None:
    """benchmarks/pyramid, all precomputed outputs: 8 times the 1.11 CPU s of 512^3, a start; 1,104 MiB."""
    plan = planned(1024, 1024, 2, raw_pyramid=True, clip_limit=0)
    plan = plan.model_copy(update={"config": plan.config.model_copy(update={"maxz": 1023})})
    (block,) = (step for step in predicted(plan).steps if step.step == "pyramid")
    assert block.memory_bytes / 2**20 == pytest.approx(1104, rel=0.1)
    assert block.core_hours * 3600 == pytest.approx(8 * 1.11 + 0.6, rel=0.2)


@pytest.mark.parametrize(
    ("side_px", "cpu_s", "peak_mib"),
    [
        (2048, {"align": 17.6, "tile": 1.7}, {"align": 538, "tile": 316}),
        (8192, {"align": 34.3, "tile": 23.5, "pyramid": 10.2}, {"align": 596, "tile": 1102, "pyramid": 184}),
    ],
)
def test_a_run_takes_what_was_measured(
    side_px: int, cpu_s: dict[str, float], peak_mib: dict[str, float]
) -> None:
    """benchmarks/end_to_end: 16 slices on 2 cores; memory may be predicted up to a half too high."""
    plan = planned(side_px, side_px, 16, chunk_length=8)
    scales = {"match_scale": min(1, 1280 / side_px), "thumbnail_scale": 512 / side_px}
    steps = predicted(plan.model_copy(update=scales), cores=2).steps
    for name, measured in cpu_s.items():
        seconds = 3600 * sum(step.core_hours for step in steps if step.step == name)
        assert measured / 1.4 < seconds < measured * 1.4, name
    for name, measured in peak_mib.items():
        memory = max(step.memory_bytes for step in steps if step.step == name) / 2**20
        assert measured / 1.1 < memory < measured * 1.5, name


@pytest.mark.parametrize("side_px", [203, 2048, 8192, 20_000])
def test_pods_ask_for_what_they_take_with_a_margin_and_no_more_than_the_settings_say(side_px: int) -> None:
    steps = predicted(planned(side_px, side_px, 16)).steps
    pods = {step: Pod(image="", cores=1, memory_bytes=4e9, spot=False) for step in STEPS}
    asked = {step: float(quantity(text)) for step, text in asked_memory(steps, pods).items()}
    assert asked.keys() == set(STEPS)
    assert asked["plan"] == asked["report"] == 4e9
    for step in MEMORY_OUTPUTS:
        peak = max(part.memory_bytes for part in steps if part.step == step)
        assert min(4e9, peak * RATES.memory_margin) <= asked[step] <= 4e9
        assert asked[step] == 4e9 or asked[step] < peak * RATES.memory_margin + 64 * 2**20
    assert asked_memory((), pods) == dict.fromkeys(STEPS, "4G")


@pytest.mark.parametrize(
    ("n_slices", "compose_mb", "report_mb"), [(64, 129, 171), (1000, 191, 251), (13_696, 1031, 475)]
)
def test_a_tall_stack_has_the_memory_that_was_measured(
    n_slices: int, compose_mb: float, report_mb: float
) -> None:
    """benchmarks/scale; with the 0.3 GB of soft warps, and the 39 MB that a whole volume adds to `report`."""
    # As estimate.py adds them up; to plan 13,696 slices takes a test too long.
    held = {"compose": RATES.compose_bytes_per_slice, "report": RATES.report_bytes_per_slice}
    memory_mb = {step: (RATES.libraries_bytes.of(step) + n_slices * n) / 1e6 for step, n in held.items()}
    assert compose_mb <= memory_mb["compose"] < compose_mb * 1.34
    assert report_mb <= memory_mb["report"] < report_mb * 1.4


@pytest.mark.parametrize(("source", "reads_per_slice"), [("gs://em", 1), ("s3://em", 2)])
def test_plan_looks_at_each_slice_where_a_listing_has_no_checksums(source: str, reads_per_slice: int) -> None:
    few, many = (
        plan_requests(Work.of(plan, expected_volume(plan)))
        for plan in (planned(1000, 1000, n, chunk_length=1000, source=source) for n in (500, 900))
    )
    assert many.class_b - few.class_b == 400 * reads_per_slice
