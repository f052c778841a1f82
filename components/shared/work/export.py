"""Exports: volumes that are made from the lossless volume of another output.

`plan.json` and `transforms.json` of an export are those of its source, as they hold for the new volume: they
give its size, its levels and where each slice lies in it. `export.json` says what was done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from components.shared.documents.plan import Plan
from components.shared.documents.sealed import Document, SealedDocument
from components.shared.documents.transforms import Transforms
from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.store import join_uri
from components.shared.volume.volume import Volume, volume_of
from components.shared.work.records import input_hash

EXPORT_KEY = "export.json"
"""Key below the process URI."""
Range = tuple[int, int]
"""First voxel of a range, and its end, which is excluded."""


class LeftOut(Document):
    """A slice that an export leaves out, and the slice that it shows in its place."""

    z: int
    shown_z: int


class ShownPart(SealedDocument):
    """The part of a lossless volume that an export shows, and in which grey levels."""

    schema_version: Literal[1] = 1
    source: str
    """URI of that output."""
    source_hash: str
    """Hash of all that the source's blocks depend on."""
    contrast: tuple[float, float] | None
    """Grey levels that are shown as 0 and 255; None where they stay as they are."""
    crop_xyz: tuple[Range, Range, Range]
    """First voxel and end along x, y and z, counted from the first voxel of the source."""
    left_out: tuple[LeftOut, ...]


class Export(ShownPart):
    """`process/export.json`: how a volume was made from the lossless one of another output."""

    jpeg_quality: int
    first_source: str = Field(default="", exclude_if=lambda first: not first)
    """URI of that output when the export began; empty where it has not been moved since."""
    lossless: bool
    """The export writes the lossless `chunk` too, not the JPEG alone."""


def export_hash(export: Export, level: int, block: int, versions: Mapping[str, int] = RESULT_VERSIONS) -> str:
    """Input hash of a block of the pass that starts at `level`."""
    content = as_begun(export).model_dump_json(exclude={"crc32c"})
    return input_hash(str(versions["pyramid"]), content, f"{level}/{block}")


def as_begun(export: Export) -> Export:
    """An export as it was when it began: hashes name its source as that was called then."""
    first = {"source": export.first_source or export.source, "first_source": ""}
    return export.model_copy(update=first)


def exported_volume(export: Export, plan: Plan, transforms: Transforms) -> Volume:
    """The volume of an export, given the documents that it has written."""
    volume = volume_of(plan, transforms)
    wanted = {join_uri(plan.locations.neuroglancer_uri, "jpeg")}
    if export.lossless:
        wanted.add(plan.locations.chunk_uri)
    return dataclasses.replace(volume, outputs=tuple(o for o in volume.outputs if o.uri in wanted))
