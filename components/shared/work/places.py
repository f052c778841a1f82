"""Names of the places of an output, by which its records and notes tell where a file lies.

A name such as `neuroglancer/jpeg` counts from the output. So an output that was copied, moved or mounted
elsewhere is whole where it lies now, and what is removed in a copy is the copy's own. Records of earlier
versions name URIs: these are taken for the same place of the output whose record it is.
"""

from __future__ import annotations

import re
from typing import cast

from components.shared.storage.registry import place_of
from components.shared.storage.run_buckets import Part, output_with, part_uri
from components.shared.storage.store import join_uri
from components.shared.volume.volume import RAW_TILES_KEY, TILES_KEY

PROCESS = "process"
"""Name of the place of documents and records."""
VOLUMES = (
    *("neuroglancer/jpeg", "neuroglancer/raw", "chunk", "ome-zarr"),
    *(f"tmp/{TILES_KEY}", f"tmp/{RAW_TILES_KEY}"),
)
"""Names of the places where parts of a volume are written."""
_NAMES = (*VOLUMES, PROCESS)
_BELOW_ONE_URI = re.compile(rf"(?:.*[^/])?/({'|'.join(_NAMES)})")
_IN_A_BUCKET = re.compile(
    r"gs://[^/]+_(?:(ng|chunk|tmp)_[^/]+|(process)/[^/]+)((?:/[^/]+)?)"
    r"|s3://[^/]+-(?:(ng|chunk|tmp)-[^/]+|(process)/[^/]+)((?:/[^/]+)?)"
)
"""A place of an output that is spread over buckets."""


def place_at(name: str, process_uri: str) -> str:
    """The URI of a place of an output, where that lies now.

    Args:
        name: Name of the place, or its URI where it was written.
        process_uri: Where the records of the output lie.

    Example:
        >>> place_at("chunk", "gs://em/out/process"), place_at("neuroglancer/raw", "gs://em_process/run1")
        ('gs://em/out/chunk', 'gs://em_ng_run1/raw')
        >>> place_at("/lab/out/chunk", "gs://em/out/process"), place_at("/lab/raw", "gs://em/out/process")
        ('gs://em/out/chunk', '/lab/raw')
    """
    output = output_with(process_uri)
    if output is None or place_name(name, process_uri) != name:
        return name
    known = name if name in _NAMES else _name_of(name)
    return name if known is None else _uri(output, known)


def place_name(uri: str, process_uri: str) -> str:
    """The name of a place by the URI at which it lies; the URI itself of what is no place of the output.

    Args:
        uri: The URI, as the store there tells it.
        process_uri: Where the records of the output lie.

    Example:
        >>> [place_name(f"gs://em/{key}", "gs://em/out/process") for key in ("out/chunk", "raw")]
        ['chunk', 'gs://em/raw']
    """
    output = output_with(process_uri)
    names = (name for name in _NAMES if output is not None and _uri(output, name) == uri)
    return next(names, uri)


def _uri(output: str, name: str) -> str:
    part, _, rest = name.partition("/")
    # A part may be a link to another disk.
    return place_of(join_uri(part_uri(output, cast("Part", part)), *([rest] if rest else [])))


def _name_of(uri: str) -> str | None:
    """The name of a place of any output, by its URI.

    Example:
        >>> [_name_of(uri) for uri in ("/lab/tmp/aligned", "gs://em_ng_run1/ome-zarr", "gs://em_process/run1")]
        ['tmp/aligned', 'ome-zarr', 'process']
        >>> [_name_of(uri) for uri in ("gs://chunk", "gs://em_ng_run1", "/lab/chunks")]
        [None, None, None]
    """
    found = _BELOW_ONE_URI.fullmatch(uri)
    if found is not None:
        return found[1]
    in_bucket = _IN_A_BUCKET.fullmatch(uri)
    if in_bucket is None:
        return None
    kind, process, rest, *of_s3 = in_bucket.groups()
    kind, process, rest = (kind, process, rest) if kind or process else of_s3
    name = f"{'neuroglancer' if kind == 'ng' else kind or process}{rest}"
    name = "ome-zarr" if name == "neuroglancer/ome-zarr" else name
    return name if name in _NAMES else None
