"""The benchmark of starts measures every command and step, and the programs of a local run."""

from __future__ import annotations

from benchmarks.starts.__main__ import as_markdown
from benchmarks.starts.measure import starts
from components.shared.steps import STEPS


def test_every_start_and_a_local_run_are_measured_once() -> None:
    found = starts(1, ("--size", "96x96", "--slices", "4"), commands=("", "share"))
    assert list(found.steps) == list(found.steps_help_s) == list(found.steps_work_s) == list(STEPS)
    assert found.helps_s[""] > 0.02
    for step in STEPS:
        assert found.steps[step].n_tasks == 1
        assert found.steps_help_s[step] > 0.1
        assert 0.1 < found.steps_work_s[step] < 2 * found.steps[step].cpu_s
    table = [*as_markdown(found)]
    assert any(line.startswith("| `fibstack share` | 0.") for line in table)
    assert table[-1].startswith("| **all** | 6 | ")
