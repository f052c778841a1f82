"""The generated pages of the guide are those of the code."""

import ast
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pages_are_what_make_manifests_writes(tmp_path: Path) -> None:
    # A program of its own: click remembers the name of the help option from a command's first call.
    subprocess.run([sys.executable, DOCS / "reference.py", tmp_path], check=True, cwd=DOCS.parent)
    pages = sorted(path.name for path in tmp_path.iterdir())
    assert pages == ["commands.md", "configuration.md", "correctness.md", "limits.md", "messages.md"]
    for name in pages:
        assert (DOCS / name).read_text() == (tmp_path / name).read_text(), "run make manifests"


def test_every_limit_of_the_code_stands_on_the_page() -> None:
    code = DOCS.parent
    classes = {
        kind.name: path.relative_to(code).as_posix()
        for package in ("commands", "components", "pipeline")
        for path in (code / package).rglob("*.py")
        for kind in ast.parse(path.read_text()).body
        if isinstance(kind, ast.ClassDef) and any(map(_is_limit, kind.body))
    }
    page = (DOCS / "limits.md").read_text()
    missing = [f"{name} of {path}" for name, path in classes.items() if f"### {name}\n" not in page]
    assert len(classes) > 40
    assert missing == []


def _is_limit(statement: ast.stmt) -> bool:
    made = getattr(statement, "value", None)
    return isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "limit"
