"""Moves the notes of `changes/` to CHANGELOG.md, below the version of pyproject.toml.

`python -m docs.changelog`, or `make changelog`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def with_notes(changelog: str, notes: Sequence[str], version: str) -> str:
    r"""A changelog with further notes at the end of a version's section, which is made where it is missing.

    Example:
        >>> with_notes("# Changelog\n\n## 1\n\n- old\n", ["- new\n"], "2")
        '# Changelog\n\n## 2\n\n- new\n\n## 1\n\n- old\n'
    """
    head, *sections = changelog.rstrip("\n").split("\n\n## ")
    if not sections or sections[0].split()[0] != version:
        sections.insert(0, f"{version}\n")
    sections[0] = "\n".join([sections[0], *(note.rstrip("\n") for note in notes)])
    return "\n\n## ".join([head, *sections]) + "\n"


def main() -> None:
    """Move every note, in the order of the files' names."""
    files = sorted(path for path in (ROOT / "changes").glob("*.md") if path.name != "README.md")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    path = ROOT / "CHANGELOG.md"
    path.write_text(with_notes(path.read_text(), [file.read_text() for file in files], version))
    for file in files:
        file.unlink()


if __name__ == "__main__":
    main()
