"""Damage to a file of a run as programs and failing disks do it."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICK_S = 0.02
"""Time after which the file system's clock, which ticks every 4 ms or 10 ms, tells two changes apart."""


def change_with_time_put_back(path: Path, data: bytes | bytearray) -> None:
    """Change what a file holds, and put its time of writing back, as a program can."""
    time.sleep(_TICK_S)
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def change_places(first: Path, second: Path) -> None:
    """Give each of two files the name of the other, which changes no time of writing."""
    time.sleep(_TICK_S)
    between = first.with_name(f"{first.name}-between")
    first.rename(between)
    second.rename(first)
    between.rename(second)


def rot(path: Path, data: bytes | bytearray, process: Path) -> None:
    """Change what a file holds as a failing disk does: no time tells of it.

    Nothing can put back the time of the last change, so each record is written after it.

    Args:
        path: The file.
        data: Its new content.
        process: The folder of the documents of the run.
    """
    path.write_bytes(data)
    for record in sorted(process.glob("records/**/*.json")):
        record.write_bytes(record.read_bytes())
