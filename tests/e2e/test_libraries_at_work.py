"""The libraries that the programs of a run load while they work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.shared.steps import STEPS
from tests.e2e.stack import Stack

UNUSED = {
    "plan": {"scipy", "tensorstore", "requests", "google.cloud", "jinja2"},
    "align": {"tensorstore", "requests", "google.cloud", "jinja2"},
    "compose": {
        *("tensorstore", "requests", "google.cloud", "jinja2", "imagecodecs"),
        *("scipy.signal", "scipy.stats", "scipy.optimize", "scipy.ndimage", "scipy.sparse.csgraph"),
    },
    "tile": {"scipy", "requests", "google.cloud", "jinja2"},
    "pyramid": {"scipy", "cv2", "requests", "google.cloud", "jinja2", "imagecodecs"},
    "report": {"requests", "google.cloud", "imagecodecs"},
}
"""What a step does without on a short 8-bit stack in a folder whose slices match and nobody is told of."""


def test_a_step_loads_no_library_that_its_work_does_not_use(
    small_sample: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    small_sample.run("--log-dir", tmp_path / "logs", output=tmp_path / "volume")
    loaded: dict[str, set[str]] = {step: set() for step in STEPS}
    for log in (tmp_path / "logs").rglob("log.txt"):
        step = log.relative_to(tmp_path / "logs").parts[1]
        names = re.findall(r"^import time:.*\| +(\S+)$", log.read_text(), re.MULTILINE)
        loaded[step.partition("-")[0]].update(names)
    assert all(f"components.{step}" in loaded[step] for step in STEPS)
    offenders = {step: loaded[step] & UNUSED[step] for step in STEPS}
    assert {step: names for step, names in offenders.items() if names} == {}
