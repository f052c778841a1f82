"""Words of the page, which stands alone."""

import re
from pathlib import Path

from components.report.words.glossary import WORDS
from components.shared.documents.transforms import Verdict

ROOT = Path(__file__).parents[4]


def test_the_page_means_by_its_words_what_the_documentation_means() -> None:
    text = (ROOT / "docs/glossary.md").read_text()
    documented = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.*) \|$", text, re.MULTILINE))
    assert {word: documented.get(word) for word in WORDS} == WORDS


def test_every_verdict_but_good_is_explained() -> None:
    assert set(Verdict.__args__) - {"good"} <= set(WORDS)


def test_every_word_that_the_page_links_is_there() -> None:
    template = (ROOT / "components/report/page/page.html.j2").read_text()
    assert set(re.findall(r'term\("([^"]+)"', template)) <= set(WORDS)
