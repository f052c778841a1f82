"""The tables that `fibstack verify` prints."""

from __future__ import annotations

import sys
from itertools import groupby

from rich.console import Console
from rich.table import Table

from commands.verify.files import LookedAt
from commands.verify.rereading import LevelCheck
from components.shared.storage.registry import open_store
from components.shared.text import PIPED_WIDTH, product, size
from components.shared.volume.layout import scale_at
from components.shared.work.completeness import shards_of
from components.shared.work.verification import Written


def print_files(looked: list[LookedAt]) -> None:
    """Print how many files and bytes of each kind were looked at, and how many are bad."""
    table = Table(box=None, pad_edge=False)
    for name in ("looked at", "files", "bytes", "compared with", ""):
        table.add_column(name, justify="right" if name in ("files", "bytes") else "left")
    for kind in looked:
        result = f"{len(kind.damages)} bad" if kind.damages else "whole"
        table.add_row(kind.kind, f"{kind.n_files:,}", f"{kind.n_bytes:,}", kind.compared_with, result)
    _console().print(table)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def print_levels(checks: list[LevelCheck], written: Written) -> None:
    """Print by volume how many chunks of each level were decoded, and what they were compared with."""
    root = written.plan.locations.process_uri.removesuffix("process")
    for output, of_output in groupby(checks, key=lambda check: check.output):
        table = Table(box=None, pad_edge=False)
        for name in ("level", "voxels", "files", "bytes", "chunks read", "compared with", ""):
            table.add_column(name, justify="left" if name in ("compared with", "") else "right")
        for check in of_output:
            prefix = scale_at(written.volume, output, check.level).shards_prefix
            files = [
                file
                for name, file in shards_of(written.blocks, open_store(output.uri).uri).items()
                if name.startswith(prefix)
            ]
            table.add_row(
                str(check.level),
                product(written.volume.size_at_level(check.level)),
                f"{len(files):,}",
                size(sum(file.size_bytes for file in files)),
                f"{check.n_read:,} of {check.n_chunks:,}",
                check.compared_with or "nothing",
                check.result,
            )
        console = _console()
        console.print(f"\n{output.uri.removeprefix(root)} ({output.encoding})", markup=False)
        console.print(table)
