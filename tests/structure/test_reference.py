"""The generated pages of the guide are those of the code."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
specification = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
reference = importlib.util.module_from_spec(specification)
specification.loader.exec_module(reference)


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_what_make_manifests_writes(name):
    assert (DOCS / name).read_text() == reference.PAGES[name](), "run make manifests"
