"""The benchmark of scale runs, and the services' limits hold for the largest stacks with room to spare."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.scale.__main__ import scale
from benchmarks.scale.objects import LARGEST_OBJECT_BYTES, ObjectSizes, object_sizes
from benchmarks.scale.stacks import STACKS, Stack
from benchmarks.scale.table import Scaled, as_markdown, shortfalls
from components.plan.estimate import estimate
from components.plan.work import chunk_length, expected_volume
from components.shared.documents.cost import parse_pods, read_prices
from pipeline.settings import Settings
from tests.builders import plan_of


@pytest.fixture(scope="module")
def tiny() -> Scaled:
    try:
        return scale(Stack("tiny", n_slices=12, side_px=1100))
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_a_stack_is_planned_from_a_folder_and_from_a_bucket(tiny: Scaled) -> None:
    folder, bucket = tiny.planned
    assert (folder.store, bucket.store) == ("file://", "gs://")
    assert [s.z for s in folder.plan.slices] == [s.z for s in bucket.plan.slices] == list(range(12))
    assert bucket.plan.largest_xy == (1100, 1100)
    assert min(folder.wall_s, folder.cpu_s, bucket.peak_bytes) > 0
    # What is estimated of `plan` is what the bucket was asked.
    assert bucket.requests == tiny.estimate.steps[0].requests


def test_tables_tell_what_was_found(tiny: Scaled) -> None:
    table = as_markdown([tiny])
    pods = f"| pods | {tiny.estimate.n_pods} |"
    for line in (pods, "| tiny | gs:// |", "| pyramid 0 to 4 | 4 blocks |", "| input | 14.5 MB |"):
        assert line in table
    # Linux counts the memory of the process that starts another: here, of all tests.
    planned = [dataclasses.replace(p, peak_bytes=0) for p in tiny.planned]
    assert shortfalls(dataclasses.replace(tiny, planned=planned)) == []


def test_what_misses_a_limit_is_told(tiny: Scaled) -> None:
    large = dataclasses.replace(tiny.sizes, object_bytes=LARGEST_OBJECT_BYTES // 3)
    slow = dataclasses.replace(tiny.planned[0], wall_s=70.0)
    sentences = shortfalls(dataclasses.replace(tiny, sizes=large, planned=[slow]))
    assert sentences == [
        "tiny: the workflow object must hold 4 times in 1,048,576 bytes; got 349,525",
        "tiny: plan from file:// must take 60 s and 1 GB at most; got 70 s and "
        + sentences[1].rpartition(" and ")[2],
    ]


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)
def test_limits_of_the_services_hold_for_the_largest_stacks(stack: Stack) -> None:
    settings = Settings()
    uri = "gs://" + "b" * 63 + "/" + "x" * 200
    plan = plan_of(
        *(0, stack.n_slices - 1),
        size_px=(stack.side_px, stack.side_px),
        match_scale=1280 / stack.side_px,
        thumbnail_scale=512 / stack.side_px,
        chunk_length=chunk_length(stack.n_slices, settings.fan),
        fan=settings.fan,
        source=uri,
        image="%05d.png",
        output=uri,
        overrides=uri,
        id="i" * 100,
    )
    volume = expected_volume(plan)
    predicted = estimate(plan, volume, parse_pods(settings.pods), read_prices())
    assert max(step.n_pods for step in predicted.steps) <= settings.fan
    sizes: ObjectSizes = object_sizes(plan.config, predicted.steps, settings)
    scaled = Scaled(stack=stack, volume=volume, estimate=predicted, sizes=sizes, planned=[])
    assert shortfalls(scaled) == []
