"""Plans and transforms to try the arithmetic of a run on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from components.shared.documents.config import RunConfig
from components.shared.documents.locations import locations_of
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.transforms import SliceTransform, Transforms

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def plan_of(minz: int, maxz: int, missing: Iterable[int] = (), chunk_length: int = 8, **config: Any) -> Plan:
    """A plan of 100 x 80 px slices."""
    absent = sorted(set(missing))
    given: dict[str, Any] = {"source": "in", "image": "%d.png", "output": "out", **config}
    settings = RunConfig(minz=minz, maxz=maxz, **given)
    present = [z for z in range(minz, maxz + 1) if z not in absent]
    return Plan(
        config=settings,
        locations=locations_of(settings),
        pixel_type="uint8",
        slices=tuple(
            SourceSlice(z=z, key=f"{z}.png", size_bytes=10, width_px=100, height_px=80) for z in present
        ),
        missing_z=tuple(absent),
        match_scale=1.0,
        thumbnail_scale=0.5,
        chunk_length=chunk_length,
        fan=200,
    )


def transforms_of(
    plan: Plan, width_px: int = 100, height_px: int = 80, replaced: dict[int, int] | None = None
) -> Transforms:
    """Every slice as it lies; `replaced` names the slice that is shown instead of another."""
    shown = replaced or {}
    config = plan.config
    return Transforms(
        volume_size_xyz=(width_px, height_px, config.maxz - config.minz + 1),
        volume_origin_xyz_px=(0, 0, config.minz),
        intensity_range=(0.0, 255.0),
        slices=tuple(
            SliceTransform(
                z=z,
                uri=f"in/{z}.png",
                matrix=IDENTITY,
                verdict="good",
                action="replace" if z in shown else "keep",
                replaced_from=shown.get(z),
                n_edges=8,
                edge_weight=1.0,
                residual_px=0.1,
            )
            for z in range(config.minz, config.maxz + 1)
        ),
    )


def with_config(plan: Plan, **config: Any) -> Plan:
    """The same plan with other settings."""
    return plan.model_copy(update={"config": plan.config.model_copy(update=config)})


def with_slice(transforms: Transforms, z: int, **changes: Any) -> Transforms:
    """The same transforms with one slice changed."""
    return transforms.model_copy(
        update={"slices": tuple(s.model_copy(update=changes) if s.z == z else s for s in transforms.slices)}
    )
