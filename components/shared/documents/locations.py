"""Roots of the places that a run reads from and writes to."""

from __future__ import annotations

from components.shared.documents.config import RunConfig
from components.shared.given_file import CheckedModel
from components.shared.storage.run_buckets import output_with, part_uri


class Locations(CheckedModel):
    """The roots of a run: folders below one output URI, or separate buckets."""

    source_uri: str
    neuroglancer_uri: str
    chunk_uri: str
    ome_zarr_uri: str
    process_uri: str
    tmp_uri: str


def locations_of(config: RunConfig) -> Locations:
    """Roots of the run with a configuration.

    Example:
        >>> config = RunConfig(source="gs://em/raw", image="%d.png", minz=0, maxz=1, output="gs://em/out")
        >>> locations_of(config).tmp_uri
        'gs://em/out/tmp'
    """
    return locations_in(config.output, config.source)


def locations_in(output: str, source_uri: str) -> Locations:
    """Roots of a run whose output lies at a place, wherever it was written."""
    return Locations(
        source_uri=source_uri,
        neuroglancer_uri=part_uri(output, "neuroglancer"),
        chunk_uri=part_uri(output, "chunk"),
        ome_zarr_uri=part_uri(output, "ome-zarr"),
        process_uri=part_uri(output, "process"),
        tmp_uri=part_uri(output, "tmp"),
    )


def found_at(config: RunConfig, process_uri: str) -> RunConfig:
    """The configuration of a run with the place where its output lies now, moved or copied since or not.

    Args:
        config: The configuration, as the run left it.
        process_uri: Where the records of the output lie.
    """
    from components.shared.storage.registry import place_of  # here: a laptop that only submits has no storage

    output = output_with(process_uri)
    if output is None or place_of(part_uri(config.output, "process")) == process_uri:
        return config
    return config.model_copy(update={"output": output})
