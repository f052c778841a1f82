"""Calls of kubectl, which end and say why they fail."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any

from components.shared.web import ANSWER_BYTES
from pipeline.submit.runs import CONNECT_TIMEOUT_S

_DEADLINE_S = 30
"""Longest that a call may take."""


@dataclass(frozen=True, slots=True)
class Said:
    """The answer of a call of kubectl."""

    worked: bool
    text: str
    """Its output; `version` prints some before it fails."""
    reason: str = ""
    """Its error, in its own words."""

    @property
    def is_missing(self) -> bool:
        """The cluster says that there is no such object."""
        return "(NotFound)" in self.reason

    @property
    def is_forbidden(self) -> bool:
        """The cluster says that one may not see it."""
        return "(Forbidden)" in self.reason

    def as_object(self) -> dict[str, Any]:
        """The output as a JSON object; empty where it is none."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def at(found: object, *keys: str | int) -> Any:  # noqa: ANN401 - any JSON
    """The value at a path in JSON; None where the path leads nowhere.

    Example:
        >>> at({"items": [{"a": 1}]}, "items", 0, "a"), at({"items": 3}, "items", 0, "a")
        (1, None)
    """
    for key in keys:
        if isinstance(key, int):
            found = found[key] if isinstance(found, list) and key < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


def kubectl(*words: str) -> Said:
    """Call kubectl."""
    # Files, since a pipe stays open as long as a program that kubectl started, such as one to log in.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                ["kubectl", f"--request-timeout={CONNECT_TIMEOUT_S}s", *words],
                stdout=output,
                stderr=errors,
                check=False,
                timeout=_DEADLINE_S,
            )
        except subprocess.TimeoutExpired:
            return Said(False, "", f"no answer within {_DEADLINE_S} s")
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read(ANSWER_BYTES).decode(errors="replace").strip())
        return Said(done.returncode == 0, *texts)
