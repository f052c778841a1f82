"""Plants one error at a time in the code, and counts how many of them the tests find: `make mutants`.

A fixed sample of 40 lines of each package gets one standard change: another comparison, sign, operator or
number. The tests and docstrings of that package alone run in a copy of the tree, until the first failure, and
last the test that holds the page of limits to the code: no number that decides changes without its row there.

Neither library fits. mutmut 3 changes nothing outside of functions, where the limits of the stages stand, and
cosmic-ray has one command of tests for all modules of a session and no fixed sample of lines.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parents[1]
PACKAGES = ("align", "compose", "tile", "pyramid", "shared")
ROOMS = ("components", "commands", "pipeline")
LINES_EACH = 40
SEED = 13
CHANGES_NOTHING = ("strict", "copy")
"""Arguments that no result depends on: whether `zip` counts its lists, which have one length, and whether an
array is copied that nobody else holds."""
PAGES = "tests/structure/test_reference.py"
"""The test of the pages of the guide that are made of the code, the page of limits among them."""
TWO_WAYS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.In: ast.NotIn,
    ast.Is: ast.IsNot,
}
COMPARISONS: dict[type, type] = {**TWO_WAYS, **{other: one for one, other in TWO_WAYS.items()}}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Add,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
LEAST_S, TIMES = 60, 4
"""Tests that take so much longer than without a change hang, which is noticed as well as a failure."""


@dataclass(frozen=True)
class Mutant:
    """A changed line of a file."""

    package: str
    path: str
    line: int
    before: str
    after: str
    sound: str
    """The line without the change."""
    text: str
    """The file with the change."""


def changed(node: ast.AST) -> ast.expr | None:
    """An expression with one standard error in it, or None."""
    match node:
        case ast.Compare(left, [operator], comparators) if type(operator) in COMPARISONS:
            return ast.Compare(left, [COMPARISONS[type(operator)]()], comparators)
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            return ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.BoolOp(operator, values):
            return ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            return operand
        case ast.Constant(bool() as value):
            return ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            return ast.Constant(value + 1 if isinstance(value, int) or value == 0 else value * 2)
        case ast.Call(ast.Name(name), arguments, keywords) if name in FUNCTIONS:
            return ast.Call(ast.Name(FUNCTIONS[name]), arguments, keywords)
    return None


def expressions(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node but annotations and what `is_inert`."""
    if isinstance(node, ast.keyword) and node.arg in CHANGES_NOTHING:
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not is_inert(child):
                yield child
                yield from expressions(child)


def is_inert(node: ast.AST) -> bool:
    """True of what shows in no test: text that is put together, types, words for a log, a program's name."""
    match node:
        case ast.Call(ast.Attribute(ast.Name("log" | "logger"))):
            return True
        case ast.JoinedStr() | ast.Subscript(ast.Name("Literal" | "type" | "dict")):
            return True
        case ast.Compare(ast.Name("__name__")):
            return True
    return False


def mutants_of(package: str, path: Path) -> Iterator[list[Mutant]]:
    """The possible changes of each line of a file."""
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    starts = [sum(len(line.encode()) for line in lines[:n]) for n in range(len(lines))]
    found: dict[int, list[Mutant]] = {}
    for node in expressions(ast.parse(text)):
        after = changed(node)
        if after is None or not isinstance(node, ast.expr) or node.end_lineno != node.lineno:
            continue
        begin, end = (
            starts[node.lineno - 1] + node.col_offset,
            starts[node.lineno - 1] + (node.end_col_offset or 0),
        )
        new = ast.unparse(ast.fix_missing_locations(after))
        data = text.encode()
        mutant = Mutant(
            package,
            path.relative_to(ROOT).as_posix(),
            node.lineno,
            data[begin:end].decode(),
            new,
            lines[node.lineno - 1].strip(),
            (data[:begin] + f"({new})".encode() + data[end:]).decode(),
        )
        found.setdefault(node.lineno, []).append(mutant)
    yield from found.values()


def sample(package: str, n_lines: int, seed: int) -> list[Mutant]:
    """One change on each of some lines of a package: those whose texts have the smallest hashes.

    So an edit takes its own lines out of the sample or into it, and leaves the others.
    """
    files = sorted((ROOT / "components" / package).rglob("*.py"))
    lines = [line for file in files if file.name != "component.py" for line in mutants_of(package, file)]
    alike: Counter[str] = Counter()
    by_hash: dict[str, Mutant] = {}
    for changes in lines:
        said = f"{seed} {changes[0].path} {changes[0].sound}"
        alike[said] += 1
        digest = hashlib.sha256(f"{said} {alike[said]}".encode()).hexdigest()
        by_hash[digest] = random.Random(digest).choice(changes)
    return [by_hash[digest] for digest in sorted(by_hash)[:n_lines]]


def tests_of(mutant: Mutant) -> list[str]:
    """Where a package's tests are, those first that are likely to notice the change.

    These are the docstrings of the changed module, and then the files of tests that have its name, that
    import it, and that lie where its own would. What all steps share is tested by those who use it too: by
    the files of tests of other packages that import the module.
    """
    module = Path(mutant.path).with_suffix("")
    imports_it = _import_of(module)

    def distance(file: Path) -> tuple[bool, bool, bool, Path]:
        has_its_name, knows_it = module.name in file.stem, imports_it.search(file.read_text()) is not None
        return not has_its_name, not knows_it, file.parent != ROOT / "tests" / module.parent, file

    files = sorted((ROOT / "tests" / "components" / mutant.package).rglob("test_*.py"), key=distance)
    if mutant.package == "shared":
        others = {file for room in ROOMS for file in (ROOT / "tests" / room).rglob("test_*.py")} - set(files)
        files += sorted(file for file in others if imports_it.search(file.read_text()))
    paths = [file.relative_to(ROOT).as_posix() for file in files]
    return [mutant.path, *paths, f"components/{mutant.package}", PAGES]


def _import_of(module: Path) -> re.Pattern[str]:
    """What a file says that imports a module."""
    package, dotted = ".".join(module.parts[:-1]), ".".join(module.parts)
    return re.compile(rf"\b{dotted}\b|\bfrom {package} import [^\n]*\b{module.name}\b")


def passes(copy: Path, tests: list[str], timeout_s: float) -> bool:
    """Whether tests pass in a copy of the tree, in time."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        return run.wait(timeout_s) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if run.poll() is None:
            os.killpg(run.pid, 9)
            run.wait()


def survives(mutant: Mutant, copy: Path, timeout_s: float) -> bool:
    """Whether no test of the package fails with the change."""
    file = copy / mutant.path
    sound = file.read_text()
    file.write_text(mutant.text)
    try:
        return passes(copy, tests_of(mutant), timeout_s)
    finally:
        file.write_text(sound)


def copy_tree(target: Path) -> Path:
    """Copy the files of the repository as they are now, with what `setup.py` has compiled."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    compiled = [path.relative_to(ROOT).as_posix() for path in (ROOT / "components").rglob("*.bin")]
    for name in filter(None, files + compiled):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="*", default=PACKAGES, help="Some of the packages.")
    parser.add_argument("--lines", type=int, default=LINES_EACH, help="Lines of each package.")
    parser.add_argument("--seed", type=int, default=SEED, help="Another seed takes other lines.")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="Copies of the tree to test at once."
    )
    parser.add_argument("--list", action="store_true", help="Print the changes alone.")
    given = parser.parse_args()
    planted = [mutant for package in given.packages for mutant in sample(package, given.lines, given.seed)]
    if given.list:
        print(*(f"{m.path}:{m.line}: {m.before} -> {m.after}" for m in planted), sep="\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for n in range(given.jobs):
            copies.put(copy_tree(Path(folder, str(n), ROOT.name)))
        limits_s = {}
        for package in given.packages:
            started = time.monotonic()
            sound = next(mutant for mutant in planted if mutant.package == package)
            if not passes(Path(folder, "0", ROOT.name), tests_of(sound), 3600):
                sys.exit(f"the tests of {package} must pass before errors are planted")
            limits_s[package] = LEAST_S + TIMES * (time.monotonic() - started)
        survivors: list[Mutant] = []

        def test(mutant: Mutant) -> None:
            copy = copies.get()
            survived = survives(mutant, copy, limits_s[mutant.package])
            copies.put(copy)
            if survived:
                survivors.append(mutant)
            verdict = "SURVIVED" if survived else "killed"
            print(f"{verdict:<8} {mutant.path}:{mutant.line}: {mutant.before} -> {mutant.after}", flush=True)

        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(test, planted))
    for package in given.packages:
        n = sum(mutant.package == package for mutant in planted)
        killed = n - sum(mutant.package == package for mutant in survivors)
        print(f"{package:<8} {killed:3} of {n:3} killed, {killed / n:.0%}")


if __name__ == "__main__":
    main()
