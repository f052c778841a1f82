"""The guide to overrides says what the program does."""

import json
import re
from pathlib import Path

from pydantic import TypeAdapter

from components.plan.overrides import check_overrides, parse_overrides
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Override

GUIDE = (Path(__file__).parents[2] / "docs/overrides.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[1]


def test_the_example_is_accepted_and_holds_every_decision() -> None:
    overrides = parse_overrides(block("yaml").encode(), "docs/overrides.md")
    config = RunConfig(source="in", image="%d.png", minz=500, maxz=999, output="out")
    check_overrides(config, overrides)
    assert {name for o in overrides for name in o.decisions} == Override.model_fields.keys() - {"z"}


def test_the_schema_is_that_of_the_program() -> None:
    assert json.loads(block("json")) == TypeAdapter(tuple[Override, ...]).json_schema()
