"""Open a level of a written volume through tensorstore, an independent reader of the formats."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorstore as ts

from components.shared.storage.registry import open_store
from components.shared.volume.layout import level_metadata, scale_at
from components.shared.volume.tensorstore_retry import finish
from components.shared.volume.volume import Volume, VolumeOutput


def open_level(volume: Volume, output: VolumeOutput, level: int, context: ts.Context) -> Any:  # noqa: ANN401
    """The voxels of a level as a tensorstore array, with the metadata that it is or will be published with.

    What lies there as metadata is not looked at: a volume can be read before it is published.

    Args:
        volume: the volume.
        output: one of its outputs.
        level: one of the output's levels.
        context: used for this output alone; it holds the metadata.

    Returns:
        `[z, y, x]`, of several channels `[channel, z, y, x]`; every axis starts at 0.

    Raises:
        ValueError: the metadata cannot be opened.
    """
    memory = ts.KvStore.open({"driver": "memory"}, context=context).result()
    key, content = level_metadata(volume, output, level)
    memory[key] = content
    layers: list[dict[str, Any]] = [
        {"base": open_store(output.uri).kvstore("")},
        {"exact": key, "base": {"driver": "memory", "path": key}},
    ]
    kvstore = {"driver": "kvstack", "layers": layers}
    scale_key = scale_at(volume, output, level).key
    spec: dict[str, Any]
    if output.format == "ome-zarr":
        spec = {"driver": "zarr3", "kvstore": {**kvstore, "path": f"{scale_key}/"}}
    else:
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": kvstore,
            "scale_metadata": {"key": scale_key},
        }
    opening = partial(ts.open, spec, context=context, open=True, read=True)
    array = finish(opening(), opening)
    if output.format == "precomputed":
        array = array[..., 0].T if output.n_channels == 1 else array.T
    return array[ts.d[:].translate_to[0]]
