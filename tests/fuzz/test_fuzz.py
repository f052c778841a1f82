"""Damaged inputs at each border end in a sentence: no crash, no hang, no more memory than a program has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fuzz.borders import BORDERS
from tests.fuzz.fuzzing import MOST_MEMORY_MIB, fuzz


@pytest.mark.parametrize("border", BORDERS)
def test_damaged_inputs_end_in_a_sentence(border: str, figure: Callable[..., None]) -> None:
    figures = fuzz(border, seconds=15, seed=1)
    assert figures.crashes == []
    assert figures.hangs == []
    assert figures.executions > 50
    assert 0 < figures.memory_mib <= MOST_MEMORY_MIB
    figure(f"fuzz, {border}", str(figures))
