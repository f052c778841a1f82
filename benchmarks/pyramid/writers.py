"""Who writes the pyramid: fibstack's worker, and other libraries in the way that their documentation shows.

Each reads the same tiles and writes the same levels, shards and encodings, unless it cannot.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.pyramid.program import run
from benchmarks.pyramid.stack import Stack, Voxels
from components.shared.volume import precomputed
from components.shared.volume.volume import Volume, VolumeOutput

Writer = Callable[[Stack, int], None]
"""From a stack and a number of threads to volumes below `stack.output`."""
JPEG, RAW, CHUNK = "neuroglancer/jpeg", "neuroglancer/raw", "chunk"


def output_named(volume: Volume, name: str) -> VolumeOutput:
    """The output that lies in a folder of this name."""
    return next(output for output in volume.outputs if output.uri.endswith(name))


def _fibstack(*names: str) -> Writer:
    """The program `fibstack-pyramid`, held to some of its outputs."""

    def write(stack: Stack, n_threads: int) -> None:  # noqa: ARG001 - it takes the cores that it may use

        whole = stack.volume
        outputs = tuple(output_named(whole, name) for name in names)
        held = dataclasses.replace(whole, outputs=outputs)
        # No flag does that: chunk/ is always written.
        with mock.patch("components.shared.work.run.volume_of", return_value=held):
            run("pyramid", "--process-uri", stack.process, "--level", 0, "--blocks", "0-0")

    return write


def _tensorstore(name: str) -> Writer:
    """The sharded writer of tensorstore: one transaction a shard, levels by fibstack's numpy halving."""

    def write(stack: Stack, n_threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        import tensorstore as ts

        from components.pyramid.downsample import halve

        volume = stack.volume
        output = output_named(volume, name)
        write_info(volume, output)
        voxels: Voxels = stack.open_tiles(n_threads).read().result()
        context = ts.Context({"data_copy_concurrency": {"limit": n_threads}})
        with ThreadPoolExecutor(n_threads) as pool:
            for index, level in enumerate(output.levels):
                spec = {
                    "driver": "neuroglancer_precomputed",
                    "kvstore": {"driver": "file", "path": f"{output.uri}/"},
                    "scale_index": index,
                }
                array = ts.open(spec, open=True, context=context).result()
                for box in _shard_boxes(volume, output, level):
                    with ts.Transaction() as transaction:
                        x, y, z = box
                        array.with_transaction(transaction)[x, y, z, 0].write(voxels[z, y, x].T).result()
                voxels = halve(voxels, pool)

    return write


def _cloud_volume(name: str) -> Writer:
    """cloud-volume's `make_shard`, levels by tinybrain."""

    def write(stack: Stack, n_threads: int) -> None:
        import tinybrain
        from cloudvolume import Bbox, CloudVolume

        volume = stack.volume
        output = output_named(volume, name)
        write_info(volume, output)
        level_0 = np.asfortranarray(stack.open_tiles(n_threads).read().result().T)[..., np.newaxis]
        coarser = tinybrain.downsample_with_averaging(level_0, (2, 2, 2), num_mips=len(output.levels) - 1)
        for index, voxels in enumerate([level_0, *coarser]):
            cloud = CloudVolume(f"file://{output.uri}", mip=index, progress=False, compress=False)
            for box in _shard_boxes(volume, output, output.levels[index]):
                bounds = Bbox([side.start for side in box], [side.stop for side in box])
                part = voxels.reshape((*voxels.shape[:3], 1))[box]
                key, data = cloud.image.make_shard(part, bounds, index)
                folder = Path(output.uri, cloud.key)
                folder.mkdir(exist_ok=True)
                (folder / key).write_bytes(data)

    return write


def _igneous(stack: Stack, n_threads: int) -> None:  # noqa: ARG001 - its tasks run one after another
    """Transfer of a raw volume to JPEG shards by igneous, then sharded downsampling of what it wrote."""
    from igneous.task_creation import create_image_shard_downsample_tasks, create_image_shard_transfer_tasks

    output = output_named(stack.volume, JPEG)
    source, target = f"file://{stack.folder / 'unsharded'}", f"file://{output.uri}"
    quality = {"encoding": "jpeg", "encoding_level": output.jpeg_quality}
    for task in create_image_shard_transfer_tasks(source, target, chunk_size=(64, 64, 64), **quality):
        task()
    n_coarser = len(output.levels) - 1
    for task in create_image_shard_downsample_tasks(target, factor=(2, 2, 2), num_mips=n_coarser, **quality):
        task()
    _drop_stale_quality(Path(output.uri, "info"))


def _drop_stale_quality(path: Path) -> None:
    """Mend what igneous leaves: a JPEG quality at the coarsest level, which is PNG."""
    info = json.loads(path.read_text())
    for scale in info["scales"]:
        if scale["encoding"] != "jpeg":
            scale.pop("jpeg_quality", None)
    path.write_text(json.dumps(info))


def _shard_boxes(volume: Volume, output: VolumeOutput, level: int) -> list[tuple[slice, slice, slice]]:
    """The shards of a level, x, y, z, as `info` cuts them: cubes in a cube of texture."""
    side = volume.size_at_level(level)[0]
    shard = min(side, output.shard_side >> level if output.encoding == "jpeg" else output.shard_side)
    x, y, z = [[slice(start, start + shard) for start in range(0, side, shard)]] * 3
    return list(product(x, y, z))


def write_info(volume: Volume, output: VolumeOutput) -> None:
    """An empty volume."""
    folder = Path(output.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps(precomputed.info(volume, output)))


def write_unsharded(stack: Stack) -> None:
    """What igneous starts from: level 0, raw, in files of 128^3 voxels."""
    import tensorstore as ts

    voxels = np.load(stack.levels[0], mmap_mode="r")
    scale = {"resolution": [8, 8, 8], "encoding": "raw", "chunk_size": [128] * 3, "size": voxels.shape[::-1]}
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{stack.folder / 'unsharded'}/"},
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": scale,
    }
    ts.open(spec, create=True).result()[..., 0].write(voxels.T).result()


def clear(stack: Stack) -> None:
    """Remove what a writer has written, and the records that say so."""
    for name in ("neuroglancer", "chunk", "process/records/pyramid", "process/pyramid"):
        shutil.rmtree(stack.output / name, ignore_errors=True)


WRITERS: dict[str, tuple[tuple[str, ...], Writer]] = {
    "fibstack, JPEG": ((JPEG,), _fibstack(JPEG)),
    "tensorstore, JPEG": ((JPEG,), _tensorstore(JPEG)),
    "cloud-volume, JPEG": ((JPEG,), _cloud_volume(JPEG)),
    "igneous, JPEG": ((JPEG,), _igneous),
    "fibstack, lossless": ((RAW,), _fibstack(RAW)),
    "tensorstore, lossless": ((RAW,), _tensorstore(RAW)),
    "cloud-volume, lossless": ((RAW,), _cloud_volume(RAW)),
    "fibstack, JPEG + chunk/": ((JPEG, CHUNK), _fibstack(JPEG, CHUNK)),
    "fibstack, JPEG + chunk/ + raw": ((JPEG, CHUNK, RAW), _fibstack(JPEG, CHUNK, RAW)),
}
"""The volumes that each writes, and how; a peer's row is held against fibstack's of the same volumes."""
MODULES = {
    "fibstack": ("components.pyramid.main",),
    "tensorstore": ("tensorstore", "components.pyramid.downsample"),
    "cloud-volume": ("cloudvolume", "tinybrain"),
    "igneous": ("igneous.task_creation",),
}
"""What each imports, before the clock runs."""
