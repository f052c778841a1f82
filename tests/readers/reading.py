"""Reads a volume with one program and prints what it sees as JSON: `reading.py PROGRAM PATH POINTS`.

Runs in the environment of `make test-readers`, which has the programs and not fibstack. A point is z, y, x.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Points = list[list[int]]


def _seen(voxels: Any, points: Points, **others: object) -> dict[str, object]:
    return {"shape": list(voxels.shape), "values": [int(voxels[tuple(p)]) for p in points], **others}


def napari(path: str, points: Points) -> dict[str, object]:
    """The layer that napari-ome-zarr gives to napari; no window is opened."""
    import napari.plugins
    import numpy as np
    from napari.components import ViewerModel

    napari.plugins._initialize_plugins()
    (layer,) = ViewerModel().open(path, plugin="napari-ome-zarr")
    units = [f"{unit}" for unit in layer.units]
    voxels = np.asarray(layer.data[0])
    return _seen(voxels, points, voxel_zyx=layer.scale.tolist(), units=units, n_levels=len(layer.data))


def webknossos(path: str, points: Points) -> dict[str, object]:
    """The layer that webknossos makes of it; the size of a voxel is not read from it, but given."""
    import webknossos
    from cluster_tools import get_executor

    with tempfile.TemporaryDirectory() as folder, get_executor("sequential") as executor:
        dataset = webknossos.Dataset.from_images(
            path, Path(folder, "dataset"), voxel_size=(4, 4, 16), compress=False, executor=executor
        )
        (layer,) = dataset.layers.values()
        voxels = layer.get_finest_mag().read()[0].transpose(2, 1, 0)
        return _seen(voxels, points, origin_xyz=list(layer.bounding_box.topleft))


def ngff_zarr(path: str, points: Points) -> dict[str, object]:
    """The image as ngff-zarr reads it, checked by its schemas."""
    import numpy as np
    from ngff_zarr import from_ngff_zarr

    image = from_ngff_zarr(path, validate=True).images[0]
    return _seen(np.asarray(image.data), points, voxel_zyx=[image.scale[axis] for axis in "zyx"])


def schema(path: str, _: Points) -> dict[str, object]:
    """The JSON schemas of the specification, which ngff-zarr brings: strict ones for an image."""
    from ngff_zarr.validate import validate

    attributes = json.loads(Path(path, "zarr.json").read_bytes())["attributes"]
    is_image = "multiscales" in attributes["ome"]
    version = attributes["ome"]["version"]
    validate(attributes, version=version, model="image" if is_image else "scene", strict=is_image)
    return {"version": version}


def scene(path: str, _: Points) -> dict[str, object]:
    """The scene as ngff-zarr reads and checks it: the names of its coordinate systems that are placed."""
    from ngff_zarr import from_ome_zarr

    found = from_ome_zarr(path, kind="scene", validate=True)
    return {"placed": [each.input.name for each in found.coordinateTransformations]}


def ome_zarr_models(path: str, _: Points) -> dict[str, object]:
    """The kind of group that ome-zarr-models takes it for."""
    import zarr
    from ome_zarr_models import open_ome_zarr

    group = open_ome_zarr(zarr.open_group(path, mode="r"))
    return {"kind": type(group).__name__, "version": group.ome_zarr_version}


def yaozarrs(path: str, _: Points) -> dict[str, object]:
    """Validation by yaozarrs, of metadata and arrays."""
    from yaozarrs import validate_zarr_store

    validate_zarr_store(path)
    return {}


PROGRAMS: dict[str, Callable[[str, Points], dict[str, object]]] = {
    program.__name__: program
    for program in (napari, webknossos, ngff_zarr, schema, scene, ome_zarr_models, yaozarrs)
}

if __name__ == "__main__":
    name, path, points = sys.argv[1:]
    found = PROGRAMS[name](path, json.loads(points))
    print(f"\n{json.dumps(found)}")
