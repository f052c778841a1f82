"""Outputs as earlier versions have left them: records and notes hold URIs of where they were written."""

import json
from typing import cast

from components.shared.documents.locations import locations_in
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.storage.run_buckets import Part, part_uri
from components.shared.storage.store import Store, checksum, join_uri
from components.shared.work.places import VOLUMES
from components.shared.work.records import record_at
from components.shared.work.superseded import SUPERSEDED_KEY, Superseded


def name_places_as_before(process: Store, output: str) -> None:
    """Change an output to what an earlier version would have written to `output`."""
    for stat in list(process.list("records/")):
        assert record_at(process, stat.key) is not None
        record = json.loads(process.read(stat.key)[:-10])
        record.pop("read", None)
        for named in record["outputs"]:
            assert named["uri"] in (*VOLUMES, "process")
            named["uri"] = _uri(output, named["uri"])
        body = json.dumps(record, separators=(",", ":")).encode()
        process.write(stat.key, body + b"\n" + checksum(body).encode() + b"\n")
    if process.stat(SUPERSEDED_KEY) is not None:
        noted = read_document(process, SUPERSEDED_KEY, Superseded)
        files = {_uri(output, name): keys for name, keys in noted.files.items()}
        process.write(SUPERSEDED_KEY, noted.model_copy(update={"files": files}).to_json())
    plan = read_document(process, PLAN_KEY, Plan)
    config = plan.config.model_copy(update={"output": output})
    locations = locations_in(output, plan.locations.source_uri)
    process.write(PLAN_KEY, plan.model_copy(update={"config": config, "locations": locations}).to_json())


def _uri(output: str, name: str) -> str:
    part, *rest = name.split("/")
    return join_uri(part_uri(output, cast("Part", part)), *rest)
