"""Writes the volume of an export: its documents, its blocks, and `info` when all of them are there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from commands.dry_run import Changes
from commands.export.exported import blocks_to_do, shown_z_indices
from commands.export.lossless import LosslessSource
from commands.export.processes import in_processes
from commands.export.source import check_unchanged
from components.pyramid.sources import Source
from components.pyramid.writing import reuse_freed_memory, write_block
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import TransientError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store, join_uri
from components.shared.volume.layout import exact_keys, metadata_files, shards_of_block
from components.shared.volume.volume import TileArray, Volume
from components.shared.work.export import EXPORT_KEY, Export, as_begun, export_hash, exported_volume
from components.shared.work.publication import publish
from components.shared.work.records import record_key
from components.shared.work.verification import read_written, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """An export that is being written, block by block."""

    process: Store
    volume: Volume
    stores: dict[str, Store]
    export: Export
    shown_z_indices: list[int]
    """The plane of the source that each plane of the export shows."""

    @classmethod
    def of(cls, process: Store) -> ExportJob:
        """The export whose documents these are."""
        export = read_document(process, EXPORT_KEY, Export)
        written = read_written(process)
        first_z = written.transforms.volume_origin_xyz_px[2] - export.crop_xyz[2][0]
        return cls(
            process=process,
            volume=written.volume,
            stores={output.uri: open_store(output.uri) for output in written.volume.outputs},
            export=export,
            shown_z_indices=shown_z_indices(export, first_z),
        )

    def block_hash(self, level: int, block: int) -> str:
        """Input hash of a block of the pass that starts at `level`."""
        return export_hash(self.export, level, block)

    def finest(self, tiles: TileArray, block: int, n_threads: int) -> Source:  # noqa: ARG002 - one for all
        """The lossless volume of the source, as the export shows it."""
        store = open_store(part_uri(self.export.source, "chunk"))
        return LosslessSource(store, self.export, self.shown_z_indices, n_threads)


def write_volume(process: Store, export: Export, plan: Plan, transforms: Transforms, jobs: int) -> None:
    """Write the documents of an export, every block that is not done, pass by pass, and `info`.

    Args:
        process: Store of the documents.
        export: What is shown of which volume.
        plan: The plan of the new volume.
        transforms: Its transforms.
        jobs: Most processes at a time.

    Raises:
        TransientError: the volume is not whole afterwards, or the source has changed.
    """
    process.write(EXPORT_KEY, export.to_json())
    process.write(PLAN_KEY, plan.to_json())
    process.write(TRANSFORMS_KEY, transforms.to_json())
    for pyramid_pass in ExportJob.of(process).volume.passes:
        work = partial(_write_block, process.uri, pyramid_pass.base_level)
        for _ in in_processes(work, blocks_to_do(process, export, pyramid_pass), jobs):
            pass
    check_unchanged(export, process)
    _publish(process, plan.config.output)


def _write_block(process_uri: str, level: int, block: int, n_threads: int) -> None:
    """Write a block."""
    reuse_freed_memory()
    with ThreadPoolExecutor(n_threads) as pool:
        write_block(ExportJob.of(open_store(process_uri)), level, block, pool, n_threads)


def _publish(process: Store, new_output: str) -> None:
    """Write `info`, when every shard is there and opens."""
    written = read_written(process)
    problems = verify(written.volume, written.blocks).problems
    if problems:
        raise TransientError(
            f"the export must be complete; {problems[0].sentence}. Give the same command again, or remove "
            f"{new_output} first."
        )
    publish(written.volume)


def claimed(process: Store, export: Export, new_output: str) -> Export:
    """The export, which goes on where its source was moved since it began.

    Raises:
        UserError: the output holds another volume.
    """
    others = process.stat(PLAN_KEY) is not None or next(process.list("records/"), None) is not None
    if process.stat(EXPORT_KEY) is not None:
        begun = None
        with suppress(UserError):  # it is damaged, or of another version
            begun = as_begun(read_document(process, EXPORT_KEY, Export))
            if begun.source != export.source:
                export = export.model_copy(update={"first_source": begun.source})
        others = begun is None or as_begun(export).to_json() != begun.to_json()
    if others:
        raise UserError(
            f"an export must go where nothing is, or where the same export was stopped; got {new_output}, "
            f"which holds another volume. Choose another NEW_OUTPUT."
        )
    return export


def changes_of(process: Store, export: Export, plan: Plan, transforms: Transforms) -> Changes:
    """The objects that an export writes: documents, what blocks that are not done write, and metadata."""
    volume = exported_volume(export, plan, transforms)
    in_process = [EXPORT_KEY, PLAN_KEY, TRANSFORMS_KEY]
    written = []
    for pyramid_pass in volume.passes:
        level = pyramid_pass.base_level
        for block in blocks_to_do(process, export, pyramid_pass):
            in_process += [
                record_key(f"pyramid/{level}", str(block)),
                *exact_keys(volume, pyramid_pass, block),
            ]
            for output in volume.outputs:
                keys = shards_of_block(volume, output, level, block)
                written += [join_uri(output.uri, key) for key in keys]
    for output in volume.outputs:
        written += [join_uri(output.uri, key) for key in metadata_files(volume, output)]
    written += [join_uri(process.uri, key) for key in in_process]
    roots = (process.uri, *(output.uri for output in volume.outputs))
    there = {join_uri(uri, found.key) for uri in roots for found in open_store(uri).list()}
    return Changes.of(written, (), there)
