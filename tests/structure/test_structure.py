"""Rules of the tree that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from components.shared.steps import STEPS

ROOT = Path(__file__).parents[2]
COMMANDS = (
    *("view.py", "link.py", "share.py", "clio.py", "notebook.py", "verify.py"),
    *("export.py", "explain_shards.py"),
)
"""Commands of `fibstack` that belong to a step, such as `fibstack view`."""
PROGRAMS = ("main.py", "component.py", "writing.py", "telling.py", *COMMANDS)
"""Files of a step that are no algorithms; `writing.py` is what two programs of the pyramid have in common,
`telling.py` sends messages."""
CODE = sorted([*(ROOT / "components").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")])

OPENS_FILES = {"open", "read_bytes", "write_bytes", "fromfile", "tofile", "imread", "imwrite"}
MAY_OPEN_FILES = {
    "components/shared/storage/folder.py",  # the one place that reads and writes data in folders
    "components/shared/command.py",  # output parameters, where KFP collects them
    # What brings files of a folder to where runs find them; they may be larger than memory.
    "commands/data/renumber.py",
    "commands/data/split.py",
    "commands/data/upload.py",
}
"""Everything else goes through a `Store`, or it would work on a laptop and fail in a bucket."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_its_three_layers(step: str) -> None:
    folder = ROOT / "components" / step
    for name in ("__init__.py", "main.py", "component.py"):
        assert (folder / name).is_file(), f"components/{step}/{name}"
    algorithms = [p.name for p in folder.glob("*.py") if p.name not in ("__init__.py", *PROGRAMS)]
    assert algorithms, f"components/{step} needs a module without I/O"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_a_program(step: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[f"fibstack-{step}"] == f"components.{step}.main:main"
    main = importlib.import_module(f"components.{step}.main").main
    assert type(main).__name__ == "StepCommand"
    assert all(option.help for option in main.params), "each flag needs a sentence"


@pytest.mark.parametrize("step", STEPS)
def test_algorithms_do_no_io(step: str) -> None:
    for path in (ROOT / "components" / step).glob("*.py"):
        if path.name in PROGRAMS:
            continue
        imported = imports_of(ast.parse(path.read_text()))
        assert not imported & {"click", "logging", "kfp"}, name_of(path)


def imports_of(tree: ast.AST) -> set[str]:
    """The top-level names of all imported modules."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


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


@pytest.mark.parametrize("path", [p for p in CODE if name_of(p).startswith("components/")], ids=name_of)
def test_data_goes_through_a_store(path: Path) -> None:
    if name_of(path) not in MAY_OPEN_FILES:
        assert opened_files(ast.parse(path.read_text())) == []


def test_the_check_for_opened_files_sees_them() -> None:
    code = "open(a)\nPath(a).read_bytes()\np.open('rb')\nts.open(spec)\nts.KvStore.open(spec)\ncv2.imread(a)"
    assert opened_files(ast.parse(code)) == [("open", 1), ("read_bytes", 2), ("open", 3), ("imread", 6)]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_names_say_what_a_module_is_about(path: Path) -> None:
    assert not {*path.relative_to(ROOT).parts, path.stem} & {"utils", "helpers", "common", "misc"}


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
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
