"""The finished volumes of an output, as viewers see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.shared.documents.preview import PREVIEW_KEY, Preview
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import Store, join_uri


@dataclass(frozen=True, slots=True)
class PublishedVolume:
    """A precomputed volume that has its `info`, so that viewers find it."""

    name: str
    store: Store
    info: dict[str, Any]


def find_volumes(output: str) -> list[PublishedVolume]:
    """The volume to browse, and a lossless one if there is one: the whole pyramid rather than one level.

    Args:
        output: Folder or URI of a finished run.

    Raises:
        UserError: there is no finished volume.
    """
    browse = part_uri(output, "neuroglancer")
    shown = _volume("jpeg", join_uri(browse, "jpeg"))
    if shown is None:
        raise UserError(
            f"a finished volume must be there to look at; got no info in {join_uri(browse, 'jpeg')}. "
            f"Check the path; {part_uri(output, 'process')}/report/index.html says what became of a run."
        )
    lossless = _volume("raw", join_uri(browse, "raw")) or _volume("chunk", part_uri(output, "chunk"))
    return [shown, lossless] if lossless else [shown]


def address_of(output: str, uri: str) -> str:
    """The address by which pages on the web read a volume.

    Args:
        output: The output that it is of.
        uri: Its URI.

    Raises:
        UserError: they cannot.
    """
    if scheme_of(uri).opens_in_neuroglancer:
        return uri
    from commands.share.access_of_s3 import public_address

    return public_address(output, uri)


def _volume(name: str, uri: str) -> PublishedVolume | None:
    store = open_store(uri)
    if store.stat("info") is None:
        return None
    return PublishedVolume(name, store, json.loads(store.read("info")))


def read_transforms(output: str) -> Transforms | None:
    """The transforms of a volume; None where it lies there without the records of its run."""
    process = open_store(part_uri(output, "process"))
    return (
        None if process.stat(TRANSFORMS_KEY) is None else read_document(process, TRANSFORMS_KEY, Transforms)
    )


def worst_z(output: str) -> int | None:
    """The slice that agrees least with its neighbours; None where nobody has looked."""
    process = open_store(part_uri(output, "process"))
    if process.stat(PREVIEW_KEY) is None:
        return None
    worst = read_document(process, PREVIEW_KEY, Preview).worst
    return worst[0].z if worst else None
