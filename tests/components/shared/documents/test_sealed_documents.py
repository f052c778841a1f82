"""A document vouches for its own bytes: what rots in a folder is noticed, never used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import SealedDocument
from components.shared.documents.transforms import Transforms
from components.shared.errors import UserError
from components.shared.given_file import STORED
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, checksum
from tests.builders import plan_of, transforms_of

PLAN = plan_of(0, 2)
DOCUMENTS = [PLAN, transforms_of(PLAN)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_document_is_read_as_it_was_written(store: Store, document: SealedDocument) -> None:
    store.write("a.json", document.to_json())
    found = read_document(store, "a.json", type(document))
    assert found.to_json() == document.to_json()
    assert found.model_copy(update={"crc32c": ""}) == document


def test_the_checksum_is_that_of_what_follows_it() -> None:
    head, crc32c, rest = PLAN.to_json().partition(json.loads(PLAN.to_json())["crc32c"].encode())
    assert head == b'{\n "crc32c": "'
    assert checksum(rest).encode() == crc32c


def test_a_flipped_bit_anywhere_is_refused_in_a_sentence(tmp_path: Path) -> None:
    data = PLAN.to_json()
    store, file = open_store(str(tmp_path)), tmp_path / "plan.json"
    for position in range(0, len(data), 3):
        flipped = data[position] ^ 1 << position % 8
        file.write_bytes(data[:position] + bytes([flipped]) + data[position + 1 :])
        with pytest.raises(UserError, match=r"got (a fault|other bytes).* (Choose another|remove it)"):
            read_document(store, "plan.json", Plan)


def test_a_change_by_hand_takes_the_checksum_out(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    document = json.loads(transforms_of(PLAN).to_json())
    document["slices"][1]["action"] = "invert"
    store.write("transforms.json", json.dumps(document).encode())
    with pytest.raises(UserError, match=r"other bytes than its crc32c says in .*transforms\.json"):
        read_document(store, "transforms.json", Transforms)
    del document["crc32c"]
    store.write("transforms.json", json.dumps(document).encode())
    assert read_document(store, "transforms.json", Transforms).slices[1].action == "invert"


@pytest.mark.parametrize(
    "changes",
    [
        {"fan": "many"},
        {"match_scale": float("nan")},
        {"no_such_key": 1},
        {"reading": {"values": [[0, 1e999]]}},
    ],
    ids=str,
)
def test_a_copy_with_a_value_that_no_reader_takes_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PLAN.model_copy(update=changes)


def test_a_document_that_no_reader_takes_is_not_written() -> None:
    past_all_checks = Plan.model_construct(**{**dict(PLAN), "match_scale": float("inf")})
    with pytest.raises(ValidationError):
        past_all_checks.to_json()


def test_a_copy_of_a_stored_configuration_keeps_what_an_earlier_release_took() -> None:
    stored = {**PLAN.config.model_dump(), "webhook": "https://host/a/secret"}
    config = RunConfig.model_validate(stored, context=STORED)
    assert config.model_copy(update={"minz": 1}).webhook == stored["webhook"]
