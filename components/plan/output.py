"""Checks, before anything is written, that the output is this run's to write to."""

from __future__ import annotations

from components.shared.documents.config import RunConfig
from components.shared.documents.locations import Locations
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, join_uri
from components.shared.volume.volume import tile_arrays
from components.shared.work.export import EXPORT_KEY


def written_uris(locations: Locations) -> tuple[str, ...]:
    """Places that a run writes to."""
    return (
        locations.neuroglancer_uri,
        locations.chunk_uri,
        locations.ome_zarr_uri,
        locations.process_uri,
        locations.tmp_uri,
    )


def check_source_apart(config: RunConfig, locations: Locations) -> None:
    """Refuse slices that lie where a run writes and cleans up.

    Raises:
        UserError: they do.
    """
    for pattern in (config.image, *config.more_channels):
        folder = join_uri(locations.source_uri, *pattern.split("/")[:-1])
        slices_uri = open_store(folder).uri + "/"
        for uri in written_uris(locations):
            if slices_uri.startswith(open_store(uri).uri + "/"):
                raise UserError(
                    f"the slices must lie outside of what a run writes; got {folder}, where {uri} is "
                    f"written. Choose another output."
                )


def check_no_export(config: RunConfig, locations: Locations) -> None:
    """Refuse an output that `fibstack export` has written: its volume is not this run's to change.

    Raises:
        UserError: the output holds an exported volume.
    """
    if open_store(locations.process_uri).stat(EXPORT_KEY) is not None:
        raise UserError(
            f"the output must not hold an exported volume; got {config.output}. Choose another output, or "
            f"delete that volume."
        )


def check_same_stack(process: Store, plan: Plan) -> None:
    """Refuse to mix the results of two stacks in one output.

    Args:
        process: Where the plan of an earlier run lies.
        plan: The plan of this run.

    Raises:
        UserError: the earlier plan is of another stack.
    """
    old = read_document(process, PLAN_KEY, Plan)
    if _stack_of(old) != _stack_of(plan):
        raise UserError(
            f"an output must hold one stack; got {_stack_of(plan)} where there is {_stack_of(old)} "
            f"in {process.uri}. Choose another output."
        )


def _stack_of(plan: Plan) -> str:
    """A stack in words: source, name patterns, range and, of more than 8 bit, kind of voxels."""
    config = plan.config
    patterns = " with ".join((config.image, *config.more_channels))
    exact = tile_arrays(plan)[-1]
    kind = f" of {exact.n_channels} x {exact.data_type}" if exact.bytes_per_voxel > 1 else ""
    return f"{join_uri(open_store(config.source).uri, patterns)} {config.minz} to {config.maxz}{kind}"
