"""A small run whose every document and shard is known: what the report reads.

The volume is written by tensorstore, an independent writer, and the records are made of what it wrote.
"""

import io
import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from components.shared.documents.align import AlignRecord, PairRecord, SliceStatistics
from components.shared.documents.plan import Plan, plan_in
from components.shared.documents.preview import PREVIEW_KEY, Gate, Preview, WorstSlice
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.geometry import Matrix, rotation_deg
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum, join_uri
from components.shared.volume.layout import shards_of_block
from components.shared.volume.precomputed import info
from components.shared.volume.volume import Volume, volume_of
from components.shared.work.records import Output, Record, commit, write_output
from components.shared.work.units import (
    block_hash,
    chunk_hash,
    chunks,
    compose_hash,
    preview_hash,
    slab_hashes,
)
from tests.builders import plan_of, transforms_of

SIZE_XYZ = (1100, 70, 20)
"""Two blocks in the first pass, one in the second."""

FinishedRun = tuple[Plan, Transforms, Store]
"""Plan, transforms and process store of a run that has ended but for its report."""


def make_plan(
    output: Path | str,
    n_slices: int = 20,
    size_xy: tuple[int, int] = SIZE_XYZ[:2],
    thumbnail_scale: float = 0.5,
    missing: tuple[int, ...] = (),
    **settings: Any,
) -> Plan:
    given = {"source": "source", "image": "img.%05d.png", "output": str(output), **settings}
    return plan_of(0, n_slices - 1, missing, size_px=size_xy, thumbnail_scale=thumbnail_scale, **given)


def pair_record(
    z: int, neighbour_z: int, accepted: bool = True, reason: str = "", ncc: tuple[float, float] = (0.4, 0.9)
) -> PairRecord:
    return PairRecord(
        z=z,
        neighbour_z=neighbour_z,
        accepted=accepted,
        reason=reason,
        n_matches=100,
        n_inliers=80 if accepted else 3,
        coverage=0.7,
        model="rigid" if accepted else None,
        residuals_px={"rigid": 0.4},
        matrix=np.eye(3).tolist() if accepted else None,
        sigma_px=0.1,
        n_windows=9,
        ncc_before=ncc[0],
        ncc_after=ncc[1] if accepted else ncc[0],
        fallback="",
    )


def slice_statistics(z: int) -> SliceStatistics:
    return SliceStatistics(
        z=z, mean=100, std=30, low=0, high=255, zero_fraction=0, saturated_fraction=0, sharpness=1,
        content_fraction=1, n_features=500,
    )  # fmt: skip


def make_transforms(
    plan: Plan,
    matrices: Sequence[Matrix],
    size_xyz: tuple[int, int, int],
    replaced: dict[int, int] | None = None,
) -> Transforms:
    return transforms_of(
        plan, matrices, size_px=size_xyz[:2], replaced=replaced, edge_weight=0.98, residual_px=0.3
    )


def preview_of(
    failures: Sequence[str] = (), enforced: bool = True, n: int = SIZE_XYZ[2], n_worst: int = 10
) -> Preview:
    known = tuple([0.9] * (n - 1) + [None])
    return Preview(
        thumbnail_scale=0.5,
        first_z=0,
        ncc_next_before=known,
        ncc_next_after=known,
        ncc_second_before=known,
        ncc_second_after=known,
        median_before=0.5,
        median_after=0.9,
        worst=tuple(
            WorstSlice(z=z, ncc_previous=0.1, ncc_next=None, usual_ncc=0.9) for z in range(9, 9 + n_worst)
        ),
        gate=Gate(failures=failures, enforced=enforced),
    )


def write_plan(process: Store, plan: Plan) -> None:
    process.write("plan.json", plan.to_json())


def write_align(
    process: Store,
    plan: Plan,
    thumbnails: Callable[[int], NDArray[np.uint8]],
    refused: Collection[tuple[int, int]] = (),
) -> None:
    """Records of all chunks; `refused` are pairs (z, neighbour_z) that had too few inliers."""
    for chunk in chunks(plan):
        zs = [s.z for s in plan.slices if s.z in chunk]
        pairs = [
            pair_record(z, n, (z, n) not in refused, "few_inliers" if (z, n) in refused else "")
            for z in zs
            for n in range(z + 1, min(z + 5, plan.config.maxz + 1))
        ]
        record = AlignRecord(slices=[slice_statistics(z) for z in zs], pairs=pairs)
        outputs = [write_output(process, f"align/{chunk}.json", record.to_json())]
        archive = io.BytesIO()
        np.savez_compressed(archive, **{f"z{z}": thumbnails(z) for z in zs})
        outputs.append(write_output(process, f"align/{chunk}.npz", archive.getvalue()))
        input_hash, unit = chunk_hash(plan, chunk), str(chunk)
        commit(process, Record(step="align", unit=unit, input_hash=input_hash, outputs=tuple(outputs)))


def slice_lines(transforms: Transforms) -> Iterator[str]:
    for previous, s in zip([None, *transforms.slices], transforms.slices, strict=False):
        m = np.array(s.matrix)
        values = s.model_dump()
        values |= {"dx_px": m[0, 2], "dy_px": m[1, 2], "rotation_deg": rotation_deg(m), "scale_ppm": 0.0}
        values |= {"shear_ppm": 0.0, "step_px": 1.5 if previous else None}
        if previous:
            values |= {"ncc_before": 0.4 + 0.05 * math.sin(s.z), "ncc_after": 0.9 + 0.01 * math.sin(s.z)}
        yield json.dumps(values)


def write_compose(process: Store, transforms: Transforms) -> None:
    """The documents of `compose`; their record too where every chunk of the plan is matched."""
    outputs = (
        write_output(process, "transforms.json", transforms.to_json()),
        write_output(process, "slices.jsonl", "\n".join(slice_lines(transforms)).encode()),
    )
    solved = solved_hash(process)
    if solved:
        commit(process, Record(step="compose", unit="transforms", input_hash=solved, outputs=outputs))


def write_preview(process: Store, preview: Preview) -> None:
    """The check on thumbnails of the transforms that lie there, and its record."""
    plan, transforms = (
        plan_in(process),
        read_document(process, TRANSFORMS_KEY, Transforms),
    )
    output = write_output(process, PREVIEW_KEY, preview.to_json())
    input_hash = preview_hash(solved_hash(process), plan, transforms)
    commit(process, Record(step="compose", unit="preview", input_hash=input_hash, outputs=(output,)))


def solved_hash(process: Store) -> str:
    """Input hash of the transforms of the plan that lies there; empty where a chunk is not matched."""
    plan = plan_in(process)
    keys = [f"align/{chunk}.json" for chunk in chunks(plan)]
    if not all(process.stat(key) for key in keys):
        return ""
    return compose_hash(plan, [process.read(key) for key in keys])


def write_volume(
    plan: Plan, transforms: Transforms, process: Store, voxels: NDArray[np.uint8] | None = None
) -> Volume:
    """Every output with its shards and records, without `info`. `voxels` is [x, y, z]; levels are means."""
    volume = volume_of(plan, transforms)
    if voxels is None:
        voxels = np.random.default_rng(0).integers(1, 255, volume.size_xyz, dtype=np.uint8)
    levels = [voxels]
    for level in range(1, volume.passes[-1].levels.stop):
        finer, coarser = volume.halvings_at_level(level - 1), volume.halvings_at_level(level)
        factors = [2 ** (b - a) for a, b in zip(finer, coarser, strict=True)]
        levels.append(ts.downsample(ts.array(levels[-1]), factors, "mean").read().result())
    for output in volume.outputs:
        store = open_store(output.uri)
        store.write("info", json.dumps(info(volume, output)).encode())
        for index, level in enumerate(output.levels):
            spec = {"driver": "neuroglancer_precomputed", "kvstore": store.kvstore(""), "scale_index": index}
            array = ts.open(spec).result()
            with ts.Transaction() as transaction:
                array.with_transaction(transaction)[...] = levels[level][..., None]
        store.delete("info")
    seal_blocks(plan, transforms, process)
    return volume


def seal_blocks(plan: Plan, transforms: Transforms, process: Store) -> None:
    volume = volume_of(plan, transforms)
    hashes = slab_hashes(plan, transforms, volume)
    for pyramid_pass in volume.passes:
        level = pyramid_pass.base_level
        for block in range(pyramid_pass.n_blocks):
            outputs = [write_output(process, f"pyramid/exact/{level}-{block}.raw", b"exact")]
            for output in volume.outputs:
                store = open_store(output.uri)
                for key in shards_of_block(volume, output, level, block):
                    if store.stat(key):
                        data = store.read(key)
                        outputs.append(
                            Output(uri=store.uri, key=key, size_bytes=len(data), crc32c=checksum(data))
                        )
            record = Record(
                step=f"pyramid/{level}",
                unit=str(block),
                input_hash=block_hash(plan, volume, level, block, hashes),
                outputs=tuple(outputs),
            )
            commit(process, record)


def write_tiles(plan: Plan, process: Store, n_slabs: int = 2) -> Store:
    """A tile array with one shard for each slab; returns its store."""
    array = open_store(join_uri(plan.locations.tmp_uri, "aligned"))
    for slab in range(n_slabs):
        outputs = (
            write_output(array, "zarr.json", b"{}"),
            write_output(array, f"c/{slab}/0/0", b"tiles"),
        )
        commit(process, Record(step="tile", unit=str(slab), input_hash="any", outputs=outputs))
    return array


def finished_run(folder: Path, **settings: Any) -> FinishedRun:
    """A whole run up to the report. Returns the plan, the transforms and the process store."""
    output = folder / "out"
    plan = make_plan(output, **settings)
    process = open_store(join_uri(str(output), "process"))
    transforms = make_transforms(plan, [np.eye(3)] * SIZE_XYZ[2], SIZE_XYZ, replaced={7: 6})
    write_plan(process, plan)
    write_align(process, plan, lambda z: np.full((35, 550), 10 * z, np.uint8), refused={(3, 4), (3, 5)})
    write_compose(process, transforms)
    write_preview(process, preview_of(n_worst=0))
    write_volume(plan, transforms, process)
    write_tiles(plan, process)
    return plan, transforms, process
