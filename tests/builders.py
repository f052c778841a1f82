"""What most tests begin with: a plan, transforms, and the call of a program in this process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.testing import CliRunner, Result

from commands.main import main as fibstack
from components.shared.documents.config import RunConfig
from components.shared.documents.locations import locations_of
from components.shared.documents.plan import PixelType, Plan, SourceSlice
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.geometry import Matrix


def plan_of(
    minz: int,
    maxz: int,
    missing: Iterable[int] = (),
    *,
    size_px: tuple[int, int] = (100, 80),
    size_bytes: int = 10,
    n_channels: int = 1,
    pixel_type: PixelType = "uint8",
    match_scale: float = 1.0,
    thumbnail_scale: float = 0.5,
    chunk_length: int = 8,
    fan: int = 200,
    **config: Any,
) -> Plan:
    """A plan of slices of one size; further arguments are keys of the configuration."""
    absent = sorted(set(missing))
    given: dict[str, Any] = {"source": "in", "image": "%d.png", "output": "out", **config}
    settings = RunConfig(minz=minz, maxz=maxz, **given)
    width_px, height_px = size_px
    return Plan(
        config=settings,
        locations=locations_of(settings),
        pixel_type=pixel_type,
        slices=tuple(
            SourceSlice(
                z=z,
                key=settings.image % z,
                size_bytes=size_bytes,
                width_px=width_px,
                height_px=height_px,
                n_channels=n_channels,
            )
            for z in range(minz, maxz + 1)
            if z not in absent
        ),
        missing_z=tuple(absent),
        match_scale=match_scale,
        thumbnail_scale=thumbnail_scale,
        chunk_length=chunk_length,
        fan=fan,
    )


def transforms_of(
    plan: Plan,
    matrices: Sequence[Matrix] | None = None,
    *,
    size_px: tuple[int, int] | None = None,
    replaced: Mapping[int, int] | None = None,
    intensity_range: tuple[float, float] = (0.0, 255.0),
    **of_each: Any,
) -> Transforms:
    """Transforms of a plan's slices, by default as they lie in a volume of the first one's size.

    Args:
        plan: Of which slices.
        matrices: One for each z of the plan.
        size_px: Width and height of the volume.
        replaced: The slice that is shown instead of another, by the other's z.
        intensity_range: The grey levels that become 0 and 255.
        of_each: Values of every slice, such as `n_edges=2`.
    """
    config, shown = plan.config, replaced or {}
    z_of_volume = range(config.minz, config.maxz + 1)
    placed = [np.eye(3)] * len(z_of_volume) if matrices is None else matrices
    values = {"verdict": "good", "n_edges": 8, "edge_weight": 1.0, "residual_px": 0.1, **of_each}
    return Transforms(
        volume_size_xyz=(*(size_px or (plan.slices[0].width_px, plan.slices[0].height_px)), len(z_of_volume)),
        volume_origin_xyz_px=(0, 0, config.minz),
        intensity_range=intensity_range,
        slices=tuple(
            SliceTransform(
                z=z,
                uri="" if z in plan.missing_z else f"{config.source}/{config.image % z}",
                matrix=matrix.tolist(),
                action="replace" if z in shown else "keep",
                replaced_from=shown.get(z),
                **(values | ({"verdict": "missing"} if z in plan.missing_z else {})),
            )
            for z, matrix in zip(z_of_volume, placed, strict=True)
        ),
    )


def with_config(plan: Plan, **config: Any) -> Plan:
    """Copy of a plan with other settings."""
    return plan.model_copy(update={"config": plan.config.model_copy(update=config)})


def with_sizes(plan: Plan, folder: Path) -> Plan:
    """Copy of a plan with the sizes that the slices' files have in a folder."""
    slices = (s.model_copy(update={"size_bytes": (folder / s.key).stat().st_size}) for s in plan.slices)
    return plan.model_copy(update={"slices": tuple(slices)})


def with_slice(transforms: Transforms, z: int, **changes: Any) -> Transforms:
    """Copy of transforms with one slice changed."""
    return transforms.model_copy(
        update={"slices": tuple(s.model_copy(update=changes) if s.z == z else s for s in transforms.slices)}
    )


def invoke(program: click.Command, *words: object, answer: str | None = None, **flags: object) -> Result:
    """What a program answers in this process, as from the command line.

    Args:
        program: The command.
        words: Its arguments.
        answer: What is typed when it asks.
        flags: Values by name, as `minz=3` for `--minz 3`; what is neither text nor a path is given as JSON.
    """
    given = [str(word) for word in words]
    for name, value in flags.items():
        text = str(value) if isinstance(value, str | Path) else json.dumps(value)
        given += [f"--{name.replace('_', '-')}", text]
    return CliRunner().invoke(program, given, input=answer, catch_exceptions=False)


def cli(*words: object, answer: str | None = None) -> Result:
    """What `fibstack` answers in this process; `answer` is what is typed when it asks."""
    return invoke(fibstack, *words, answer=answer)
