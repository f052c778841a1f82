"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Use = Literal["read", "write", "look"]
"""Purpose of a place: slices are read from it, results are written to it, or it is only looked at."""

VIEWER = "https://neuroglancer-demo.appspot.com"
"""The origin of the neuroglancer that links lead to, whose pages are to read a volume."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: a sentence, whether it stands in the way of a run, and its remedy."""

    state: Literal["ok", "note", "wrong"]
    text: str
    remedy: str = ""
    """A command, where there is one."""
