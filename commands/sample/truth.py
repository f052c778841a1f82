"""The truth about a sample, `truth.json`: the position of each slice, and its planted defect."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.shared.documents.sealed import Document, SealedDocument
from components.shared.documents.transforms import Matrix3

Defect = Literal["", "blank", "missing", "defocus", "half", "duplicate", "inverted", "slip"]


class TruthSlice(Document):
    """True place of a slice of the sample, and its defect if it has one."""

    z: int = Field(ge=0)
    matrix: Matrix3
    """world_from_slice at full resolution."""
    defect: Defect


class Truth(SealedDocument):
    """`truth.json`: how the slices of a sample lie in one common world."""

    schema_version: Literal[1] = 1
    seed: int
    width_px: int = Field(gt=0)
    height_px: int = Field(gt=0)
    slices: tuple[TruthSlice, ...]
    """Slices of every z, ascending, missing ones too."""
