"""Reads the documents of a run from storage."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from components.shared.documents.sealed import SealedDocument, is_damaged
from components.shared.errors import UserError
from components.shared.given_file import STORED
from components.shared.storage.store import Store, Vouches, join_uri, read_bounded

MAX_DOCUMENT_BYTES = 2**30
"""Largest document that is read: a plan of 1,000,000 slices has 400 MB."""
AnyDocument = TypeVar("AnyDocument", bound=SealedDocument)


def read_document(store: Store, key: str, kind: type[AnyDocument]) -> AnyDocument:
    """Read a document, such as `read_document(process, "plan.json", Plan)`.

    Raises:
        UserError: there is no such document, it is not of this version, or it is damaged.
    """
    in_bucket = store.vouches in (Vouches.CHECKSUM, Vouches.WHEN_ASKED)  # whose every look is paid for
    data = store.read(key) if in_bucket else read_bounded(store, key, MAX_DOCUMENT_BYTES)
    try:
        document = kind.model_validate_json(data, context=STORED)
    except ValidationError as error:
        if is_damaged(data):
            raise _damaged(store, key, kind) from None
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise UserError(
            f"{join_uri(store.uri, key)} must be a {kind.__name__} document of this version of fibstack; "
            f"got a fault at {where}: {first['msg'].lower()}. Choose another output, or the right file."
        ) from None
    if not document.vouches_for(data):
        raise _damaged(store, key, kind)
    return document


def _damaged(store: Store, key: str, kind: type[SealedDocument]) -> UserError:
    return UserError(
        f"a {kind.__name__} document must hold what was written; got other bytes than its crc32c says in "
        f"{join_uri(store.uri, key)}. It was damaged, or changed by hand: remove it and run again, or "
        "remove its key 'crc32c' if the change is yours."
    )
