"""The generated pages of the guide are those of the code."""

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
