"""The estimate against a real run in a bucket: tasks and files exactly, requests and bytes within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale.emulator import Emulator, running_emulator
from commands.sample.main import main as sample
from components.align.main import main as align
from components.compose.main import main as compose
from components.plan.estimate import Estimate, bill_of, estimate
from components.plan.main import main as plan
from components.plan.storage_requests import Requests
from components.pyramid.main import main as pyramid
from components.report.main import main as report
from components.shared.documents.cost import MachinePrices, Pod, read_prices
from components.shared.documents.plan import Plan, plan_in
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.storage.registry import open_store
from components.shared.volume.volume import volume_of
from components.tile.main import main as tile
from pipeline.settings import Settings
from tests.builders import invoke

FIRST, LAST = 8, 18
PODS = {
    step: Pod(image="", cores=1, memory_bytes=4e9, spot=False)
    for step in ("plan", "align", "compose", "tile", "pyramid", "report")
}
PASSES = {0: "blocks", 5: "coarse_blocks", 10: "top_blocks"}


@dataclass(frozen=True)
class Run:
    """A run in a bucket and what was predicted of it."""

    predicted: Estimate
    items: dict[str, list[str]]
    """Of each loop."""
    requests: dict[str, Requests]
    """Counted, of each step."""
    plan: Plan
    sizes: dict[str, list[int]]
    """Of the files below each output, by its URI, metadata left out."""
    process_bytes: int


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Every output, two blocks and two passes, from eleven slices."""
    folder = tmp_path_factory.mktemp("estimate")
    slices = folder / "buckets/bucket/raw"
    shape = ["--size", "1080x70", "--slices", str(LAST - FIRST + 1), "--first", str(FIRST)]
    call(sample, str(slices), *shape)
    try:
        with running_emulator(folder, folder / "buckets") as emulator:
            yield run_in_bucket(emulator, folder)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def call(program: Any, *arguments: str) -> None:
    result = invoke(program, *arguments)
    assert result.exit_code == 0, result.output


def run_in_bucket(emulator: Emulator, folder: Path) -> Run:
    counted: dict[str, Requests] = {}
    items: dict[str, list[str]] = {}
    output = "gs://bucket/out"
    process = f"{output}/process"

    def step(name: str, program: Any, calls: list[list[str]], *outs: str) -> None:
        before = emulator.requests()
        for arguments in calls:
            files = [text for out in outs for text in (f"--{out.replace('_', '-')}-out", str(folder / out))]
            call(program, *arguments, *files)
        after = emulator.requests()
        counted[name] = Requests(after.class_a - before.class_a, after.class_b - before.class_b)
        for out in outs:
            if out != "process_uri":
                items[out] = json.loads((folder / out).read_text())

    config = {"raw-pyramid": "true", "ome-zarr": "true", "match-size": "400", "neighbours": "2"}
    given = {"source": "gs://bucket/raw", "output": output, "image": "img.%05d.png", **config}
    given |= {"minz": str(FIRST), "maxz": str(LAST)}
    flags = [text for key, value in given.items() for text in (f"--{key}", value)]
    at = ["--process-uri", process]
    step("plan", plan, [[*flags, "--pods", Settings().pods]], "process_uri", "chunks")
    step("align", align, [[*at, "--chunk", chunk] for chunk in items["chunks"]])
    step("compose", compose, [at], "slabs", *PASSES.values())
    step("tile", tile, [[*at, "--slabs", slabs] for slabs in items["slabs"]])
    for level, name in PASSES.items():
        calls = [[*at, "--level", str(level), "--blocks", blocks] for blocks in items[name]]
        step(name, pyramid, calls)
    step("report", report, [["--output", output, "--status", "Succeeded"]])

    store = open_store(process)
    planned = plan_in(store)
    volume = volume_of(planned, read_document(store, TRANSFORMS_KEY, Transforms))
    return Run(
        predicted=estimate(planned, volume, PODS, read_prices()),
        items=items,
        requests=counted,
        plan=planned,
        sizes={
            o.uri: [
                found.size_bytes
                for found in open_store(o.uri).list()
                if not found.key.endswith(("info", "provenance", "zarr.json"))
            ]
            for o in volume.outputs
        },
        process_bytes=sum(found.size_bytes for found in store.list()),
    )


def test_tasks_are_those_of_the_run(run: Run) -> None:
    loops = [list(step.items) for step in run.predicted.steps if step.items]
    assert loops == [run.items[name] for name in ("chunks", "slabs", "blocks", "coarse_blocks")]
    assert run.items["top_blocks"] == []
    assert run.predicted.n_pods == sum(map(len, loops)) + 3


def test_every_volume_has_the_files_that_were_predicted(run: Run) -> None:
    assert {o.uri: o.n_files for o in run.predicted.outputs} == {
        uri: len(sizes) for uri, sizes in run.sizes.items()
    }


def test_bytes_are_near(run: Run) -> None:
    """Predicted from the ratios of real tissue."""
    for output in run.predicted.outputs:
        real = sum(run.sizes[output.uri])
        factor = 1.3
        assert output.size_bytes / factor < real < output.size_bytes * factor, output.uri
    assert run.predicted.process_bytes / 2 < run.process_bytes < run.predicted.process_bytes * 2


def test_requests_are_those_that_are_asked(run: Run) -> None:
    """Exactly, but for `report`: it reads less of shards of one chunk, of which small volumes have many."""
    names = ["plan", "align", "compose", "tile", "blocks", "coarse_blocks", "report"]
    predicted = {name: step.requests for name, step in zip(names, run.predicted.steps, strict=True)}
    counted = {name: run.requests[name] for name in names}
    more, fewer = predicted.pop("report"), counted.pop("report")
    assert predicted == counted
    assert more.class_a == pytest.approx(fewer.class_a, abs=2)
    assert fewer.class_b <= more.class_b <= 1.3 * fewer.class_b
    assert run.requests["top_blocks"] == Requests(0, 0)


def test_a_bill_is_hours_bytes_and_requests_at_their_prices() -> None:
    prices = read_prices().model_copy(
        update={
            "on_demand": MachinePrices(core_hour=0.02, gib_hour=0.003),
            "spot": MachinePrices(core_hour=0.01, gib_hour=0.001),
            "storage_gib_month": 0.03,
            "class_a_per_1000": 5.0,
            "class_b_per_1000": 0.5,
        }
    )
    machine = {"tile": Pod(image="", cores=2, memory_bytes=4 * 2**30, spot=False)}
    found = bill_of(
        {"tile": 10.0},
        [Requests(1000, 2000)] * 2,
        machine,
        prices,
        tiles_bytes=100 * 2**30,
        results_bytes=2**30,
    )
    # 10 core-hours on 2 cores that are busy half the time are 10 hours of a pod.
    assert found.machines_on_demand == pytest.approx(10 * (2 * 0.02 + 4 * 0.003))
    assert found.machines_spot == pytest.approx(10 * (2 * 0.01 + 4 * 0.001))
    assert found.requests == pytest.approx(2 * 5.0 + 4 * 0.5)
    assert found.tiles_for_a_day == pytest.approx(0.1)
    assert found.results_a_month == pytest.approx(0.03)
    assert found.spot == pytest.approx(found.machines_spot + found.requests + found.tiles_for_a_day)
