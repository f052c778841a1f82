"""Versions of the steps that wrote a volume.

A volume does not name the version of the code that wrote it. Its records hold input hashes, which depend on
the result version of each step; so the version is found by computing the hashes with older versions until
they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.registry import open_store
from components.shared.storage.store import ObjectMissingError, Store
from components.shared.work.completeness import Block
from components.shared.work.export import EXPORT_KEY, Export, export_hash
from components.shared.work.records import read_record
from components.shared.work.run import Run
from components.shared.work.units import chunk_hash, chunks, compose_hash
from components.shared.work.verification import Written


def blocks_as_written(written: Written) -> list[Block]:
    """The blocks of a volume, with the hashes of the versions that wrote it.

    A volume of an earlier release is whole, although a run of this release would make it anew.
    """
    process = open_store(written.plan.locations.process_uri)
    versions = {**RESULT_VERSIONS, **versions_of(written)}
    expected: Callable[[int, int], str]
    if process.stat(EXPORT_KEY) is not None:
        export = Export.model_validate_json(process.read(EXPORT_KEY))
        expected = partial(export_hash, export, versions=versions)
    else:
        expected = Run.of(process, written.plan, written.transforms, versions).block_hash
    return [replace(block, expected_hash=expected(block.level, block.index)) for block in written.blocks]


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
