"""The guide shows every TIFF tag that the readers know, and what is done with it."""

from __future__ import annotations

from components.shared.pictures.formats.tiff_tags import all_tags
from docs.tiff_tags import PAGE, with_table


def test_the_guide_has_the_table_of_the_code() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "make manifests writes it anew"
    assert f"| 274 | Orientation | {next(tag.treatment for tag in all_tags() if tag.code == 274)} |" in page
