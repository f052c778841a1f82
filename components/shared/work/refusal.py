"""A refusal: the sentence with which `plan` or `compose` has ended a run for good, left in the output.

A service that runs pipelines may lose what a program says: Kubeflow keeps neither its sentence nor its exit
code. So the step leaves both where the report and `fibstack status` find them. The next plan that refuses
nothing takes the document away; who may create but not delete leaves another one beside it that overrules it.
A refusal also names what it is of, and counts only as long as that is what lies there. Two runs of the same
settings on one output share it: nothing tells them apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from components.shared.documents.config import NAMING_KEYS
from components.shared.documents.plan import PLAN_KEY
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import SealedDocument
from components.shared.errors import ConfigError, UserError
from components.shared.storage.store import Store, checksum
from components.shared.work.records import input_hash

REFUSED_KEY, ACCEPTED_KEY = "refused.json", "accepted.json"
"""Keys below the process URI."""


class Refusal(SealedDocument):
    """`process/refused.json`: why a run was refused, and what of it."""

    schema_version: Literal[1] = 1
    step: Literal["plan", "compose"]
    exit_code: int
    sentence: str
    settings_hash: str = ""
    """Hash of the settings that `plan` has refused; empty where `compose` refuses, whose settings are the
    plan's."""
    plan_crc32c: str
    """Checksum of the plan that lay there when the run was refused; empty where there was none."""


class Acceptance(SealedDocument):
    """`process/accepted.json`: a plan has refused nothing since the refusals that are older."""

    schema_version: Literal[1] = 1


def settings_hash(flags: Mapping[str, str | None]) -> str:
    """Hash of settings as flags, also of those that are no configuration; names of runs do not count."""
    given = {key: text for key, text in flags.items() if text and key not in NAMING_KEYS}
    return input_hash(json.dumps(given, sort_keys=True))


def leave_refusal(
    process: Store, step: Literal["plan", "compose"], error: UserError | ConfigError, settings_hash: str = ""
) -> None:
    """Write why a step has refused to go on.

    Raises:
        UserError: the document may not be written, or not in the place of another one.
        TransientError: storage fails.
    """
    refusal = Refusal(
        step=step,
        exit_code=error.exit_code,
        sentence=str(error),
        settings_hash=settings_hash,
        plan_crc32c=_plan_crc32c(process),
    )
    process.write(REFUSED_KEY, refusal.to_json())


def take_refusal_back(process: Store) -> None:
    """Remove the refusal of an earlier run, if there is one, or overrule it.

    Raises:
        UserError: neither may be done.
    """
    if process.stat(REFUSED_KEY) is None:
        return
    try:
        process.delete(REFUSED_KEY)
    except UserError:  # an identity that may create but not delete
        process.write(ACCEPTED_KEY, Acceptance().to_json())


def standing_refusal(process: Store, settings_hash: str = "") -> Refusal | None:
    """The refusal of the last run; None where there is none, or it is overruled or of something else.

    Args:
        process: Where the documents of the run lie.
        settings_hash: Hash of the settings of the run; empty where nobody tells.
    """
    refused = process.stat(REFUSED_KEY)
    if refused is None:
        return None
    with suppress(UserError):  # damaged, or of another version
        refusal = read_document(process, REFUSED_KEY, Refusal)
        is_other = settings_hash and refusal.settings_hash not in ("", settings_hash)
        if not is_other and refusal.plan_crc32c == _plan_crc32c(process):
            accepted = process.stat(ACCEPTED_KEY)
            is_overruled = accepted is not None and (accepted.written_s or 0.0) >= (refused.written_s or 0.0)
            return None if is_overruled else refusal
    return None


def _plan_crc32c(process: Store) -> str:
    return checksum(process.read(PLAN_KEY)) if process.stat(PLAN_KEY) is not None else ""
