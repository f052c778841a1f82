"""Base classes of a run's documents: frozen JSON, all keys known, sealed by a checksum of its own bytes."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from components.shared.given_file import STORED, CheckedModel
from components.shared.storage.store import checksum

_HEAD = b'{\n "crc32c": "'
"""Beginning of a sealed document; the eight hex digits of its checksum follow."""
_PAGE_HEAD, _PAGE_REST = b"<!DOCTYPE html>\n<!-- crc32c ", b" of what follows -->\n"
"""Beginning of a sealed page, before and after the eight hex digits."""
_DIGITS = 8


class Document(CheckedModel):
    """A frozen document whose keys are all known, and whose numbers JSON can hold."""

    model_config = ConfigDict(allow_inf_nan=False)


def without_empty(values: dict[str, Any], key: str) -> dict[str, Any]:
    """The values of a document without an entry that is empty, as they were written before there was the key.

    So hashes and files stay what they were where the entry does not matter.
    """
    return {name: value for name, value in values.items() if name != key or value}


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
        if self.crc32c == "":
            return True
        return data.startswith(_HEAD) and self.crc32c == checksum(data[len(_HEAD) + len(self.crc32c) :])


def is_damaged(data: bytes) -> bool:
    """True of the bytes of a sealed document whose checksum is of others."""
    digits = data[len(_HEAD) : len(_HEAD) + _DIGITS]
    if not data.startswith(_HEAD) or digits.startswith(b'"'):  # another document, or one without its checksum
        return False
    return digits.decode(errors="replace") != checksum(data[len(_HEAD) + _DIGITS :])


def sealed_page(html: str) -> bytes:
    """A page that carries the checksum of its own bytes, in a comment behind its first line.

    Args:
        html: The page; it begins with `<!DOCTYPE html>` on a line of its own.
    """
    rest = html.partition("\n")[2].encode()
    return _PAGE_HEAD + checksum(_PAGE_REST + rest).encode() + _PAGE_REST + rest


def is_sealed_page(data: bytes) -> bool:
    r"""True of a page that holds what was written, by the checksum that it carries.

    Example:
        >>> page = sealed_page("<!DOCTYPE html>\n<p>Fine.</p>")
        >>> is_sealed_page(page), is_sealed_page(page.replace(b"Fine", b"Bad"))
        (True, False)
    """
    start, end = len(_PAGE_HEAD), len(_PAGE_HEAD) + _DIGITS
    return data.startswith(_PAGE_HEAD) and data[start:end] == checksum(data[end:]).encode()
