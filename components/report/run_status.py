"""State of the steps before the report, as KFP or Argo tell it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

State = Literal["succeeded", "failed", "unknown"]

_WORDS: dict[str, State] = {
    "succeeded": "succeeded",
    "success": "succeeded",
    "failed": "failed",
    "failure": "failed",
    "error": "failed",
    "cancelled": "failed",
    "canceled": "failed",
}


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of the steps before the report, and the error if one is known."""

    state: State
    error: str = ""


def parse_status(text: str) -> RunStatus:
    """Read KFP's final status (JSON) or Argo's (a word); anything else counts as unknown.

    Example:
        >>> parse_status("Succeeded")
        RunStatus(state='succeeded', error='')
        >>> parse_status('{"state": "FAILED", "error": {"code": 9, "message": "tile must ..."}}')
        RunStatus(state='failed', error='tile must ...')
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if not isinstance(value, dict):
        return RunStatus(_WORDS.get(str(value).strip().lower(), "unknown"))
    error = value.get("error") or ""
    message = error.get("message", "") if isinstance(error, dict) else error
    word = str(value.get("state", "")).rpartition("_")[2]
    return RunStatus(_WORDS.get(word.lower(), "unknown"), str(message))
