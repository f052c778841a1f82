"""Rules of the tree that no other tool checks: one test for each, which lists what breaks it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from components.shared.command import StepCommand
from components.shared.steps import STEPS

ROOT = Path(__file__).parents[2]
ROOMS = ("commands", "components", "pipeline")
CODE = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

FILES_OF_A_STEP = ("__init__.py", "main.py", "component.py", "README.md", "contract.yaml")
OPENS_FILES = {"open", "read_bytes", "write_bytes", "fromfile", "tofile", "imread", "imwrite"}
MAY_OPEN_FILES = {
    "components/shared/regular_file.py",  # the one open for reading
    "components/shared/storage/folder.py",  # the one place that writes data in folders
    "components/shared/command.py",  # the termination log of a pod
    # What brings files of a folder to where runs find them; they may be larger than memory.
    "commands/data/renumber.py",
    "commands/data/split.py",
    # One file of all slices, larger than memory, and TIFF, which a library makes in memory.
    "commands/export/stack.py",
    "commands/export/formats/tiff.py",
    "commands/share/serve.py",  # runs by itself, where there is no fibstack
}
"""Everything else goes through a `Store`, or it would work on a laptop and fail in a bucket."""
SAYS_NOTHING = {"utils", "helpers", "common", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_step_has_its_files() -> None:
    names = [f"components/{step}/{name}" for step in STEPS for name in FILES_OF_A_STEP]
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_every_step_is_a_program_whose_flags_have_a_sentence() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {name.removeprefix("fibstack-"): place for name, place in scripts.items() if "-" in name} == {
        step: f"components.{step}.main:main" for step in STEPS
    }
    programs = {step: importlib.import_module(f"components.{step}.main").main for step in STEPS}
    assert [step for step, program in programs.items() if not isinstance(program, StepCommand)] == []
    silent = [
        f"{step} {option.name}"
        for step, program in programs.items()
        for option in program.params
        if not (isinstance(option, click.Option) and option.help)
    ]
    assert silent == []


def opened_files(tree: ast.AST) -> list[tuple[str, int]]:
    """Calls that open a file by themselves, with their lines."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            name = node.func.id
        elif isinstance(node.func, ast.Attribute) and not is_library_open(node.func):
            name = node.func.attr
        else:
            continue
        if name in OPENS_FILES:
            found.append((name, node.lineno))
    return found


def is_library_open(function: ast.Attribute) -> bool:
    """`tensorstore.open(...)` and `ts.KvStore.open(...)` take a store's spec, not a path."""
    return ast.unparse(function).partition(".")[0] in ("ts", "tensorstore", "webbrowser")


def test_data_goes_through_a_store() -> None:
    files = [path for path in CODE if name_of(path).startswith(("commands/", "components/"))]
    opened = {name_of(path): opened_files(ast.parse(path.read_text())) for path in files}
    assert {name: calls for name, calls in opened.items() if calls and name not in MAY_OPEN_FILES} == {}
    assert [name for name in MAY_OPEN_FILES if not opened.get(name)] == [], "opens none any more"


def test_the_check_for_opened_files_sees_them() -> None:
    code = "open(a)\nPath(a).read_bytes()\np.open('rb')\nts.open(spec)\nts.KvStore.open(spec)\ncv2.imread(a)"
    assert opened_files(ast.parse(code)) == [("open", 1), ("read_bytes", 2), ("open", 3), ("imread", 6)]


def test_names_say_what_a_module_is_about() -> None:
    names = {name_of(path): {*path.relative_to(ROOT).parts, path.stem} for path in CODE}
    assert [name for name, parts in names.items() if parts & SAYS_NOTHING] == []


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("no git checkout: clone the repository")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


MACHINE_PATH = re.compile(r"(?<![\w.:/$}-])/(?:home|Users|root|work|mnt)/[\w.-]")


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name_of(path)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE_PATH.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "names_one"), [("'/ho" + "me/me/x'", True), ("gs://home/x", False), ("a/root/b", False)]
)
def test_the_check_for_machine_paths_sees_them(line: str, names_one: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) == names_one
