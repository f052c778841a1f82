"""The check on thumbnails on the page: curves, the worst slices, and the way on after a failure."""

import html
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from components.report.page.strips import make_strips
from components.shared.geometry import translation
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
    assert text.count('<figure class="strip">') == 10
    assert text.count("data:image/webp") == 4 + 10 * 3
    assert text.count(" · SSIM with ") == 10


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


def test_strips_show_each_slice_in_its_place(run: FinishedRun) -> None:
    """A bright square that moves with its slice stands still in a strip."""
    _, transforms, _ = run
    scale, at = 0.5, {8: (30, 40), 9: (50, 44), 10: (38, 20)}

    def picture(z: int) -> NDArray[np.uint8] | None:
        if z not in at:
            return None
        x, y = at[z]
        values = np.zeros((100, 120), np.uint8)
        values[y : y + 10, x : x + 10] = 255
        return values

    entries = [
        s.model_copy(update={"matrix": translation(*(-np.array(at[s.z]) / scale)).tolist()})
        if s.z in at
        else s
        for s in transforms.slices
    ]
    entries[10] = entries[10].model_copy(update={"action": "invert"})
    moved = transforms.model_copy(update={"slices": tuple(entries)})
    (strip,) = make_strips(preview_of().worst[:1], moved, scale, picture)
    assert [frame.z for frame in strip.frames] == [8, 9, 10]
    before, middle, after = (np.where(f.known, f.values, 0) for f in strip.frames)
    assert middle.shape == (100, 120)
    ys, xs = np.nonzero(middle > 128)
    assert (xs.min(), ys.min(), len(xs)) == (50, 44, 100)
    np.testing.assert_array_equal(before[44:54, 50:60], 255)
    np.testing.assert_array_equal(after[44:54, 50:60], 0)
    assert strip.frames[2].note == "invert"
    assert not strip.frames[0].known[:, :20].any()
