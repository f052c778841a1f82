"""What a run shows, on a terminal and elsewhere."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.here.attempt import Failure
from pipeline.here.processes import Ended
from pipeline.here.progress import LiveProgress, Progress, print_summary, progress_on
from pipeline.here.time_left import Prediction

FAILURE = Failure(step="tile", item="0-3", exit_code=65, message="[b]bad[/b] slice.", log=Path("log.txt"))


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def text_of(console: Console) -> str:
    return console.file.getvalue()


def run_tasks(progress: Progress, n: int) -> None:
    progress.expect("align", n)
    for index in range(n):
        progress.started("align", f"{index}-{index}")
        progress.ended("align", f"{index}-{index}", Ended(0, 2.0, 1.5, 100 * 2**20))


def test_display_suits_the_console():
    assert isinstance(progress_on(console(terminal=True), ["align"]), LiveProgress)
    assert type(progress_on(console(terminal=False), ["align"])) is Progress


def test_lines_are_bounded_and_the_last_is_always_there():
    out = console(terminal=False)
    with progress_on(out, ["align"]) as progress:
        run_tasks(progress, 500)
    lines = text_of(out).splitlines()
    assert lines[0] == "align 1/500  0-0  2 s"
    assert lines[-1] == "align 500/500  499-499  2 s"
    assert len(lines) < 10


@pytest.mark.parametrize("terminal", [True, False])
def test_failures_and_retries_are_shown_as_they_are(terminal):
    out = console(terminal=terminal)
    with progress_on(out, ["tile"]) as progress:
        progress.expect("tile", 2)
        progress.started("tile", "0-3")
        progress.started("tile", "4-7")
        progress.ended("tile", "0-3", Ended(65, 1.0))
        progress.retrying(FAILURE, 20.0)
        progress.failed(FAILURE)
    assert "tile 0-3: [b]bad[/b] slice. Trying again in 20 s." in text_of(out)
    assert "tile 0-3 failed: [b]bad[/b] slice." in text_of(out)
    assert "Waiting for 1 running tasks" in text_of(out)


def test_bars_show_counts_and_empty_loops():
    out = console(terminal=True)
    with progress_on(out, ["align", "pyramid-3"]) as progress:
        run_tasks(progress, 3)
        progress.expect("pyramid-3", 0)
    assert "3/3" in text_of(out)
    assert "nothing to do" in text_of(out)


def test_summary_adds_up():
    out = console(terminal=False)
    progress = Progress(out, ["align", "tile"])
    run_tasks(progress, 4)
    progress.started("align", "x")
    progress.ended("align", "x", Ended(1, 9.0, 0.5, 300 * 2**20))
    assert progress.use["align"].n_done == 4
    print_summary(out, progress.use)
    row = text_of(out).splitlines()[-1].split()
    assert row[:2] == ["align", "4"]
    assert row[4:] == ["6.5", "s", "300"]


def predict():
    return {"plan": Prediction(1, 1.0), "align": Prediction(4, 5000.0)}


@pytest.mark.parametrize("terminal", [True, False])
def test_the_whole_run_is_told_once_the_plan_is_made(terminal):
    out = console(terminal=terminal)
    with progress_on(out, ["plan", "align"], 2, predict) as progress:
        progress.expect("plan", 1)
        progress.started("plan", "")
        assert "left" not in text_of(out)
        progress.ended("plan", "", Ended(0, 1.0))
    shown = text_of(out)
    assert re.search(r"all .*0%.* 2 h 4\d min left", shown), shown


def test_no_line_of_the_bars_is_wider_than_a_terminal():
    out = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = LiveProgress(out, ["pyramid-3"], 64, lambda: {"pyramid-3": Prediction(200, 9e4)})
    progress._predicted = progress._predict()
    progress.expect("pyramid-3", 200)
    for item in range(64):
        progress.started("pyramid-3", str(item))
    progress.use["pyramid-3"].first_start_s -= 359_000
    progress.ended("pyramid-3", "0", Ended(0, 1.0))
    out.print(progress._bars.get_renderable())
    row = next(line for line in text_of(out).splitlines() if "running" in line)
    assert "63 running" in row
    assert len(re.sub(r"\x1b\[[\d;]*m", "", row)) <= 80


def test_a_report_after_a_failure_gets_its_bar():
    out = console(terminal=True)
    with progress_on(out, ["align"]) as progress:
        progress.started("report", "")
        progress.ended("report", "", Ended(0, 1.0))
    assert "report" in text_of(out)
