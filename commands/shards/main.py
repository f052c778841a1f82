"""`fibstack explain-shards`: the levels, shards and bytes of a volume, before or after it is written."""

from __future__ import annotations

import json
from typing import Any

import click

from commands.shards.scales import rows_of
from components.shared.command import StepCommand
from components.shared.documents.config import parse_config
from components.shared.documents.locations import locations_of
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.transforms import Transforms
from components.shared.errors import ConfigError, UserError
from components.shared.grid import SizeXyz
from components.shared.storage.registry import open_store
from components.shared.volume import precomputed
from components.shared.volume.volume import Volume, volume_of


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack explain-shards 5000 5000 13696")
@click.argument("size", nargs=-1, type=click.IntRange(min=1), metavar="[NX NY NZ]")
@click.option("--resolution", metavar="X[,Y,Z]", help="Size of a voxel in nm.  [default: 8]")
@click.option("--info", "info_uri", metavar="URI", help="A precomputed volume that exists, or its info.")
def main(size: tuple[int, ...], resolution: str | None, info_uri: str | None) -> None:
    """Print levels, shards, files and bytes of a volume of NX x NY x NZ voxels.

    With --info, of a volume that exists, and whether each of its files belongs to one block of 1024^3 voxels
    (of the level where a pass starts: 0, 5, 10). A file that several blocks share must not be written by
    several workers at a time: each would write over what another has written.
    """
    from commands.shards.table import print_tables  # here, since the help needs no rich

    if (len(size) == 3) == (info_uri is not None) or (size and len(size) != 3):
        raise ConfigError(
            f"either three sizes or --info must be given; got {len(size)} sizes. Give NX NY NZ."
        )
    if info_uri is not None:
        if resolution is not None:
            raise ConfigError("--resolution must go with sizes; the info has its own. Leave it out.")
        print_tables({info_uri: rows_of(_read_info(info_uri))})
        return
    volume = volume_of_size((size[0], size[1], size[2]), resolution)
    outputs = [output for output in volume.outputs if output.format == "precomputed"]
    print_tables({output.uri: rows_of(precomputed.info(volume, output)) for output in outputs})


def volume_of_size(size_xyz: SizeXyz, resolution: str | None) -> Volume:
    """The volume that a run makes of 8-bit slices."""
    width, height, depth = size_xyz
    given = {"source": "SOURCE", "image": "%d.png", "minz": 0, "maxz": depth - 1, "output": "OUTPUT"}
    config = parse_config({**given, "raw_pyramid": True, "resolution": _resolution_nm(resolution or "8")})
    plan = Plan(
        config=config,
        locations=locations_of(config),
        pixel_type="uint8",
        slices=(SourceSlice(z=0, key="0.png", size_bytes=0, width_px=width, height_px=height),),
        missing_z=(),
        match_scale=1.0,
        thumbnail_scale=1.0,
        chunk_length=1,
        fan=1,
    )
    transforms = Transforms(
        volume_size_xyz=size_xyz, volume_origin_xyz_px=(0, 0, 0), intensity_range=(0, 255), slices=()
    )
    return volume_of(plan, transforms)


def _resolution_nm(text: str) -> tuple[float, float, float]:
    """Size of a voxel in nm, from one number or three."""
    try:
        numbers = [float(part) for part in text.split(",")]
        x, y, z = numbers * 3 if len(numbers) == 1 else numbers
    except ValueError:
        raise ConfigError(f"--resolution must be X or X,Y,Z in nm; got {text}. Write 4,4,40.") from None
    return x, y, z


def _read_info(uri: str) -> dict[str, Any]:
    """The `info` of a precomputed volume, from its URI or that of the `info`."""
    root = uri.rstrip("/").removesuffix("/info")
    try:
        info = json.loads(open_store(root).read("info"))
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise UserError(f"{root}/info must be JSON; got something else. Name a precomputed volume.")
    return info


if __name__ == "__main__":
    main()
