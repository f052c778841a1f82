"""TIFF files with any tags, written from the specification, to compare readers with."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

_SHORT, _LONG, _RATIONAL, _LONG8 = 3, 4, 5, 16
_FORMATS = {1: "B", 2: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", 11: "f", _LONG8: "Q"}
Values = tuple[int, Sequence[Any]]
"""Type and numbers of a tag; of a rational two numbers each."""


def short(*numbers: int) -> Values:
    return _SHORT, numbers


def rational(*numbers: int) -> Values:
    return _RATIONAL, numbers


def text(said: str) -> Values:
    return 2, said.encode() + b"\0"


def tiff_file(
    *pages: tuple[Mapping[int, Values], Sequence[bytes]], byteorder: str = "<", bigtiff: bool = False
) -> bytes:
    """A TIFF of pages: the tags of each, and its strips, or its tiles where tag 322 says so.

    Places and numbers of bytes are added to the tags, unless these have them.
    """
    offset, count, entry = ("Q", "Q", "HHQ") if bigtiff else ("I", "H", "HHI")
    inline = struct.calcsize(offset)
    magic = (b"II" if byteorder == "<" else b"MM") + struct.pack(f"{byteorder}H", 43 if bigtiff else 42)
    data = bytearray(magic + (struct.pack(f"{byteorder}HH", 8, 0) if bigtiff else b""))
    link = len(data)
    data += bytes(inline)
    for tags, parts in pages:
        starts = []
        for part in parts:
            data += bytes(len(data) % 2)
            starts.append(len(data))
            data += part
        offsets, counts = (324, 325) if 322 in tags else (273, 279)
        number = _LONG8 if bigtiff else _LONG
        added = {offsets: (number, starts), counts: (number, [len(part) for part in parts])}
        table = b""
        all_tags = {**added, **tags}
        for code in sorted(all_tags):
            kind, numbers = all_tags[code]
            value = struct.pack(f"{byteorder}{len(numbers)}{_FORMATS[kind]}", *numbers)
            n_values = len(numbers) // (2 if kind == _RATIONAL else 1)
            if len(value) > inline:
                data += bytes(len(data) % 2)
                value, place = struct.pack(byteorder + offset, len(data)), value
                data += place
            table += struct.pack(byteorder + entry, code, kind, n_values) + value.ljust(inline, b"\0")
        data += bytes(len(data) % 2)
        data[link : link + inline] = struct.pack(byteorder + offset, len(data))
        data += struct.pack(byteorder + count, len(all_tags)) + table
        link = len(data)
        data += bytes(inline)
    return bytes(data)
