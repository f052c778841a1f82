"""Imports that import-linter cannot see: own modules loaded by a string, and libraries loaded for nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.steps import STEPS

ROOT = Path(__file__).parents[2]
OWN = ("commands", "pipeline", "components")
DEAR = (
    *("numpy", "scipy", "cv2", "tensorstore", "imagecodecs", "jinja2", "rich", "neuroglancer", "tornado"),
    *("yaml", "skimage", "matplotlib"),
    *("kfp", "kfp_server_api", "kubernetes", "hera", "google.cloud", "google.auth", "requests", "urllib3"),
)
"""Libraries that take more than a hundredth of a second to start."""
USED = {
    "plan": {"numpy", "cv2", "imagecodecs"},
    "align": {"numpy", "cv2", "imagecodecs"},
    "compose": {"numpy", "cv2"},
    "tile": {"numpy", "cv2", "imagecodecs", "tensorstore"},
    "pyramid": {"numpy", "tensorstore"},
    "report": {"numpy", "cv2", "jinja2"},
}
"""Those that a step's program needs for whatever it does."""
HELPS = """
import contextlib, io, json, sys
from commands.main import main

loaded = {}
def look(command, words):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    loaded[" ".join(words)] = sorted(sys.modules)
    real = command.load() if hasattr(command, "load") else command
    for name, below in getattr(real, "commands", {}).items():
        look(below, [*words, name])

look(main, [])
print(json.dumps(loaded))
"""
"""Prints the modules that are loaded once a command and those before it have said their help, by command."""


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


def modules_of(code: str) -> dict[str, list[str]]:
    """What a script prints about the modules that it has loaded, in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    return loaded


def test_no_help_waits_for_a_library_that_it_does_not_need() -> None:
    loaded = modules_of(HELPS)
    assert {"", "run", "verify", "data", "data upload"} <= loaded.keys()
    offenders = {f"fibstack {words} --help": set(DEAR) & set(names) for words, names in loaded.items()}
    assert {words: names for words, names in offenders.items() if names} == {}


@pytest.mark.parametrize("step", STEPS)
def test_the_program_of_a_step_starts_with_the_libraries_of_its_work_alone(step: str) -> None:
    code = f"import json, sys, components.{step}.main; print(json.dumps({{'': [*sys.modules]}}))"
    assert set(DEAR) & set(modules_of(code)[""]) <= USED[step]
