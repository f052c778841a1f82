"""What `fibstack view` and `fibstack link` show at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import neuroglancer

from commands.view.published import PublishedVolume, read_transforms, worst_z
from commands.view.viewer import Note, notes_of, slice_in_voxels, viewer_state


def first_view(
    output: str,
    addresses: Mapping[str, str],
    volumes: Sequence[PublishedVolume],
    most_notes: int | None = None,
) -> tuple[neuroglancer.ViewerState, int]:
    """The whole volume, at the slice that agrees least with its neighbours, with notes on its slices.

    Args:
        output: Folder or URI of a finished run.
        addresses: Of each volume, by its name.
        volumes: The first is shown, the others can be switched on.
        most_notes: In each layer; None for all.

    Returns:
        The state, and the number of notes that it leaves out.
    """
    transforms, finest_scale = read_transforms(output), volumes[0].info["scales"][0]
    layers = [
        volume.layer(addresses[volume.name], transforms, visible=volume is volumes[0]) for volume in volumes
    ]
    if transforms is None:
        return viewer_state(finest_scale, layers), 0
    notes = notes_of(transforms, finest_scale)
    kept = _first(notes, most_notes)
    state = viewer_state(finest_scale, layers, kept)
    worst = worst_z(output)
    if worst is not None:
        state.position[2] = slice_in_voxels(worst + 0.5, transforms, finest_scale)
    return state, len(notes) - len(kept)


def _first(notes: list[Note], most: int | None) -> list[Note]:
    """The first notes of each layer."""
    if most is None:
        return notes
    n_of_layer: dict[str, int] = {}
    kept = []
    for note in notes:
        n_of_layer[note.layer] = n_of_layer.get(note.layer, 0) + 1
        if n_of_layer[note.layer] <= most:
            kept.append(note)
    return kept
