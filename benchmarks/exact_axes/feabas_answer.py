"""FEABAS on a folder of slices: a program for a Python that has it, of an environment of its own.

FEABAS matches blocks of two pictures on a mesh and relaxes the meshes of all sections together. Slices are
matched with the next and the next but one, as in its own configuration, by its own settings; then it solves
for affine and elastic meshes, whose links are weighted again by what is left of them.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

REACH = 2
"""Slices: FEABAS' own default distance of the sections that it compares."""
MESH_PX = 75.0
"""Side of a mesh's cells; FEABAS' own choice for blocks of pictures of this size."""
RESIDUE_PX = 5.0
"""Residue above which FEABAS' own matching lowers the weight of a link."""
POINTS_A_SIDE = 24
"""Points of the answer along each axis."""


def main(stack: Path, answer: Path) -> None:
    """Align the slices of the folder STACK and write where their points lie to ANSWER."""
    cv2.setNumThreads(1)
    paths = {int(path.stem.split(".")[-1]): path for path in sorted(stack.glob("img.*.png"))}
    os.chdir(_configured())
    const, mesh, matcher, optimizer = (
        importlib.import_module(f"feabas.{name}") for name in ("constant", "mesh", "matcher", "optimizer")
    )
    started = time.process_time()
    pictures: list[Any] = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths.values()]
    meshes = [
        mesh.Mesh.from_bbox(
            (0, 0, picture.shape[1], picture.shape[0]), cartesian=True, mesh_size=MESH_PX, uid=float(index)
        )
        for index, picture in enumerate(pictures)
    ]
    solver = optimizer.SLM(meshes, stiffness_lambda=0.5)
    zs, n_pairs, refused = list(paths), 0, []
    for first in range(len(zs)):
        for second in range(first + 1, min(first + REACH + 1, len(zs))):
            n_pairs += 1
            points, others, weight, *_ = matcher.stitching_matcher(pictures[first], pictures[second])
            if points is None:
                refused.append((zs[first], zs[second]))
                continue
            solver.add_link_from_coordinates(
                float(first),
                float(second),
                points,
                others,
                gear=(const.MESH_GEAR_INITIAL, const.MESH_GEAR_INITIAL),
                weight=weight,
                check_duplicates=False,
            )
    meshes[0].lock()
    solver.optimize_affine_cascade(target_gear=const.MESH_GEAR_FIXED)
    solver.anneal(gear=(const.MESH_GEAR_FIXED, const.MESH_GEAR_MOVING), mode=const.ANNEAL_COPY_EXACT)
    solver.optimize_elastic(target_gear=const.MESH_GEAR_MOVING)
    solver.set_link_residue_huber(RESIDUE_PX)
    if solver.adjust_link_weight_by_residue(relax_first=True)[0]:
        solver.optimize_elastic(target_gear=const.MESH_GEAR_MOVING)
    joined = {z for pair in _pairs(len(zs)) if (zs[pair[0]], zs[pair[1]]) not in refused for z in pair}
    found = {
        "matrices": {z: np.eye(3).tolist() for z in zs},
        "grids": {z: _grid(meshes[index], pictures[index].shape, const) for index, z in enumerate(zs)},
        "n_pairs": n_pairs,
        "refused": refused,
        "unplaced": [z for index, z in enumerate(zs) if index not in joined],
        "cpu_s": time.process_time() - started,
        "peak_mb": 0,
    }
    answer.write_text(json.dumps(found))


def _pairs(n_slices: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n_slices) for j in range(i + 1, min(i + REACH + 1, n_slices))]


def _configured() -> str:
    """A folder with the settings without which FEABAS does not start."""
    folder = tempfile.mkdtemp(prefix="feabas-")
    settings = Path(folder, "configs", "general_configs.yaml")
    settings.parent.mkdir()
    settings.write_text(f"parallel_framework: process\ncpu_budget: 1\nworking_directory: {folder}\n")
    return folder


def _grid(mesh: Any, shape: tuple[int, ...], const: Any) -> dict[str, Any]:  # noqa: ANN401 # has no types
    """Points of a slice, and where its mesh has moved them."""
    height, width = shape
    xs, ys = np.linspace(0, width - 1, POINTS_A_SIDE), np.linspace(0, height - 1, POINTS_A_SIDE)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    triangles, weights = mesh.cart2bary(points, const.MESH_GEAR_INITIAL)
    moved = mesh.bary2cart(triangles, weights, const.MESH_GEAR_MOVING)
    return {
        "first_xy_px": (0, 0),
        "step_xy_px": (float(xs[1]), float(ys[1])),
        "n_xy": (POINTS_A_SIDE, POINTS_A_SIDE),
        "volume_xy_px": moved.tolist(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
