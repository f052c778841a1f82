from __future__ import annotations

from pathlib import Path

import pytest

from tests.components.plan.plan_step import FIRST, LAST, write_slice


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for z in range(FIRST, LAST + 1):
        write_slice(tmp_path / "raw" / f"img.{z:05d}.png")
    return tmp_path / "raw"
