"""The provenance of a volume: what it was made of and how, for who finds it without its run.

It lies beside `info` as the file `provenance`, which cloud-volume reads, and among the attributes of OME-Zarr
0.6. A volume is often public where its run is not: the provenance names no folder of a machine, no address of
a person and no place that results went to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.shared.documents.config import RunConfig
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.steps import release
from components.shared.storage.schemes import folder_of
from components.shared.text import product

PROVENANCE_KEY = "provenance"
_TOLD_TEXTS = frozenset({"image"})
"""Keys of the configuration with a text of any kind that are told; all others name places or people."""
_UNTOLD = frozenset({"decided", "keep_tiles"})
"""Other keys that a volume does not depend on."""
_VERSION = re.compile(rb'("fibstack_version": *)"[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The provenance of the volume of a run."""

    source: str = ""
    """Bucket of the slices, or the name of their folder."""
    facts: str = ""
    """Sentences on its slices and its voxels."""
    lossless_grey_levels: str = ""
    """Sentence on the numbers in the lossless volumes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Configuration that it was made with."""

    @classmethod
    def of(cls, plan: Plan, transforms: Transforms) -> Provenance:
        """The provenance of the volume that a plan and its transforms ask for."""
        config, first_z = plan.config, transforms.volume_origin_xyz_px[2]
        folder = folder_of(config.source)
        last_z = first_z + transforms.volume_size_xyz[2] - 1
        numbers = f"Slices {first_z} to {last_z} of a FIB-SEM stack, aligned."
        voxel = f"Voxels of {product(plan.resolution_nm)} nm, {plan.voxel.source}."
        return cls(
            source=config.source if folder is None else folder.name,
            facts=f"{numbers} {voxel}",
            lossless_grey_levels=plan.lossless_grey_levels,
            settings={
                key: value
                for key, value in config.model_dump(mode="json").items()
                if key in _TOLD_TEXTS or not (key in _UNTOLD or RunConfig.model_fields[key].annotation is str)
            },
        )

    def as_layer(self, *, jpeg_quality: int) -> dict[str, Any]:
        """The provenance of one volume, in the form that cloud-volume reads.

        Args:
            jpeg_quality: That of its chunks; 0 where they are lossless.
        """
        jpeg = f"This volume is JPEG of quality {jpeg_quality}, to look at and not to measure grey levels in."
        return {
            "description": f"{self.facts} {jpeg if jpeg_quality else self.lossless_grey_levels}",
            "owners": [],
            "sources": [self.source] if self.source else [],
            "processing": [
                {
                    "method": "fibstack",
                    "fibstack_version": release(),
                    "settings": {
                        key: value
                        for key, value in self.settings.items()
                        if jpeg_quality or key != "jpeg_quality"  # a lossless volume does not depend on it
                    },
                }
            ],
        }


def provenance_file(provenance: Provenance, *, jpeg_quality: int) -> bytes:
    """The file `provenance` of a volume."""
    return (json.dumps(provenance.as_layer(jpeg_quality=jpeg_quality), indent=1) + "\n").encode()


def without_version(metadata: bytes) -> bytes:
    """Metadata without the version of fibstack that has written them, which a later one need not be.

    Example:
        >>> without_version(b'{"fibstack_version": "1.4.0", "settings": {}}')
        b'{"fibstack_version": "", "settings": {}}'
    """
    return _VERSION.sub(rb'\1""', metadata)
