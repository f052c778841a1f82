"""Numbers that decide, with their reasons: a frozen object for each stage; `docs/limits.md` is made of them.

A stage keeps its limits as the fields of a frozen dataclass whose defaults are made by `limit`. The stage
takes the object as a parameter, or reads the one instance of its module; a stack of another kind gets another
instance, and no code changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

_T = TypeVar("_T")
_KEY = "limit"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a limit is what it is."""

    unit: str
    """Unit and scale, such as "px at matching scale"; "-" for a ratio or a plain number."""
    why: str
    """Decision that the limit makes, and why at this value."""
    measured_on: str
    """Stack, benchmark or test that the value was measured on; "not measured" says so."""
    too_small: str
    """Harm that a smaller value does."""
    too_large: str
    """Harm that a larger value does."""


def limit(default: _T, *, unit: str, why: str, measured_on: str, too_small: str, too_large: str) -> _T:
    """A field of a stage's limits, with its default and its reason.

    Example:
        >>> @dataclass(frozen=True)
        ... class GateLimits:
        ...     \"\"\"When a pair is accepted.\"\"\"
        ...
        ...     min_inliers: int = limit(
        ...         20, unit="matches", why="fewer can agree by chance", measured_on="mirrored slices",
        ...         too_small="wrong pairs pass", too_large="pairs of poor tissue are refused",
        ...     )
        >>> [(name, value, reason.unit) for name, value, reason in reasons_of(GateLimits())]
        [('min_inliers', 20, 'matches')]
    """
    reason = Reason(unit, why, measured_on, too_small, too_large)
    made: _T = field(default=default, metadata={_KEY: reason})
    return made


def has_reasons(kind: type[Any]) -> bool:
    """True of a frozen dataclass that holds limits: some of its fields have a reason."""
    frozen: bool = kind.__dataclass_params__.frozen
    return frozen and any(_KEY in one.metadata for one in fields(kind))


def reasons_of(limits: Any) -> Iterator[tuple[str, Any, Reason]]:  # noqa: ANN401 - any frozen dataclass
    """Name, value and reason of each limit of a stage, in the order in which they stand.

    Raises:
        ValueError: a field has no reason.
    """
    for one in fields(limits):
        if _KEY not in one.metadata:
            raise ValueError(
                f"{type(limits).__name__}.{one.name} must have a reason: make it with limit(...)"
            )
        yield one.name, getattr(limits, one.name), one.metadata[_KEY]
