"""State of the steps before the report, as KFP or Argo tell it, and what they were started with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from components.shared.documents.config import RunConfig, differing_keys
from components.shared.documents.config_flags import parse_flags
from components.shared.errors import FINAL_EXIT_CODES, ConfigError, UserError
from components.shared.storage.registry import place_of
from components.shared.storage.run_buckets import part_uri

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
    """The state of the steps before the report, and the error if one is known.

    It is a word, and no proof. Kubeflow says FAILED of a run in which a task was tried again and went well,
    and RUNNING of one in which all did (docs/decisions): only its success, and an error, are told for sure.
    """

    state: State
    error: str = ""
    by_kfp: bool = False
    """KFP's pipelines tell it, in JSON; else Argo does, with a word."""
    is_final: bool = False
    """A step has refused its input or configuration, so the same run again would end the same way."""

    @property
    def has_surely_failed(self) -> bool:
        return self.state == "failed" and (not self.by_kfp or bool(self.error))

    def is_shown_as_failed(self, *, is_undone: bool) -> bool:
        """True where the engine shows a run that is not complete as failed, whatever the report ends with.

        On Kubeflow a unit that is not done means a task that has failed. Where all are done and the volume is
        damaged, only the report shows it.

        Args:
            is_undone: A step has refused to go on, or not done all that it was to do.
        """
        return self.has_surely_failed or (self.by_kfp and self.state != "succeeded" and is_undone)


def parse_status(text: str) -> RunStatus:
    """Read KFP's final status (JSON) or Argo's (a word); anything else counts as unknown.

    Example:
        >>> parse_status("Succeeded")
        RunStatus(state='succeeded', error='', by_kfp=False, is_final=False)
        >>> parse_status('{"state": "FAILED", "error": {"code": 9, "message": "tile must ..."}}')
        RunStatus(state='failed', error='tile must ...', by_kfp=True, is_final=False)
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if not isinstance(value, dict):
        return RunStatus(_WORDS.get(str(value).strip().lower(), "unknown"))
    error = value.get("error") or ""
    message = error.get("message", "") if isinstance(error, dict) else error
    # A run on this machine gives the exit code of the step; a service has other numbers, all below these.
    is_final = isinstance(error, dict) and error.get("code") in FINAL_EXIT_CODES
    word = str(value.get("state", "")).rpartition("_")[2]
    return RunStatus(_WORDS.get(word.lower(), "unknown"), str(message), by_kfp=True, is_final=is_final)


def other_settings(fields: Mapping[str, str | None], planned: RunConfig) -> str:
    """The settings by which a plan is not that of the run that was started, in words; empty where it is.

    Args:
        fields: Configuration of the run as flags; without a source, nobody has told it.
        planned: Configuration in the plan that lies in the output.
    """
    if fields.get("source") is None:
        return ""
    try:
        given = parse_flags(fields)
    except ConfigError as error:  # `plan` has refused it
        return str(error)
    if planned.image == f"raw/{given.image}":  # where the older workflow has the slices
        more = tuple(f"raw/{pattern}" for pattern in given.more_channels)
        given = given.model_copy(update={"image": planned.image, "more_channels": more})
    with suppress(UserError):  # a place that no store has
        if place_of(given.source) == place_of(planned.source):
            given = given.model_copy(update={"source": planned.source})
    started, found = given.model_dump(mode="json"), planned.model_dump(mode="json")
    return ", ".join(
        f"{key} {json.dumps(found[key])} for {json.dumps(started[key])}"
        for key in differing_keys(given, planned)
    )


def beside_another(other: str, output: str) -> str:
    """The sentence on a run in whose output another run's plan lies.

    Args:
        other: What the other plan has otherwise.
        output: The output of both.
    """
    return (
        f"the plan in {part_uri(output, 'process')} must be the one that this run was started with; got "
        f"{other}. Another run writes to this output, and what is there is of that one: wait until it has "
        "ended, then start this one again, or choose another output."
    )
