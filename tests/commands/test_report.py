"""`fibstack report`: several runs on one page, the worst first."""

import html
import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from commands.report import report
from components.report.main import main as report_step
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.work.refusal import leave_refusal
from tests.builders import invoke
from tests.components.report.finished_run import finished_run


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.report.page.figures.curves_svg", lambda z, panels, marked: "<svg ></svg>")


def good_run(folder: Path, name: str) -> Path:
    plan, _, _ = finished_run(folder / name, id=name)
    assert invoke(report_step, "--output", plan.config.output, "--status", "Succeeded").exit_code == 0
    return Path(plan.config.output)


def failed_run(folder: Path, name: str) -> Path:
    plan, _, _ = finished_run(folder / name, id=name)
    output = Path(plan.config.output)
    next((output / "neuroglancer/jpeg").rglob("*.shard")).unlink()
    invoke(report_step, "--output", plan.config.output, "--status", "Succeeded")
    return output


def page_of(outputs: list[Path], page: Path) -> tuple[Result, str]:
    done = invoke(report, *map(str, outputs), "--to", str(page))
    return done, page.read_text()


def rows_of(text: str) -> list[list[str]]:
    """Cells of the table's rows, without markup."""
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in cells]


def test_the_worst_run_comes_first_and_each_leads_to_its_report(tmp_path: Path) -> None:
    good, failed = good_run(tmp_path, "liver"), failed_run(tmp_path, "kid-ney")
    done, text = page_of([good, failed], tmp_path / "morning.html")
    assert done.exit_code == 0, done.output
    assert "1 of 2 runs failed." in text
    rows = rows_of(text)
    assert [row[:2] for row in rows] == [["failed", "kid-ney"], ["good", "liver"]]
    assert rows[0][2].startswith("The volume is NOT complete")
    assert rows[1][3:6] == ["7 good", "20", "0"]
    assert 'href="liver/out/process/report/index.html#slice-7"' in text
    for link in re.findall(r'href="([^"#]+index.html)"', text):
        assert (tmp_path / link).exists()
    assert "failed  kid-ney: The volume is NOT complete" in done.output
    assert "good    liver: The stack is aligned" in done.output


def test_a_run_that_goes_on_or_was_refused_has_a_row_too(tmp_path: Path) -> None:
    goes_on = tmp_path / "on/out"
    finished_run(tmp_path / "on", id="on")
    refused = tmp_path / "refused/out"
    process = open_store(str(refused / "process"))
    leave_refusal(process, "plan", UserError("slice 7 must be readable; got zeros. Remove it."))
    _, text = page_of([goes_on, refused, tmp_path / "nothing"], tmp_path / "page.html")
    rows = {row[1]: (row[0], row[2]) for row in rows_of(text)}
    assert rows["on"] == ("look", "The run has not ended, or ended without its report.")
    assert rows["out"] == ("failed", "The run was refused: slice 7 must be readable; got zeros. Remove it.")
    assert rows["nothing"][0] == "failed"
    assert rows["nothing"][1].startswith("Nothing of a run lies there")


def test_a_newer_plan_than_the_report_is_a_run_that_goes_on(tmp_path: Path) -> None:
    output = good_run(tmp_path, "liver")
    document = json.loads((output / "process/run.json").read_text())
    assert document["tone"] == "good"
    assert document["standing_out"] == [{"z": 7, "verdict": "good", "shown": "replaced by 6"}]
    finished_run(tmp_path / "liver", id="liver", clip_limit=0.5)
    _, text = page_of([output], tmp_path / "page.html")
    assert rows_of(text)[0][0] == "look"


def test_what_a_run_is_called_cannot_become_markup(tmp_path: Path) -> None:
    _, text = page_of([tmp_path / "<b>x"], tmp_path / "page.html")
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    done = invoke(report, str(tmp_path), "--to", str(tmp_path / "no/such/folder.html"))
    assert done.exit_code == 78
    assert "Change --to." in done.output
