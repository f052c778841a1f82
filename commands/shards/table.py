"""The tables that `fibstack explain-shards` prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from commands.shards.scales import ScaleRow, Sharing
from components.shared.grid import BLOCK
from components.shared.text import PIPED_WIDTH, product, size
from components.shared.volume.compression import DEFAULT_QUALITY, EM_RATIOS

_SHARING_WORDS: dict[Sharing, str] = {
    "own": "one block's",
    "shared": "several blocks'",
    "scattered": "any block's",
}
"""Words of the table for whose chunks a file holds."""


def print_tables(volumes: dict[str, Sequence[ScaleRow]]) -> None:
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
