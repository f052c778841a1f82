"""What the page of a run that ended early says to do, and what it shows of the place."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, join_uri
from components.shared.work.refusal import leave_refusal
from tests.components.report.finished_run import make_plan, write_align, write_plan
from tests.components.report.report_step import read_page, report, run_json

BREAK = "matched pairs must connect the slices; got 2 parts. The stack breaks between 9 and 10. Look there."


def matched_run(folder: Path, refused: set[tuple[int, int]] | None = None) -> tuple[str, Store]:
    """A run whose slices are matched, and not solved for."""
    plan = make_plan(folder / "out")
    process = open_store(join_uri(plan.config.output, "process"))
    write_plan(process, plan)
    write_align(process, plan, lambda z: np.full((35, 550), 10 * z, np.uint8), refused=refused or set())
    return plan.config.output, process


def failed_with(code: int) -> str:
    return json.dumps({"state": "FAILED", "error": {"code": code, "message": "slice 3 must be readable."}})


def test_a_refused_run_says_that_the_same_command_ends_the_same_and_shows_the_break(tmp_path: Path) -> None:
    across = {(z, n) for z in range(10) for n in range(10, 20)}
    output, process = matched_run(tmp_path, across)
    leave_refusal(process, "compose", UserError(BREAK))
    report(output, "Failed")
    text = read_page(output)
    assert "The same command would end the same way" in text
    assert "The same command goes on" not in text
    heading = text[text.index("<h1") : text.index("</h1>")]
    assert heading.endswith("The run failed: matched pairs must connect the slices; got 2 parts.")
    assert "<li>The stack breaks between 9 and 10. Look there.</li>" in text
    assert text.count('id="break-') == 1
    card = text[text.index('id="break-9"') :]
    assert "Between 9 and 10" in card
    assert card[: card.index("</article>")].count("data:image/webp") == 2
    assert run_json(output)["ends_the_same"]


@pytest.mark.parametrize(("code", "ends_the_same"), [(65, True), (78, True), (75, False), (9, False)])
def test_what_a_step_refused_is_told_by_its_exit_code(tmp_path: Path, code: int, ends_the_same: bool) -> None:
    output, _ = matched_run(tmp_path)
    report(output, failed_with(code))
    text = read_page(output)
    assert ("The same command would end the same way" in text) is ends_the_same
    assert ("The same command goes on where the run stopped" in text) is not ends_the_same
    assert run_json(output)["ends_the_same"] is ends_the_same
    assert "Where the stack breaks" not in text  # its slices are all joined
