"""The JSON Schemas of the documents, for editors and for programs that read a run's records.

`python -m docs.schemas FOLDER` writes them.
"""

from __future__ import annotations

import json
import sys

from pydantic import BaseModel

from components.shared.documents.align import AlignRecord
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.documents.slices import SliceRow
from components.shared.documents.transforms import Transforms
from components.shared.storage.registry import open_store
from components.shared.work.records import Record

SCHEMAS: dict[str, type[BaseModel]] = {
    "run-config": RunConfig,
    "plan": Plan,
    "align": AlignRecord,
    "transforms": Transforms,
    "slices-line": SliceRow,
    "record": Record,
}


def schema_bytes(model: type[BaseModel]) -> bytes:
    """The JSON Schema of a document, the same bytes every time."""
    return json.dumps(model.model_json_schema(), indent=1, sort_keys=True).encode() + b"\n"


def main(folder: str) -> None:
    """Write every schema into a folder."""
    store = open_store(folder)
    for name, model in SCHEMAS.items():
        store.write(f"{name}.schema.json", schema_bytes(model))


if __name__ == "__main__":
    main(sys.argv[1])
