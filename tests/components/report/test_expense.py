"""What the page tells of cost and images."""

import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from components.report.main import main
from components.report.page.facts import cost_facts
from components.report.run_document import images_used
from components.shared.documents.cost import COST_KEY, Bill, CostEstimate, Pod, read_prices
from components.shared.steps import PROCESSES
from components.shared.work.completeness import OutputSummary
from tests.builders import invoke
from tests.components.report.finished_run import finished_run
from tests.components.report.report_step import read_page, run_json

DIGEST = f"sha256:{'0a' * 32}"


def estimate_of(**images: str) -> CostEstimate:
    return CostEstimate(
        pods={
            step: Pod(image=image, cores=2, memory_bytes=4e9, spot=False) for step, image in images.items()
        },
        core_hours={"align": 12.5, "tile": 0.034, "report": 0.001},
        dollars=Bill(
            machines_on_demand=1.25, machines_spot=0.75, requests=0.001, tiles_for_a_day=0, results_a_month=7
        ),
        prices=read_prices(),
    )


def pods_json(cost: CostEstimate) -> str:
    return json.dumps(cost.model_dump()["pods"])


def report(output: Path | str, pods: str = "") -> Result:
    return invoke(main, "--output", output, "--status", "Succeeded", "--pods", pods)


def test_the_cost_is_told_in_core_hours_and_dollars() -> None:
    written = OutputSummary(uri="o", encoding="raw", n_shards=1, n_black_shards=0, size_bytes=100 * 2**30)
    assert cost_facts(estimate_of(), [written]) == {
        "core-hours, estimated": "12.5 (align 12.5, tile 0.03, report <0.01)",
        "machines, estimated": "$1.25 on demand, $0.75 spot",
        "requests to storage, estimated": "less than $0.01",
        "aligned tiles for a day, estimated": "$0.00",
        "storing the volumes, by their size": "$2.00 a month",
    }
    assert "storing the volumes, by their size" not in cost_facts(estimate_of(), [])


def test_images_are_pinned_only_by_digest() -> None:
    pinned, by_tag = f"reg/align:1@{DIGEST}", "reg/tile:1"
    assert images_used(estimate_of(align=pinned).pods, as_processes=False) == (
        {"align": pinned},
        "Pinned: each step ran the image with this digest.",
    )
    images, known = images_used(estimate_of(align=pinned, tile=by_tag).pods, as_processes=False)
    assert images == {"align": pinned, "tile": by_tag}
    assert known.startswith("Not pinned: tile by a tag alone")


@pytest.mark.parametrize("images", [{}, {"align": "reg/align:1"}])
def test_processes_run_in_no_image(images: dict[str, str]) -> None:
    images, known = images_used(estimate_of(**images).pods, as_processes=True)
    assert images == {}
    assert known.startswith("Not pinned: the steps ran as processes")


@pytest.mark.parametrize("as_processes", [True, False])
def test_the_page_shows_cost_where_there_is_one_with_the_date_of_its_prices_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_processes: bool
) -> None:
    plan, _, process = finished_run(tmp_path)
    cost = estimate_of(align=f"reg/align:1@{DIGEST}")
    process.write(COST_KEY, cost.to_json())
    monkeypatch.delenv(PROCESSES, raising=False)
    if as_processes:
        monkeypatch.setenv(PROCESSES, "1")
    assert report(plan.config.output, pods=pods_json(cost)).exit_code == 0
    text = read_page(plan.config.output)
    assert ("$1.25 on demand, $0.75 spot" in text) is not as_processes  # a machine of one's own has no bill
    prices = read_prices()
    assert (f"{prices.region}, {prices.date}" in re.sub(r"\s+", " ", text)) is not as_processes
    assert "on other images or machines" not in text
    assert (DIGEST in text) is not as_processes
    assert run_json(Path(plan.config.output))["images"] == (
        {} if as_processes else {"align": f"reg/align:1@{DIGEST}"}
    )


def test_a_run_without_an_estimate_says_so_of_its_images_and_shows_no_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _, _ = finished_run(tmp_path)
    monkeypatch.delenv(PROCESSES, raising=False)
    report(plan.config.output)
    text = read_page(plan.config.output)
    assert "What it costs" not in text
    assert "Not known: nobody told the run" in text


def test_an_estimate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    plan, _, process = finished_run(tmp_path)
    damaged = json.loads(estimate_of().to_json()) | {"crc32c": "", "core_hours": None}
    process.write(COST_KEY, json.dumps(damaged).encode())
    report(plan.config.output)
    (problem,) = run_json(Path(plan.config.output))["problems"]
    assert "cost.json" in problem


def test_an_estimate_for_other_machines_is_shown_as_such(tmp_path: Path) -> None:
    plan, _, process = finished_run(tmp_path)
    process.write(COST_KEY, estimate_of(align="reg/align:1").to_json())
    report(plan.config.output, pods=pods_json(estimate_of(align="reg/align:2")))
    text = read_page(plan.config.output)
    assert "of an earlier run, on other images or machines" in text
    assert "reg/align:2" in text
    assert "reg/align:1" not in text
