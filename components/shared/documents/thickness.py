"""`process/thickness.json`: where the slices lie along z, as their likeness tells."""

from __future__ import annotations

from typing import Literal

from components.shared.documents.sealed import Document, SealedDocument

THICKNESS_KEY = "thickness.json"

StepKind = Literal["thin", "thick", "gap"]
"""Thin and thick: the material between two slices that follow each other. Gap: at least as much material is
lost between them as a slice has."""


Places = tuple[float | None, ...]
"""A figure of each z of the volume; None where a slice is missing, or not good."""


class UnevenStep(Document):
    """A step along z that differs from an even one by more than chance."""

    z: int
    """The slice at its end."""
    previous_z: int
    """The good slice before."""
    kind: StepKind
    step: float
    """Distance between the two over that of their numbers: 1 where slices are even."""
    sigma: float
    """1-sigma of `step`."""

    @property
    def description(self) -> str:
        """Clause on the step.

        Example:
            >>> UnevenStep(z=41, previous_z=40, kind="gap", step=5.214, sigma=0.31).description
            'between slices 40 and 41 lie 5.2 +- 0.3 slices: material is lost'
        """
        n_slices = self.z - self.previous_z
        lie = f"{self.step * n_slices:.1f} +- {self.sigma * n_slices:.1f} slices"
        meaning = {"gap": "material is lost", "thick": "it is thick", "thin": "it is thin"}[self.kind]
        return f"between slices {self.previous_z} and {self.z} lie {lie}: {meaning}"


class Thickness(SealedDocument):
    """Places of the slices along z, in mean slices; the local mean of the steps is 1 throughout."""

    schema_version: Literal[1] = 1
    first_z: int
    unknown: str = ""
    """Why no places are told: a clause; empty where they are."""
    positions: Places = ()
    """Place of each z of the volume; that of the first good slice is its number."""
    steps: Places = ()
    """Distance of each slice from the good slice before, over that of their numbers."""
    step_sigmas: Places = ()
    """1-sigma of `steps`."""
    spread: float | None = None
    """Standard deviation of the steps, gaps left out."""
    typical_sigma: float | None = None
    """Median of `step_sigmas`."""
    uneven: tuple[UnevenStep, ...] = ()
    """Steps that stand out, z ascending."""

    def of(self, places: Places, z: int) -> float | None:
        """The figure of a slice in one of the columns; None where it is not told."""
        index = z - self.first_z
        return places[index] if index < len(places) else None
