"""The documents of an export: plan and transforms of the new volume, and the slices that are left out."""

from __future__ import annotations

from collections.abc import Collection

from components.shared.documents.locations import locations_of
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.errors import ConfigError
from components.shared.grid import PyramidPass
from components.shared.storage.store import Store
from components.shared.volume.volume import TILES_KEY, TileArray
from components.shared.work.export import Export, LeftOut, ShownPart, export_hash
from components.shared.work.left import not_done


def plan_of_export(plan: Plan, output: str, jpeg_quality: int) -> Plan:
    """The plan of a run as it holds for an export of its volume.

    Args:
        plan: the run's.
        output: where the export goes.
        jpeg_quality: its JPEG quality.
    """
    changes = {"output": output, "jpeg_quality": jpeg_quality, "raw_pyramid": False}
    changes |= {"keep_bits": False, "ome_zarr": False}
    config = plan.config.model_copy(update=changes)
    return plan.model_copy(update={"config": config, "locations": locations_of(config)})


def transforms_as_read(transforms: Transforms, array: TileArray) -> Transforms:
    """The transforms of a run as they hold for the array that is exported.

    Raw grey levels keep each slice at its own number, also where `z: correct` evens what is looked at.
    """
    if array.key == TILES_KEY:
        return transforms
    slices = tuple(entry.model_copy(update={"shown_z": None}) for entry in transforms.slices)
    return transforms.model_copy(update={"slices": slices})


def transforms_of_export(transforms: Transforms, export: ShownPart) -> Transforms:
    """The transforms of a run as they hold for an export: into its part of the volume."""
    (x0, x1), (y0, y1), (z0, z1) = export.crop_xyz
    x, y, z = transforms.volume_origin_xyz_px
    first_x, first_y = transforms.first_voxel_xy
    shown_z = {slice_.z: slice_.shown_z for slice_ in export.left_out}
    slices = tuple(_moved(s, x0, y0, shown_z.get(s.z)) for s in transforms.slices[z0:z1])
    return transforms.model_copy(
        update={
            "volume_size_xyz": (x1 - x0, y1 - y0, z1 - z0),
            "volume_origin_xyz_px": (x + x0, y + y0, z + z0),
            "first_voxel_xy": (first_x + x0, first_y + y0),
            "slices": slices,
        }
    )


def _moved(entry: SliceTransform, x0: int, y0: int, shown_z: int | None) -> SliceTransform:
    """A slice in a volume that begins at (x0, y0); `shown_z` is the slice in its place, None for itself."""
    (a, b, x), (c, d, y), last = entry.matrix
    changes: dict[str, object] = {"matrix": ((a, b, x - x0), (c, d, y - y0), last)}
    if shown_z is not None:
        changes |= {"action": "replace", "replaced_from": shown_z, "blended_with": None, "shown_z": None}
    return entry.model_copy(update=changes)


def left_out(transforms: Transforms, unwanted: Collection[int]) -> tuple[LeftOut, ...]:
    """The slices that do not show what they did, each with the nearest good one, the earlier of two.

    A slice in whose place an unwanted one was shown is among them.

    Raises:
        ConfigError: there is no such slice, or none is left to be shown.
    """
    known = {entry.z for entry in transforms.slices}
    unknown = sorted(set(unwanted) - known)
    if unknown:
        raise ConfigError(
            f"--without-slices must name slices from {min(known)} to {max(known)}; got {unknown[0]}. "
            f"Change --without-slices."
        )
    affected = [entry.z for entry in transforms.slices if {entry.z, *entry.others_shown} & set(unwanted)]
    good = [
        entry.z
        for entry in transforms.slices
        if entry.action in ("keep", "invert") and entry.z not in affected and entry.shown_z is None
    ]
    if affected and not good:
        raise ConfigError(
            f"--without-slices must leave a good slice; got {len(unwanted)} slices, and none is left. "
            f"Change --without-slices."
        )
    return tuple(LeftOut(z=z, shown_z=min(good, key=lambda g: (abs(g - z), g))) for z in affected)


def shown_z_indices(export: ShownPart, first_z: int) -> list[int]:
    """The plane of the source that each plane of the export shows.

    Args:
        export: what is shown.
        first_z: number of the source's first slice.
    """
    shown = {slice_.z: slice_.shown_z for slice_ in export.left_out}
    z0, z1 = export.crop_xyz[2]
    return [shown.get(first_z + index, first_z + index) - first_z for index in range(z0, z1)]


def blocks_to_do(process: Store, export: Export, pyramid_pass: PyramidPass) -> list[int]:
    """The blocks of a pass that are not done."""
    level, every = pyramid_pass.base_level, range(pyramid_pass.n_blocks)
    return not_done(process, f"pyramid/{level}", every, lambda block: export_hash(export, level, block))
