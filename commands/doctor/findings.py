"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, whether it stands in the way of a run, and what mends it."""

    state: Literal["ok", "note", "wrong"]
    text: str
    remedy: str = ""
    """A command, where there is one."""
