"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Use = Literal["read", "write", "look"]
"""What a place is for: slices are read from it, results written to it, or it is looked at alone."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, whether it stands in the way of a run, and what mends it."""

    state: Literal["ok", "note", "wrong"]
    text: str
    remedy: str = ""
    """A command, where there is one."""
