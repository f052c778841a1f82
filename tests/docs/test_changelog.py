"""Notes of changes: what waits in `changes/` can be moved to the changelog as it is."""

from __future__ import annotations

from pathlib import Path

from docs.changelog import with_notes

ROOT = Path(__file__).parents[2]


def test_notes_go_to_the_end_of_their_version() -> None:
    changelog = "# Changelog\n\n## 0.2.0 (unreleased)\n\n- a\n\n## 0.1.0\n\n- b\n"
    assert with_notes(changelog, ["- c\n  d\n", "- e\n"], "0.2.0") == (
        "# Changelog\n\n## 0.2.0 (unreleased)\n\n- a\n- c\n  d\n- e\n\n## 0.1.0\n\n- b\n"
    )


def test_the_changelog_stays_as_it_is_without_notes() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert with_notes(changelog, [], changelog.split("\n## ")[1].split()[0]) == changelog


def test_every_note_is_a_list() -> None:
    notes = [path for path in (ROOT / "changes").glob("*.md") if path.name != "README.md"]
    assert [path.name for path in notes if not path.read_text().startswith("- ")] == []
