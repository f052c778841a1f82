"""Base classes of a run's documents: frozen JSON, all keys known, sealed by a checksum of its own bytes."""

from __future__ import annotations

from pydantic import ConfigDict

from components.shared.given_file import STORED, CheckedModel
from components.shared.storage.store import checksum

_HEAD = b'{\n "crc32c": "'
"""Beginning of a sealed document; the eight hex digits of its checksum follow."""


class Document(CheckedModel):
    """A frozen document whose keys are all known, and whose numbers JSON can hold."""

    model_config = ConfigDict(allow_inf_nan=False)


class SealedDocument(Document):
    """A document that is an object in storage, and carries the checksum of its own bytes."""

    crc32c: str = ""
    """CRC-32C of the bytes that follow these digits in the file. Empty: nothing is checked, as in a document
    that a person has changed."""

    def to_json(self) -> bytes:
        """The document as indented JSON with its checksum, the same bytes for the same content.

        It is read back before it is handed out, so that nothing is written that no reader would take.

        Raises:
            ValidationError: a value was put into it past all checks, and no reader would take it.
        """
        unsealed = self.model_copy(update={"crc32c": ""}).model_dump_json(indent=1).encode() + b"\n"
        type(self).model_validate_json(unsealed, context=STORED)
        rest = unsealed.removeprefix(_HEAD)
        return _HEAD + checksum(rest).encode() + rest

    def vouches_for(self, data: bytes) -> bool:
        """True where the document names no checksum, or that of the bytes `data`, from which it was read."""
        return self.crc32c in ("", checksum(data[len(_HEAD) + len(self.crc32c) :]))
