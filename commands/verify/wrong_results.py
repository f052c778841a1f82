"""Results of fibstack that are known to be wrong, and which of them concern a volume.

A volume does not name the version of the code that wrote it. Its records hold input hashes, which depend on
the result version of each step; so the version is found by computing the hashes with older versions until
they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import product
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.registry import open_store
from components.shared.storage.store import ObjectMissingError, Store
from components.shared.work.export import EXPORT_KEY, Export, export_hash
from components.shared.work.records import read_record
from components.shared.work.run import Run
from components.shared.work.units import chunk_hash, chunks, compose_hash
from components.shared.work.verification import Written

LISTED = Path(__file__).with_name("wrong_results.yaml")
"""The list of wrong results, which is part of this package."""


class WrongResult(BaseModel):
    """A result that fibstack has written and that is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Name of its row in docs/correctness.md."""
    made_by: tuple[str, ...] = Field(min_length=1)
    """Steps and commands that wrote it."""
    wrong: str
    affected: str
    """Stacks and outputs that have it."""
    notice: str
    """Sign by which a user can tell that a volume has it."""
    mend: str
    """Way to the right result."""
    right_from: dict[str, int] = {}
    """Result version by step from which on the result is right; empty where no version tells."""
    mended: bool = False
    """True where it is mended although no version tells: the same plan still makes the same bytes."""

    @property
    def is_mended(self) -> bool:
        """True if this version of fibstack makes the right result."""
        return self.mended or bool(self.right_from)

    def concerns(self, versions: Mapping[str, int]) -> bool:
        """True if a volume that these versions of the steps wrote can have it."""
        return any(versions.get(step, right) < right for step, right in self.right_from.items())


@cache
def wrong_results(path: Path = LISTED) -> tuple[WrongResult, ...]:
    """All known wrong results."""
    return TypeAdapter(tuple[WrongResult, ...]).validate_python(yaml.safe_load(path.read_text()))


def concerning(written: Written) -> Iterator[str]:
    """A sentence for each mended wrong result that a volume can have, since an older version wrote it."""
    mended = [result for result in wrong_results() if result.right_from]
    if not mended:
        return
    versions = versions_of(written)
    for result in mended:
        if result.concerns(versions):
            yield (
                f"this volume was written before a result was mended ('{result.id}' in docs/correctness.md). "
                f"{result.wrong} It concerns {result.affected}. {result.mend}"
            )


def versions_of(written: Written) -> dict[str, int]:
    """The oldest result version of each step that wrote a part of a volume.

    A step of which no record tells its version is left out.
    """
    process = open_store(written.plan.locations.process_uri)
    if process.stat(EXPORT_KEY) is not None:
        return _versions_of_export(written, Export.model_validate_json(process.read(EXPORT_KEY)))
    return (
        _align_version(written, process)
        | _compose_version(written, process)
        | _block_versions(written, process)
    )


def _older_first(step: str) -> range:
    return range(1, RESULT_VERSIONS[step] + 1)


def _align_version(written: Written, process: Store) -> dict[str, int]:
    plan = written.plan
    recorded = {chunk: read_record(process, "align", str(chunk)) for chunk in chunks(plan)}
    for version in _older_first("align"):
        expected = partial(chunk_hash, plan, versions={**RESULT_VERSIONS, "align": version})
        if any(record and record.input_hash == expected(chunk) for chunk, record in recorded.items()):
            return {"align": version}
    return {}


def _compose_version(written: Written, process: Store) -> dict[str, int]:
    record = read_record(process, "compose", "transforms")
    if record is None:
        return {}
    try:
        evidence = [process.read(f"align/{chunk}.json") for chunk in chunks(written.plan)]
    except ObjectMissingError:
        return {}
    for version in _older_first("compose"):
        if compose_hash(written.plan, evidence, {"compose": version}) == record.input_hash:
            return {"compose": version}
    return {}


def _block_versions(written: Written, process: Store) -> dict[str, int]:
    """The oldest versions of tile and pyramid whose hash a block has."""
    found: dict[str, int] = {}
    for tile, pyramid in product(_older_first("tile"), _older_first("pyramid")):
        versions = {**RESULT_VERSIONS, "tile": tile, "pyramid": pyramid}
        run = Run.of(process, written.plan, written.transforms, versions)
        if any(
            block.record and block.record.input_hash == run.block_hash(block.level, block.index)
            for block in written.blocks
        ):
            for step, version in (("tile", tile), ("pyramid", pyramid)):
                found[step] = min(version, found.get(step, version))
    return found


def _versions_of_export(written: Written, export: Export) -> dict[str, int]:
    for version in _older_first("pyramid"):
        if any(
            block.record
            and block.record.input_hash == export_hash(export, block.level, block.index, {"pyramid": version})
            for block in written.blocks
        ):
            return {"pyramid": version}
    return {}
