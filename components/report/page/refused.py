"""The page of a run that ended before any work was done: a headline and why."""

from __future__ import annotations

import jinja2


def refused_page(text: str) -> str:
    """HTML of the page, which loads nothing from elsewhere.

    Args:
        text: Sentences, a line each; the first is the headline.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    headline, *sentences = text.splitlines()
    return environment.get_template("refused.html.j2").render(headline=headline, sentences=sentences)
