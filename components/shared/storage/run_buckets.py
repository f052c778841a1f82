"""Locations of the parts of an output: folders below one URI, or a bucket for each kind of result.

The output `gs://SOURCE_*_ID` stands for buckets named after the bucket of the slices and the run:

    SOURCE_ng_ID     volumes to browse (`jpeg`, `raw`, `ome-zarr`)
    SOURCE_chunk_ID  the lossless volume
    SOURCE_tmp_ID    aligned tiles
    SOURCE_process   records, of all runs on this source; those of one below ID/

So does `s3://SOURCE-*-ID`, with dashes: names of buckets of S3 have no underscores.
"""

from __future__ import annotations

import re
from typing import Literal

from components.shared.errors import ConfigError
from components.shared.storage.schemes import bucket_of, scheme_of

Part = Literal["neuroglancer", "chunk", "ome-zarr", "process", "tmp"]
_JOINTS = {"gs": "_", "s3": "-"}
"""Separators of the words of a bucket's name, by scheme."""
_OUTPUT = re.compile(r"(?:gs://([^/*]+)_\*_|s3://([^/*]+)-\*-)([^/*]+)/?")
_PROCESS = re.compile(r"gs://([^/*]+)_process/([^/]+)|s3://([^/*]+)-process/([^/]+)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]*[a-z0-9]")
_ID = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_MAX_NAME = 63


def run_buckets_output(source: str, run_id: str) -> str | None:
    """The output that stands for the buckets of a run; None where the slices lie in no bucket.

    Args:
        source: `gs://bucket/folder`, `s3://bucket/folder`, or the bare name of a bucket of Google's.
        run_id: Name of the run.

    Raises:
        ConfigError: a bucket cannot be named after the run.

    Example:
        >>> run_buckets_output("gs://em/raw", "run1"), run_buckets_output("s3://em/raw", "run1")
        ('gs://em_*_run1', 's3://em-*-run1')
        >>> run_buckets_output("/data/em", "run1")
    """
    scheme = scheme_of(source).name if scheme_of(source).cloud else "gs"
    bucket = bucket_of(source) if scheme_of(source).cloud else source
    if not _BUCKET.fullmatch(bucket):
        return None
    joint = _JOINTS[scheme]
    letters = (
        "lower-case letters, digits, '-' and '_'" if scheme == "gs" else "lower-case letters, digits and '-'"
    )
    if not _ID.fullmatch(run_id) or (scheme == "s3" and "_" in run_id):
        raise ConfigError(
            f"'id' must be {letters} where buckets are named after it; got '{run_id}'. Choose another "
            "with --set id=NAME, or add --output."
        )
    longest = max(f"{bucket}{joint}chunk{joint}{run_id}", f"{bucket}{joint}process", key=len)
    if len(longest) > _MAX_NAME:
        raise ConfigError(
            f"'id' must leave the names of buckets at most {_MAX_NAME} characters; got {longest}. "
            f"Choose a shorter one with --set id=NAME, or add --output."
        )
    return f"{scheme}://{bucket}{joint}*{joint}{run_id}"


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
        >>> run_buckets_of("gs://em_*_run1"), run_buckets_of("s3://em-*-run1"), run_buckets_of("gs://em/out")
        (('em', 'run1'), ('em', 'run1'), None)
    """
    found = _OUTPUT.fullmatch(output)
    return (found[1] or found[2], found[3]) if found else None


def part_uri(output: str, part: Part) -> str:
    """The URI of a part of an output.

    Example:
        >>> part_uri("gs://em/out/", "chunk"), part_uri("gs://em_*_run1", "chunk")
        ('gs://em/out/chunk', 'gs://em_chunk_run1')
        >>> part_uri("gs://em_*_run1", "process"), part_uri("s3://em-*-run1", "tmp")
        ('gs://em_process/run1', 's3://em-tmp-run1')
    """
    named = run_buckets_of(output)
    if named is None:
        return f"{output.rstrip('/')}/{part}"
    source, run_id = named
    scheme = scheme_of(output).name
    joint = _JOINTS[scheme]
    kind = {"neuroglancer": "ng", "ome-zarr": "ng"}.get(part, part)
    if part == "process":
        return f"{scheme}://{source}{joint}process/{run_id}"
    bucket = f"{scheme}://{source}{joint}{kind}{joint}{run_id}"
    return f"{bucket}/ome-zarr" if part == "ome-zarr" else bucket


def output_with(process_uri: str) -> str | None:
    """The output whose records lie at a URI; None where that does not tell it.

    Example:
        >>> output_with("gs://em/out/process"), output_with("gs://em_process/run1"), output_with("/lab/run")
        ('gs://em/out', 'gs://em_*_run1', None)
        >>> output_with("gs://em_process/process")  # of the run `process`, or of the output gs://em_process
    """
    of_run = _PROCESS.fullmatch(process_uri)
    below = re.fullmatch(r"(.*[^/]|)/process", process_uri)
    if of_run is not None and below is not None:
        return None
    if of_run is None:
        return None if below is None else below[1] or "/"
    joint = _JOINTS[scheme_of(process_uri).name]
    return f"{scheme_of(process_uri).name}://{of_run[1] or of_run[3]}{joint}*{joint}{of_run[2] or of_run[4]}"
