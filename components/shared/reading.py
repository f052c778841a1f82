"""Reads the documents of a run from storage."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from components.shared.documents import Document
from components.shared.errors import UserError
from components.shared.storage import Store, join_uri

AnyDocument = TypeVar("AnyDocument", bound=Document)


def read_document(store: Store, key: str, kind: type[AnyDocument]) -> AnyDocument:
    """Read a document, such as `read_document(process, "plan.json", Plan)`.

    Raises:
        UserError: there is no such document, or it is not of this version.
    """
    try:
        return kind.model_validate_json(store.read(key))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise UserError(
            f"{join_uri(store.uri, key)} must be a {kind.__name__} document of this version of fibstack; "
            f"got a fault at {where}: {first['msg'].lower()}. Choose another output, or the right file."
        ) from None
