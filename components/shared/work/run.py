"""A run whose transforms are known: its documents, its volume, and the hashes of its slabs and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from components.shared.documents.plan import Plan, plan_in
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.steps import RESULT_VERSIONS
from components.shared.storage.store import Store
from components.shared.volume.volume import Volume, volume_of
from components.shared.work.units import block_hash, slab_hash, slab_hashes


@dataclass(frozen=True)
class Run:
    """A run after `compose`: what it writes, and the hash of each unit of that."""

    process: Store
    """Store of the documents and the records."""
    plan: Plan
    transforms: Transforms
    volume: Volume
    """Volume that the two documents describe."""
    versions: Mapping[str, int] = field(default_factory=lambda: RESULT_VERSIONS)
    """Result version by step; older ones tell which version wrote a record."""

    @classmethod
    def of(
        cls,
        process: Store,
        plan: Plan,
        transforms: Transforms,
        versions: Mapping[str, int] = RESULT_VERSIONS,
    ) -> Self:
        """The run that a plan and its transforms describe.

        Raises:
            ConfigError: its volume would have too many levels.
        """
        return cls(process, plan, transforms, volume_of(plan, transforms), versions)

    @classmethod
    def read(cls, process: Store) -> Self:
        """The run whose documents lie in a store.

        Raises:
            UserError: a document is missing or not one of this version.
        """
        plan = plan_in(process)
        return cls.of(process, plan, read_document(process, TRANSFORMS_KEY, Transforms))

    def slab_hash(self, slab: int) -> str:
        """Input hash of one slab; of many, `slab_hashes` is cheaper."""
        return slab_hash(self.plan, self.transforms, self.volume, slab, self.versions)

    @cached_property
    def slab_hashes(self) -> list[str]:
        """Input hash of every slab."""
        return slab_hashes(self.plan, self.transforms, self.volume, self.versions)

    def block_hash(self, level: int, block: int) -> str:
        """Input hash of a block of the pass that starts at `level`."""
        return block_hash(self.plan, self.volume, level, block, self.slab_hashes, self.versions)
