"""Numbers of bytes for people."""

from __future__ import annotations


def human_bytes(n: int) -> str:
    """A number of bytes to read.

    Example:
        >>> human_bytes(999), human_bytes(1_250_000)
        ('999 B', '1.2 MB')
    """
    size = float(n)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.1f} {unit}" if unit != "B" else f"{n} B"
