"""Results of fibstack that are known to be wrong, and which of them concern a volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from components.shared.work.verification import Written
from components.shared.work.versions import versions_of

LISTED = Path(__file__).with_name("wrong_results.yaml")
"""The list of wrong results, which is part of this package."""


class WrongResult(BaseModel):
    """A result that fibstack has written and that is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Name of its row in docs/correctness.md."""
    made_by: tuple[str, ...] = Field(min_length=1)
    """Steps and commands that wrote it."""
    wrong: str
    affected: str
    """Stacks and outputs that have it."""
    notice: str
    """Sign by which a user can tell that a volume has it."""
    mend: str
    """Way to the right result."""
    right_from: dict[str, int] = {}
    """Result version by step from which on the result is right; empty where no version tells."""
    mended: bool = False
    """True where it is mended although no version tells: the same plan still makes the same bytes."""

    @property
    def is_mended(self) -> bool:
        """True if this version of fibstack makes the right result."""
        return self.mended or bool(self.right_from)

    def concerns(self, versions: Mapping[str, int]) -> bool:
        """True if a volume that these versions of the steps wrote can have it."""
        return any(versions.get(step, right) < right for step, right in self.right_from.items())


@cache
def wrong_results(path: Path = LISTED) -> tuple[WrongResult, ...]:
    """All known wrong results."""
    import yaml

    return TypeAdapter(tuple[WrongResult, ...]).validate_python(yaml.safe_load(path.read_text()))


def concerning(written: Written) -> Iterator[str]:
    """A sentence for each mended wrong result that a volume can have, since an older version wrote it."""
    mended = [result for result in wrong_results() if result.right_from]
    if not mended:
        return
    versions = versions_of(written)
    for result in mended:
        if result.concerns(versions):
            yield (
                f"this volume was written before a result was mended ('{result.id}' in docs/correctness.md). "
                f"{result.wrong} It concerns {result.affected}. {result.mend}"
            )
