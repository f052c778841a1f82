"""CITATION.cff says what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"], citation["license"], citation["abstract"]) == (
        project["name"],
        project["version"],
        project["license"],
        project["description"],
    )
    assert citation["keywords"] == project["keywords"]
    assert {"cff-version", "message", "authors", "type"} <= citation.keys()
