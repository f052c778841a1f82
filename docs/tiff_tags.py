"""The table of TIFF tags in docs/your-data.md: each that fibstack looks at, and what is done with it.

`python -m docs.tiff_tags` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

from components.shared.pictures.formats.tiff_tags import all_tags

PAGE = Path(__file__).parent / "your-data.md"
BEGIN = "<!-- `make manifests` writes this table from components/shared/pictures/formats/tiff_tags.py. -->"
END = "<!-- end of the table -->"


def with_table(page: str) -> str:
    """A page with the table of tags in place of the one that it holds.

    Raises:
        ValueError: the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} must hold the lines {BEGIN} and {END}")
    rows = [f"| {tag.code} | {tag.name} | {tag.treatment} |" for tag in all_tags()]
    table = "\n".join(["| tag | name | what is done with it |", "|---|---|---|", *rows])
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
