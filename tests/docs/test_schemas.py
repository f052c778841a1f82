from pathlib import Path

import pytest

from docs.schemas import SCHEMAS, schema_bytes

FOLDER = Path(__file__).parents[2] / "manifests" / "schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_manifest_holds_the_schema(name) -> None:
    """`make manifests` writes it anew."""
    assert (FOLDER / f"{name}.schema.json").read_bytes() == schema_bytes(SCHEMAS[name])


def test_no_other_schema_lies_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}
