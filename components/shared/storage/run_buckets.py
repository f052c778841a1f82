"""Locations of the parts of an output: folders below one URI, or a bucket for each kind of result.

The output `gs://SOURCE_*_ID` stands for buckets named after the bucket of the slices and the run:

    SOURCE_ng_ID     volumes to browse (`jpeg`, `raw`, `ome-zarr`)
    SOURCE_chunk_ID  the lossless volume
    SOURCE_tmp_ID    aligned tiles
    SOURCE_process   records, of all runs on this source; those of one below ID/
"""

from __future__ import annotations

import re
from typing import Literal

from components.shared.errors import ConfigError
from components.shared.storage.schemes import bucket_of, scheme_of

Part = Literal["neuroglancer", "chunk", "ome-zarr", "process", "tmp"]
_OUTPUT = re.compile(r"gs://([^/*]+)_\*_([^/*]+)/?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]*[a-z0-9]")
_ID = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_MAX_NAME = 63


def run_buckets_output(source: str, run_id: str) -> str | None:
    """The output that stands for the buckets of a run; None where the slices lie in no bucket.

    Args:
        source: `gs://bucket/folder`, or the bare name of a bucket.
        run_id: Name of the run.

    Raises:
        ConfigError: a bucket cannot be named after the run.

    Example:
        >>> run_buckets_output("gs://em/raw", "run1"), run_buckets_output("/data/em", "run1")
        ('gs://em_*_run1', None)
    """
    bucket = bucket_of(source) if scheme_of(source).cloud == "google" else source
    if not _BUCKET.fullmatch(bucket):
        return None
    if not _ID.fullmatch(run_id):
        raise ConfigError(
            f"'id' must be lower-case letters, digits, '-' and '_' where buckets are named after it; got "
            f"'{run_id}'. Change 'id', or give 'output'."
        )
    longest = max(f"{bucket}_chunk_{run_id}", f"{bucket}_process", key=len)
    if len(longest) > _MAX_NAME:
        raise ConfigError(
            f"'id' must leave the names of buckets at most {_MAX_NAME} characters; got {longest}. "
            f"Shorten 'id', or give 'output'."
        )
    return f"gs://{bucket}_*_{run_id}"


def bucket_uri(source: str) -> str:
    """The URI of a bucket that may be given by its bare name.

    Example:
        >>> bucket_uri("em"), bucket_uri("gs://em/raw")
        ('gs://em', 'gs://em/raw')
    """
    return source if "://" in source else f"gs://{source}"


def run_buckets_of(output: str) -> tuple[str, str] | None:
    """The source's bucket and the run that an output names; None for an output below one URI.

    Example:
        >>> run_buckets_of("gs://em_*_run1"), run_buckets_of("gs://em/out")
        (('em', 'run1'), None)
    """
    found = _OUTPUT.fullmatch(output)
    return (found[1], found[2]) if found else None


def part_uri(output: str, part: Part) -> str:
    """The URI of a part of an output.

    Example:
        >>> part_uri("gs://em/out/", "chunk"), part_uri("gs://em_*_run1", "chunk")
        ('gs://em/out/chunk', 'gs://em_chunk_run1')
        >>> part_uri("gs://em_*_run1", "process")
        'gs://em_process/run1'
    """
    named = run_buckets_of(output)
    if named is None:
        return f"{output.rstrip('/')}/{part}"
    source, run_id = named
    return {
        "neuroglancer": f"gs://{source}_ng_{run_id}",
        "chunk": f"gs://{source}_chunk_{run_id}",
        "ome-zarr": f"gs://{source}_ng_{run_id}/ome-zarr",
        "process": f"gs://{source}_process/{run_id}",
        "tmp": f"gs://{source}_tmp_{run_id}",
    }[part]
