"""Inputs that once gave a wrong volume, a hang or a traceback, and the tests that hold what is right."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class HardCase:
    """An input, and what is right."""

    given: str
    right: str
    tests: tuple[str, ...]
    """`file::test` below the folder of the tests."""


def hard_cases() -> list[HardCase]:
    """The cases of `hard_cases.yaml`."""
    table = yaml.safe_load((ROOT / "hard_cases.yaml").read_text())
    return [HardCase(row["case"], row["right"], tuple(row["tests"])) for row in table]


def figures_of_cases(passed: Collection[str], failed: Collection[str]) -> Iterator[tuple[str, str]]:
    """What the end of a run says of the cases: how many are right, and the tests of each.

    Args:
        passed: Names of the tests that passed, with their parameters.
        failed: Names of the tests that did not.
    """
    right, wrong = (
        {name.removeprefix("tests/").partition("[")[0] for name in names} for names in (passed, failed)
    )
    cases = hard_cases()
    n_right = sum(right.issuperset(case.tests) and wrong.isdisjoint(case.tests) for case in cases)
    if n_right == 0:
        return  # other tests ran
    yield "inputs that once failed, right now", f"{n_right} of {len(cases)}"
    for case in cases:
        yield f"  {case.given}", f"{case.right} ({', '.join(case.tests)})"
