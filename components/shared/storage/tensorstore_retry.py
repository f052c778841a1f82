"""Reads of arrays through tensorstore, which compares an array's own checksums but does not ask again.

`finish` asks again; `reason` cuts what tensorstore says to a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components.shared.storage.store import READS

_NO_DAMAGE = (
    *("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "CANCELLED"),
    *("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"),  # tried again by tensorstore
)
"""Codes of tensorstore's errors that another read would not change."""


def finish(operation: Any, start: Callable[[], Any]) -> Any:  # noqa: ANN401 - tensorstore has no types
    """The result of an operation, which is started anew a few times where bytes arrive damaged.

    Args:
        operation: a future of tensorstore, returned by `start`.
        start: starts the same operation.

    Raises:
        ValueError: tensorstore cannot read; likewise IndexError.
    """
    for _ in range(READS - 1):
        error = operation.exception()
        if error is None or str(error).startswith(_NO_DAMAGE):
            break
        operation = start()
    return operation.result()


def reason(error: Exception) -> str:
    """The text of an error of tensorstore, without the specification that it appends.

    Example:
        >>> reason(ValueError("NOT_FOUND: no info [tensorstore_spec={...}]"))
        'NOT_FOUND: no info'
    """
    return str(error).partition(" [tensorstore_spec=")[0]
