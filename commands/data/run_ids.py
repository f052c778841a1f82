"""Names of runs that nobody can guess: who does not know the name finds nothing, even in a public bucket."""

from __future__ import annotations

import base64
import re
import secrets

from components.shared.errors import ConfigError

MAX_NAME = 24
"""Characters of the name, at most: buckets of sources of up to 20 letters can be named after the id."""
_RANDOM_BYTES = 10
"""Random bytes of an id: 80 bits take 19 billion years at a million guesses a second."""


def new_run_id(name: str) -> str:
    """A run's `id` that starts with a name and ends with 16 random letters and digits.

    It is valid as a part of a bucket's name.

    Raises:
        ConfigError: the name has no letters and digits, or is too long.

    Example:
        >>> new_run_id("Medulla 7")[:10], len(new_run_id("Medulla 7"))
        ('medulla-7-', 26)
    """
    start = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not start or len(start) > MAX_NAME:
        raise ConfigError(
            f"NAME must have 1 to {MAX_NAME} letters and digits (a-z, 0-9); got {name[:100]!a}. Change it."
        )
    random = base64.b32encode(secrets.token_bytes(_RANDOM_BYTES)).decode().lower()
    return f"{start}-{random}"
