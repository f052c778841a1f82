"""The scratch folders of a stub: one below each part of an output, where no run reads or writes.

The name has a dot, which the name of a run cannot have where it is a folder of the records; so the URI of the
records alone tells a program that it is part of a stub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.shared.errors import ConfigError, FibstackError
from components.shared.storage.folder import remove_empty_folders
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import Part, part_uri
from components.shared.storage.store import join_uri

_PREFIX = "stub."
_NAME = re.compile(r"[0-9a-z]{4,32}")
_ALWAYS: tuple[Part, ...] = ("process", "tmp", "neuroglancer", "chunk")


def stub_of(process_uri: str) -> str:
    """The stub whose records lie at a URI; empty for those of a run.

    Example:
        >>> stub_of("gs://em/out/process/stub.1f00"), stub_of("gs://em_process/stub-1f00")
        ('1f00', '')
    """
    folder = process_uri.rstrip("/").rpartition("/")[2]
    return folder.removeprefix(_PREFIX) if folder.startswith(_PREFIX) else ""


def is_in_scratch(key: str) -> bool:
    """Whether an object of a part of an output lies in the scratch folder of a stub, by its key there.

    Example:
        >>> is_in_scratch("stub.1f00/stub.json"), is_in_scratch("plan.json")
        (True, False)
    """
    return stub_of(key.partition("/")[0]) != ""


def scratch_uris(output: str, stub: str, *, ome_zarr: bool) -> dict[Part, str]:
    """The scratch folder of a stub in each part of an output.

    Args:
        output: The output of the run that is tried.
        stub: Name of the stub.
        ome_zarr: That run writes OME-Zarr too.

    Raises:
        ConfigError: the name is none of a stub.

    Example:
        >>> scratch_uris("gs://em/out", "1f00", ome_zarr=False)["tmp"]
        'gs://em/out/tmp/stub.1f00'
    """
    if not _NAME.fullmatch(stub):
        raise ConfigError(
            f"the name of a stub must be 4 to 32 letters and digits; got {stub!r}. Let 'fibstack submit "
            "--stub' choose it."
        )
    parts = (*_ALWAYS, "ome-zarr") if ome_zarr else _ALWAYS
    return {part: join_uri(part_uri(output, part), f"{_PREFIX}{stub}") for part in parts}


def remove_scratch(uris: Mapping[Part, str]) -> dict[Part, FibstackError]:
    """Remove scratch folders with all that lies in them, and folders of parts that were made for them.

    Returns:
        Why something stays, by the part in which it does.
    """
    kept: dict[Part, FibstackError] = {}
    for part, uri in uris.items():
        root, _, folder = uri.rpartition("/")
        try:
            store = open_store(root)
            keys = [found.key for found in store.list(f"{folder}/")]
            in_parallel(store.delete, keys)
            remove_empty_folders(root, [*keys, f"{folder}/any"])
        except FibstackError as error:
            kept[part] = error
    return kept
