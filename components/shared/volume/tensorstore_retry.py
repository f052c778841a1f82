"""Reads of arrays through tensorstore, which compares an array's own checksums but does not ask again.

`finish` asks again, and gives up in the end; `check_may_not_pass` tells a failure of storage from damage;
`reason` cuts what tensorstore says to a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components.shared.errors import TransientError
from components.shared.storage.store import READS
from components.shared.web import DeadlineError, within

_MAY_PASS = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED")
"""Codes of failures of storage, after which tensorstore has tried again by itself."""
_NO_DAMAGE = ("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "CANCELLED", *_MAY_PASS)
"""Codes of tensorstore's errors that another read would not change."""
_DEADLINE_S = 1800
"""Seconds for one operation, which reads the voxels of a block at most: 64 MiB at 36 kB/s.

tensorstore gives up a body that stalls, but waits for minutes for each handshake that does not end.
"""


def finish(operation: Any, start: Callable[[], Any]) -> Any:  # noqa: ANN401 - tensorstore has no types
    """The result of an operation, which is started anew a few times where bytes arrive damaged.

    Args:
        operation: a future of tensorstore, returned by `start`.
        start: starts the same operation.

    Raises:
        ValueError: tensorstore cannot read; likewise IndexError.
    """
    for _ in range(READS - 1):
        error = _within_deadline(operation.exception)
        if error is None or str(error).startswith(_NO_DAMAGE):
            break
        operation = start()
    return _within_deadline(operation.result)


def _within_deadline(waits: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        return within(_DEADLINE_S, waits)
    except DeadlineError as error:
        raise ValueError(f"DEADLINE_EXCEEDED: {error}") from None


def check_may_not_pass(what: str, error: Exception) -> None:
    """Tell a failure of storage from damage of what it holds.

    Args:
        what: what fails, such as "cannot read gs://bucket/key".
        error: an error of tensorstore.

    Raises:
        TransientError: storage failed, and another try may succeed.

    Example:
        >>> check_may_not_pass("cannot read a/b", ValueError("DATA_LOSS: too short"))
        >>> check_may_not_pass("cannot read a/b", ValueError("ABORTED: 429 Too Many Requests"))
        Traceback (most recent call last):
        components.shared.errors.TransientError: cannot read a/b: ABORTED: 429 Too Many Requests. Try again.
    """
    if str(error).startswith(_MAY_PASS):
        raise TransientError(f"{what}: {reason(error)}. Try again.") from error


def reason(error: Exception) -> str:
    """The text of an error of tensorstore, without the specification that it appends.

    Example:
        >>> reason(ValueError("NOT_FOUND: no info [tensorstore_spec={...}]"))
        'NOT_FOUND: no info'
    """
    return str(error).partition(" [tensorstore_spec=")[0]
