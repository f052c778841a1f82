"""The summary says where a slice lies in files that cannot hold its number, and nothing where they do."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from components.report.words.summary import numbering_sentence
from tests.builders import plan_of, transforms_of


@pytest.mark.parametrize(
    ("first_z", "settings", "said"),
    [
        (0, {}, ""),
        (16, {}, ""),
        (17, {}, "In the files of the volume slice n lies at z = n - 17. 'fibstack view' shows n."),
        (17, {"output_level": 1}, "In the files of the volume slice n lies at z = (n - 17) // 2."),
    ],
)
def test_it_is_said_where_the_files_count_otherwise(
    first_z: int, settings: dict[str, Any], said: str
) -> None:
    plan = plan_of(first_z, first_z + 5, size_px=(300, 200), **settings)
    evidence = SimpleNamespace(plan=plan, transforms=transforms_of(plan))
    found = numbering_sentence(cast("Any", evidence))
    assert found.startswith(said)
    assert bool(found) == bool(said)
