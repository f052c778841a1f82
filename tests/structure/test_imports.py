"""Imports that import-linter cannot see: own modules that are loaded by a string."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = ("commands", "pipeline", "components")


def loaded_by_string(tree: ast.AST) -> list[int]:
    """Lines with a call that imports a module by a text, unless the text names a module of others."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in ("import_module", "__import__"):
            continue
        module = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if not isinstance(module, str) or module.partition(".")[0] in OWN:
            found.append(node.lineno)
    return found


def test_no_module_is_loaded_by_a_string() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line}"
        for room in OWN
        for path in sorted((ROOT / room).rglob("*.py"))
        for line in loaded_by_string(ast.parse(path.read_text()))
    ]
    assert offenders == []


def test_loads_by_a_string_are_seen() -> None:
    calls = ('importlib.import_module("components.x")', "import_module(name)", '__import__("commands")')
    code = "\n".join([*calls, 'import_module("cv2")'])
    assert loaded_by_string(ast.parse(code)) == [1, 2, 3]
