"""Stacks of which there is nothing but the names, the sizes and the headers: all that planning reads."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

IMAGE = "img.%05d.png"
PNG_RATIO = 0.65
"""A slice's file over its pixels, of real FIB-SEM."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Square slices of 8 bit."""

    name: str
    n_slices: int
    side_px: int

    @property
    def file_bytes(self) -> int:
        """Of a slice as it would be."""
        return round(self.side_px**2 * PNG_RATIO)

    @property
    def least_bytes(self) -> int:
        """Of a file that planning still takes for a whole slice; a bucket in memory holds no more of each."""
        return self.side_px**2 // 1000


STACKS = (
    Stack("13,696 slices of 5k x 5k", 13_696, 5_000),
    Stack("10 TB: 25,000 slices of 20k x 20k", 25_000, 20_000),
)
QUICK = (Stack("64 slices of 5k x 5k", 64, 5_000),)


def png_header(side_px: int) -> bytes:
    """Signature and IHDR of a grey PNG of 8 bit, and the name of the chunk of its picture (PNG, 11.2)."""
    body = b"IHDR" + struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + zlib.crc32(body).to_bytes(4, "big") + b"\0\0\0\0IDAT"


def write_headers(folder: Path, stack: Stack, file_bytes: int) -> None:
    """Write a file for each slice: its header, then a hole that takes no room on the disk."""
    folder.mkdir(parents=True)
    header = png_header(stack.side_px)
    for z in range(stack.n_slices):
        with (folder / (IMAGE % z)).open("wb") as file:
            file.write(header)
            file.truncate(file_bytes)
