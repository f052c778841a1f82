"""ARCHITECTURE.md names paths that exist, and stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATH = re.compile(
    r"`((?:commands|pipeline|components|images|manifests|docs|tests)/[\w./-]*|\w+\.(?:md|toml))`"
)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_exists(page: str) -> None:
    named = PATH.findall((ROOT / page).read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_subcommand_has_a_room_of_its_name() -> None:
    from commands.main import main

    elsewhere = {
        "link": "view/link",
        "share": "view/share",
        "score": "sample/score",
        "explain-shards": "shards",
    }
    rooms = [elsewhere.get(name, name) for name in main.commands]
    commands = ROOT / "commands"
    assert [r for r in rooms if not ((commands / r).is_dir() or (commands / f"{r}.py").is_file())] == []


def test_it_takes_a_page_and_a_half() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 100


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name.partition("-")[0] for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("c*/*/README.md"),
        *ROOT.glob("changes/*.md"),
    ]
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert dead == []
