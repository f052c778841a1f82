"""What a newcomer reads first: the map of each step names its modules, docstrings are whole sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from components.shared.steps import STEPS

ROOT = Path(__file__).parents[2]
ROOMS = ("commands", "components", "pipeline")
FRAGMENT = re.compile(r"(Of|The same|What|So|Such|None|As)\b")
"""Words with which a docstring begins that needs the code to be understood."""


def test_the_map_of_each_step_names_every_module() -> None:
    missing = []
    for step in STEPS:
        folder = ROOT / "components" / step
        text = (folder / "README.md").read_text()
        modules = (path for path in folder.rglob("*.py") if path.name != "__init__.py")
        missing += [f"{step}: {path.name}" for path in modules if not re.search(rf"\b{path.stem}\b", text)]
    assert missing == []


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and texts of a module's docstrings, those of its constants and attributes too."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            match statement:
                case ast.Expr(ast.Constant(str() as text)):
                    yield statement.lineno, text


def test_no_docstring_is_a_fragment() -> None:
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    assert [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]}"
        for path in files
        for line, text in docstrings(ast.parse(path.read_text()))
        if FRAGMENT.match(text)
    ] == []
