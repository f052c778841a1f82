"""Writes the blocks of an export, in processes of their own."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from commands.export.exported import blocks_to_do, shown_z_indices
from commands.export.lossless import LosslessSource
from components.pyramid.sources import Source
from components.pyramid.writing import reuse_freed_memory, write_block
from components.shared.cores import available_cores
from components.shared.documents.read_document import read_document
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store
from components.shared.volume.volume import TileArray, Volume
from components.shared.work.export import EXPORT_KEY, Export, export_hash
from components.shared.work.verification import read_written


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


def write_blocks(process: Store, jobs: int) -> None:
    """Write every block that is not done, pass by pass."""
    job = ExportJob.of(process)
    for pyramid_pass in job.volume.passes:
        level = pyramid_pass.base_level
        to_do = blocks_to_do(process, job.export, pyramid_pass)
        n_processes = min(jobs, len(to_do))
        if n_processes <= 1:
            for block in to_do:
                _write_block(process.uri, level, block)
            continue
        # A fork would take over the threads' locks of tensorstore.
        with ProcessPoolExecutor(n_processes, get_context("spawn")) as pool:
            for _ in pool.map(partial(_write_block, process.uri, level, n_processes=n_processes), to_do):
                pass


def _write_block(process_uri: str, level: int, block: int, n_processes: int = 1) -> None:
    """Write a block, with this process's share of the cores."""
    reuse_freed_memory()
    n_threads = max(1, available_cores() // n_processes)
    with ThreadPoolExecutor(n_threads) as pool:
        write_block(ExportJob.of(open_store(process_uri)), level, block, pool, n_threads)
