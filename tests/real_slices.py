"""Stacks of real slices, which are not in the repository; tests/README.md says where they are published."""

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

STACKS = Path(os.environ.get("FIBSTACK_STACKS", Path(__file__).parents[2] / "shared" / "data"))
"""The folder of the stacks; without the variable, `shared/data` beside this checkout."""


def real_stack(name: str) -> Path:
    """The folder of a stack's slices `img.%05d.png`; the test that asks is skipped where it is missing."""
    folder = STACKS / name
    if not (folder / "img.00000.png").is_file():
        pytest.skip("needs real slices: FIBSTACK_STACKS=FOLDER, see tests/README.md")
    return folder


def real_pictures(name: str, numbers: Iterable[int]) -> list[np.ndarray]:
    """Slices of a stack, grey, in the order of the numbers."""
    folder = real_stack(name)
    return [cv2.imread(str(folder / f"img.{z:05d}.png"), cv2.IMREAD_GRAYSCALE) for z in numbers]
