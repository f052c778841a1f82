"""The table of inputs that once failed names tests that exist."""

from __future__ import annotations

import ast

from tests.hard_cases import ROOT, hard_cases


def test_every_case_names_tests_that_exist() -> None:
    for case in hard_cases():
        assert case.tests, case.given
        for test in case.tests:
            file, *_, name = test.split("::")
            nodes = ast.walk(ast.parse((ROOT / file).read_text()))
            assert name in {node.name for node in nodes if isinstance(node, ast.FunctionDef)}, test


def test_no_case_is_told_twice() -> None:
    given = [case.given for case in hard_cases()]
    assert len(set(given)) == len(given)
