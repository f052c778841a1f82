"""Makes a verified volume visible, and withdraws one that is not whole."""

from __future__ import annotations

from components.shared.documents.locations import Locations
from components.shared.storage.registry import open_store
from components.shared.storage.store import join_uri
from components.shared.volume import ome_zarr, precomputed
from components.shared.volume.layout import metadata_files
from components.shared.volume.volume import Volume


def publish(volume: Volume) -> None:
    """Write the metadata of every output: from now on viewers find the volume."""
    for output in volume.outputs:
        store = open_store(output.uri)
        for key, content in metadata_files(volume, output).items():
            store.write(key, content)


def withdraw(volume: Volume) -> list[str]:
    """Remove the file by which viewers find each volume of an earlier run; returns the URIs that had it."""
    withdrawn = []
    for output in volume.outputs:
        store, (*_, last) = open_store(output.uri), metadata_files(volume, output)
        if store.stat(last) is not None:
            store.delete(last)
            withdrawn.append(output.uri)
    return withdrawn


def withdraw_unwritten(volume: Volume, locations: Locations) -> list[str]:
    """Withdraw the volumes that only an earlier run with other options wrote; returns their URIs.

    Beside a volume of this run, they would show the slices where they lay before. Their shards stay.
    """
    withdrawn = []
    for uri, key in volumes_left_alone(volume, locations):
        store = open_store(uri)
        if store.stat(key) is not None:
            store.delete(key)
            withdrawn.append(join_uri(uri, key).removesuffix(f"/{key.rpartition('/')[2]}"))
    return withdrawn


def volumes_left_alone(volume: Volume, locations: Locations) -> list[tuple[str, str]]:
    """Root and metadata of each volume that an earlier run could have written beside this one.

    They are the files by which readers find a volume, those of every version of OME-Zarr.
    """
    folders = sorted({version.image_folder for version in ome_zarr.VERSIONS.values()}, reverse=True)
    found_by = [
        (join_uri(locations.neuroglancer_uri, "raw"), precomputed.INFO_KEY),
        *((locations.ome_zarr_uri, f"{folder}{ome_zarr.METADATA_KEY}") for folder in folders),
    ]
    written = {(output.uri, key) for output in volume.outputs for key in metadata_files(volume, output)}
    return sorted(set(found_by) - written)
