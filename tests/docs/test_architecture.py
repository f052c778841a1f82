"""Pages for developers name paths and pages that exist; ARCHITECTURE.md stays short."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = re.compile(r"`((?:commands|pipeline|components|images|manifests|docs|tests|benchmarks)/[\w./-]*)`")
PAGES = [
    *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("*/*/README.md"),
    *ROOT.glob("changes/*.md"),
    *ROOT.glob("images/*.md"),
]
"""Pages that a reader takes paths from. The changelog's are those of its time."""
MADE_LATER = {"images/pushed.toml"}
"""Files that a target of make writes."""


def test_every_path_exists() -> None:
    named = [(page, path) for page in PAGES for path in PATH.findall(page.read_text())]
    assert len(named) > 100
    gone = [(page, path) for page, path in named if not (ROOT / path).exists() and path not in MADE_LATER]
    assert [f"{page.relative_to(ROOT)}: {path}" for page, path in gone] == []


def test_every_subcommand_has_a_room_of_its_name() -> None:
    from commands.main import main

    elsewhere = {
        "link": "view/link",
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
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert dead == []


def test_the_map_of_each_room_names_its_modules() -> None:
    unnamed = [
        f"{readme.relative_to(ROOT)}: {module.name}"
        for readme in sorted(ROOT.glob("c*/*/README.md"))
        for module in sorted(readme.parent.rglob("*.py"))
        if module.name not in ("__init__.py", "main.py", "component.py")
        and f"{module.name}`" not in readme.read_text()
    ]
    assert unnamed == []


def test_the_map_of_each_room_names_no_other_module() -> None:
    dead = [
        f"{readme.relative_to(ROOT)}: {name}"
        for readme in sorted(ROOT.glob("c*/*/README.md"))
        for name in re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", readme.read_text())
        if not any(
            path.name == name for room in ("commands", "components") for path in (ROOT / room).rglob(name)
        )
    ]
    assert dead == []
