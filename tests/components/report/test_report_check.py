"""The check on thumbnails on the page: curves, the worst slices, and the way on after a failure."""

import html
import re
from pathlib import Path

import pytest

from tests.components.report.finished_run import FinishedRun, finished_run, preview_of, write_preview
from tests.components.report.report_step import FAILED, read_page, report, run_json


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return finished_run(tmp_path)


def test_a_passed_check_is_shown(run: FinishedRun) -> None:
    plan, _, process = run
    write_preview(process, preview_of())
    assert report(plan.config.output).exit_code == 0
    text = read_page(plan.config.output)
    assert "Check on thumbnails: passed." in text
    assert "The way on" not in text
    assert text.count('<article class="card"') == 1  # the replaced slice, and none that is good
    assert text.count("data:image/webp") == 4 + 4


def test_a_failed_check_leads_the_page_with_the_way_on(run: FinishedRun) -> None:
    plan, _, process = run
    write_preview(process, preview_of(["3 of <9> neighbours correlate far less"]))
    report(plan.config.output, '{"state": "FAILED", "error": {"code": 9, "message": "task compose failed"}}')
    text = html.unescape(read_page(plan.config.output))
    heading = text[text.index("<h1") : text.index("</h1>")]
    assert "The volume was not written: its slices do not pass the check on thumbnails." in heading
    assert "3 of <9> neighbours correlate far less." in text
    assert "- {z: 9, replace: nearest}" in text
    assert f"fibstack resolve {plan.config.output} --overrides decisions.yaml" in text
    assert f"fibstack resolve {plan.config.output} --set force=true" in text
    assert "The same command goes on" not in text
    shown = {int(z) for z in re.findall(r'class="card" id="slice-(\d+)"', text)}
    assert shown == {7, *range(9, 14)}  # the slice that stands out, and the worst of the check
    assert 'Slices that stand out: <a href="#slice-7">7</a> (good, replaced by 6).' in text
    document = run_json(Path(plan.config.output))
    assert document["problems"] == ["3 of <9> neighbours correlate far less."]
    assert not document["complete"]


def test_another_failure_is_not_blamed_on_the_check(run: FinishedRun) -> None:
    plan, _, process = run
    write_preview(process, preview_of(["3 of 9"]))
    report(plan.config.output, FAILED)
    assert run_json(Path(plan.config.output))["summary"][0].startswith("The run failed: tile: a slice")


def test_a_check_that_is_not_enforced_warns(run: FinishedRun) -> None:
    plan, _, process = run
    write_preview(process, preview_of(["3 of 9"], enforced=False))
    assert report(plan.config.output).exit_code == 0
    assert "not enforced" in read_page(plan.config.output)


def test_a_preview_of_another_stack_is_not_shown(run: FinishedRun) -> None:
    plan, _, process = run
    write_preview(process, preview_of(["3 of 9"], n=7))
    report(plan.config.output, "Failed")
    text = read_page(plan.config.output)
    assert "Check on thumbnails" not in text
    assert "preview.json is of an earlier run" in text
