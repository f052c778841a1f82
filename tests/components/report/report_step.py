"""The report step as a program, and what it leaves."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from click.testing import Result

from components.report.main import main
from tests.builders import invoke

FAILED = '{"state": "FAILED", "error": {"code": 9, "message": "tile: a slice <b> cannot be read."}}'


def report(output: Path | str, status: str = "Succeeded") -> Result:
    return invoke(main, output=output, status=status)


def run_json(output: Path | str) -> dict[str, Any]:
    return json.loads(Path(output, "process/run.json").read_text())


class Page(HTMLParser):
    """Collects what a page would load and checks that its elements nest."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str | None] = []
        self.text: list[str] = []
        self.open_elements: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag not in self.VOID:
            self.open_elements.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open_elements.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_page(output: Path | str) -> str:
    text = Path(output, "process/report/index.html").read_text()
    page = Page(text)
    assert page.open_elements == []
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    assert "url(http" not in text
    assert "@import" not in text
    return text
