"""`fibstack explain-shards`: the levels, shards and bytes of a volume, before or after it is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from commands.shards.scales import ScaleRow, Sharing, rows_of
from components.shared.command import StepCommand
from components.shared.documents.config import parse_config
from components.shared.documents.locations import locations_of
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.transforms import Transforms
from components.shared.errors import ConfigError, UserError
from components.shared.grid import BLOCK, SizeXyz
from components.shared.storage.registry import open_store
from components.shared.text import PIPED_WIDTH, product, size
from components.shared.volume import precomputed
from components.shared.volume.compression import DEFAULT_QUALITY, EM_RATIOS
from components.shared.volume.volume import Volume, volume_of

_SHARING_WORDS: dict[Sharing, str] = {
    "own": "one block's",
    "shared": "several blocks'",
    "scattered": "any block's",
}
"""Words of the table for whose chunks a file holds."""


@click.command(cls=StepCommand)
@click.argument("size", nargs=-1, type=click.IntRange(min=1), metavar="[NX NY NZ]")
@click.option("--resolution", metavar="X[,Y,Z]", help="Size of a voxel in nm.  [default: 8]")
@click.option("--info", "info_uri", metavar="URI", help="A precomputed volume that exists, or its info.")
def main(size: tuple[int, ...], resolution: str | None, info_uri: str | None) -> None:
    """Print levels, shards, files and bytes of a volume of NX x NY x NZ voxels.

    With --info, of a volume that exists, and whether each of its files belongs to one block of 1024^3 voxels
    (of the level where a pass starts: 0, 5, 10). A file that several blocks share must not be written by
    several workers at a time: each would write over what another has written.
    """
    if (len(size) == 3) == (info_uri is not None) or (size and len(size) != 3):
        raise ConfigError(
            f"either three sizes or --info must be given; got {len(size)} sizes. Give NX NY NZ."
        )
    if info_uri is not None:
        if resolution is not None:
            raise ConfigError("--resolution must go with sizes; the info has its own. Leave it out.")
        _print_tables({info_uri: rows_of(_read_info(info_uri))})
        return
    volume = volume_of_size((size[0], size[1], size[2]), resolution)
    outputs = [output for output in volume.outputs if output.format == "precomputed"]
    _print_tables({output.uri: rows_of(precomputed.info(volume, output)) for output in outputs})


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


def _print_tables(volumes: dict[str, Sequence[ScaleRow]]) -> None:
    """Print a table for each volume, and whether blocks can be written independently."""
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    for uri, rows in volumes.items():
        console.print(_table_of_levels(uri, rows))
    ratios = ", ".join(f"{encoding} {ratio}" for encoding, ratio in EM_RATIOS.items())
    console.print(
        f"Estimated bytes: raw bytes times {ratios}; "
        f"of FIB-SEM after CLAHE, JPEG at quality {DEFAULT_QUALITY}."
    )
    bad = [
        f"level {row.level} of {uri}" for uri, rows in volumes.items() for row in rows if row.sharing != "own"
    ]
    if bad:
        console.print(
            f"Not every file belongs to one block of {BLOCK}^3 voxels: {', '.join(bad)}. Workers that write "
            f"blocks at the same time would write over each other's chunks there."
        )
    else:
        console.print(f"Every file belongs to one block of {BLOCK}^3 voxels: workers share nothing.")


def _table_of_levels(uri: str, rows: Sequence[ScaleRow]) -> Table:
    table = Table(title=uri, title_justify="left", box=None, pad_edge=False)
    table.add_column("level", justify="right")
    for name in (
        "nm",
        "voxels",
        "encoding",
        "chunks",
        "bits",
        "shard",
        "files",
        "raw",
        "estimated",
        "a file is",
    ):
        table.add_column(name, justify="left" if name in ("encoding", "a file is") else "right")
    for row in rows:
        table.add_row(
            str(row.level),
            product(row.resolution_nm, by="x"),
            product(row.size_xyz, by="x"),
            row.encoding,
            product(row.grid_xyz, by="x"),
            "+".join(map(str, row.bits)) if row.bits else "unsharded",
            product(row.shard_xyz, by="x") if row.shard_xyz else "scattered",
            f"{row.n_files:,}",
            size(row.raw_bytes),
            "?" if row.encoded_bytes is None else size(row.encoded_bytes),
            _SHARING_WORDS[row.sharing],
        )
    table.add_section()
    encoded = [row.encoded_bytes for row in rows if row.encoded_bytes is not None]
    table.add_row(
        "all", "", "", "", "", "", "", f"{sum(row.n_files for row in rows):,}",
        size(sum(row.raw_bytes for row in rows)),
        size(sum(encoded)) if len(encoded) == len(rows) else "?", "",
    )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
