"""The middle of a written volume, and how it moves along each of its axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from components.report.image_axes.motion import Axis, band_passed, plane_motion
from components.report.image_axes.steps import step_spread
from components.report.run_document import PlaneMotion
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Matrix3, SliceTransform, Transforms
from components.shared.geometry import corner_points, transform_points
from components.shared.grid import SizeXyz
from components.shared.limits import limit
from components.shared.volume.open_level import open_level
from components.shared.volume.tensorstore_retry import check_may_not_pass, finish, reason
from components.shared.volume.volume import Volume, VolumeOutput

_AXES: tuple[Axis, ...] = ("z", "y", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class MiddleLimits:
    """Limits of the part of a volume whose axes are compared."""

    isotropic: float = limit(
        1.2,
        unit="longest side of a voxel over its shortest",
        why="planes along x and y show z as one of their sides, which must be sampled about as finely",
        measured_on="not measured",
        too_small="volumes that were recorded as isotropic, but for a few percent, are told nothing",
        too_large="what moves along one axis is not what moves along another",
    )
    side: int = limit(
        256,
        unit="voxels",
        why="the middle of the volume, a cube of this side at most, stands for it",
        measured_on="a cube of 250 voxels of FlyEM's medulla: 0.016 px from step to step along x, y",
        too_small="the noise of the planes hides what the tissue does",
        too_large="memory, and time for each report",
    )
    least_side: int = limit(
        96,
        unit="voxels",
        why="smaller planes tell little",
        measured_on="planted motions on the sample",
        too_small="noise is told as what the tissue allows",
        too_large="short stacks are told nothing",
    )
    side_step: int = limit(
        16,
        unit="voxels",
        why="the cube is made smaller by so much until all slices cover it",
        measured_on="derived",
        too_small="nothing",
        too_large="a part of what is covered is left out",
    )
    planes: int = limit(
        64,
        unit="planes of each axis",
        why="a root mean square of as many is good to a tenth",
        measured_on="derived",
        too_small="the figures differ from place to place",
        too_large="time for each report: 7 ms a pair of 256 x 256 voxels",
    )


MIDDLE = MiddleLimits()


def motion_of_middle(
    plan: Plan, volume: Volume, transforms: Transforms, limits: MiddleLimits = MIDDLE
) -> tuple[PlaneMotion, ...]:
    """How the middle of a volume moves along z, y and x.

    Empty where that would not compare like with like: at no level is a voxel as deep as wide, the volume is
    too small or too thin, or no cube of it is within all slices that it crosses.

    Args:
        plan: Plan of the run that wrote the volume.
        volume: A volume that is whole.
        transforms: Of its slices; where one shows another's picture, planes along z leave it out.
        limits: What is read of it.

    Raises:
        ValueError: A chunk does not decode.
        TransientError: Storage failed, which says nothing of the chunk.
    """
    found = _finest_isotropic(volume, limits)
    if found is None:
        return ()
    output, level = found
    cube = _covered_cube(plan, transforms, volume.halvings_at_level(level), limits)
    if cube is None:
        return ()
    starts, side = cube
    middle = _read(volume, output, level, starts, side)
    voxel_nm = min(volume.resolution_at_level(level))
    slices_a_plane = 2 ** volume.halvings_at_level(level)[2]
    itself = [slice_.source_z == slice_.z and slice_.action != "blank" for slice_ in transforms.slices]
    first, n_planes = (side - min(side, limits.planes)) // 2, min(side, limits.planes)
    motions = []
    for index, axis in enumerate(_AXES):
        planes = list(np.moveaxis(middle, index, 0)[first : first + n_planes].astype(np.float32))
        of_own = [True] * n_planes
        if axis == "z":
            of_own = _of_own(itself, starts[0] + first, n_planes, slices_a_plane)
        counted = [plane if own else None for plane, own in zip(planes, of_own, strict=True)]
        motion = plane_motion(axis, voxel_nm, counted)
        if motion is None:
            return ()
        every = np.moveaxis(middle, index, 0)
        own = _of_own(itself, starts[0], side, slices_a_plane) if axis == "z" else [True] * side
        spread = step_spread(
            [
                band_passed(plane.astype(np.float32)) if o else None
                for plane, o in zip(every, own, strict=True)
            ]
        )
        motions.append(motion.model_copy(update={"step_spread": spread}))
    return tuple(motions)


def _of_own(itself: Sequence[bool], first: int, n_planes: int, slices_a_plane: int) -> list[bool]:
    """Whether each of some planes along z is made of slices that show themselves."""
    at = ((first + i) * slices_a_plane for i in range(n_planes))
    return [all(itself[z : z + slices_a_plane]) for z in at]


def _finest_isotropic(volume: Volume, limits: MiddleLimits) -> tuple[VolumeOutput, int] | None:
    """The output and its finest level whose voxels are about cubes; lossless where there is one."""
    by_loss = sorted(volume.outputs, key=lambda output: output.encoding == "jpeg")
    levels = sorted({level for output in volume.outputs for level in output.levels})
    for level in levels:
        sides_nm = volume.resolution_at_level(level)
        if max(sides_nm) <= limits.isotropic * min(sides_nm):
            return next((output, level) for output in by_loss if level in output.levels)
    return None


def _covered_cube(
    plan: Plan, transforms: Transforms, halvings_xyz: SizeXyz, limits: MiddleLimits
) -> tuple[list[int], int] | None:
    """First voxel z, y, x of a level and side of the largest cube in the middle that all slices cover."""
    sizes = {entry.z: (entry.width_px, entry.height_px) for entry in plan.slices}
    inner = [_inner_box(slice_.matrix, sizes[z]) for slice_, z in _shown(transforms) if z in sizes]
    if len(inner) < len(transforms.slices):
        return None
    boxes = np.array(inner)
    to_level = 2.0 ** -np.array(halvings_xyz)
    n_planes = len(boxes) >> halvings_xyz[2]
    for side in range(min(limits.side, n_planes), limits.least_side - 1, -limits.side_step):
        first = (n_planes - side) // 2
        crossed = boxes[first << halvings_xyz[2] : (first + side) << halvings_xyz[2]]
        low = np.ceil(crossed[:, 0].max(axis=0) * to_level[:2])
        stop = np.floor(crossed[:, 1].min(axis=0) * to_level[:2]) + 1
        if np.all(stop - low >= side):
            x, y = (int(start) for start in low + (stop - low - side) // 2)
            return [first, y, x], side
    return None


def _shown(transforms: Transforms) -> Iterator[tuple[SliceTransform, int]]:
    """Each place, and the number of the slice whose picture it shows."""
    for slice_ in transforms.slices:
        yield transforms.slices[slice_.source_z - transforms.slices[0].z], slice_.source_z


def _inner_box(matrix: Matrix3, size_xy: tuple[int, int]) -> tuple[list[float], list[float]]:
    """First and last voxel (x, y) of an upright box of the volume within a slice that hardly turns."""
    corners = transform_points(np.array(matrix), corner_points(*size_xy))
    (left, top), (right, top_right), (left_below, bottom), (right_below, bottom_right) = corners
    return (
        [max(left, left_below, 0.0), max(top, top_right, 0.0)],
        [min(right, right_below), min(bottom, bottom_right)],
    )


def _read(
    volume: Volume, output: VolumeOutput, level: int, starts_zyx: list[int], side: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """[z, y, x] a cube of the first channel."""
    array = open_level(volume, output, level, ts.Context())
    if output.n_channels > 1:
        array = array[0]
    z, y, x = (slice(start, start + side) for start in starts_zyx)
    cube = array[z, y, x]
    try:
        read: NDArray[np.uint8] | NDArray[np.uint16] = finish(cube.read(), cube.read)
    except ValueError as error:
        check_may_not_pass(f"cannot read {output.uri}", error)
        raise ValueError(f"the middle of {output.uri} cannot be read: {reason(error)}") from error
    return read
