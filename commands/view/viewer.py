"""The state of neuroglancer that shows a volume: layers, dimensions, notes, and where it looks at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import neuroglancer
import numpy as np

from commands.view.notes import BAD, EVENED, SHIFTS, STEPS, Note, notes_of
from commands.view.published import PublishedVolume, read_transforms, worst_z
from components.shared.documents.transforms import Transforms
from components.shared.pictures.grey_levels import ALL_LEVELS
from components.shared.volume.slice_numbers import SliceNumbers

PANEL_PX = 450
"""Side of one of the four panels on a common screen; the volume is scaled to fit into it."""
_COLORS = {BAD: "#ff8a3d", STEPS: "#ff4fa3", EVENED: "#b6e04a", SHIFTS: "#4fc3f7"}
_GREY_SHADER = "#uicontrol invlerp normalized\nvoid main() {\n  emitGrayscale(normalized());\n}\n"
_CHANNELS_SHADER = """#uicontrol int channel slider(min=0, max=%d, default=0)
#uicontrol invlerp normalized
void main() {
  emitGrayscale(normalized(getDataValue(channel)));
}
"""
_COLOUR_SHADER = """#uicontrol invlerp red(channel=0)
#uicontrol invlerp green(channel=1)
#uicontrol invlerp blue(channel=2)
void main() {
  emitRGB(vec3(red(), green(), blue()));
}
"""
_COLOUR_CHANNELS = (3, 4)
"""Numbers of channels that are shown as colours: red, green and blue, and alpha as a fourth."""


@dataclass(frozen=True, slots=True)
class LayerSource:
    """A precomputed volume to show."""

    name: str
    url: str
    visible: bool
    n_channels: int = 1
    grey_range: tuple[float, float] = (0, 255)
    """Grey levels that are shown as black and white."""

    @property
    def shader(self) -> str:
        """Shader of the layer in neuroglancer: grey, in colours, or grey with a slider for the channel."""
        if self.n_channels == 1:
            return _GREY_SHADER
        return (
            _COLOUR_SHADER
            if self.n_channels in _COLOUR_CHANNELS
            else _CHANNELS_SHADER % (self.n_channels - 1)
        )

    @property
    def shader_controls(self) -> dict[str, Any]:
        names = ("red", "green", "blue") if self.n_channels in _COLOUR_CHANNELS else ("normalized",)
        return {name: {"range": list(self.grey_range)} for name in names}


def first_view(
    output: str,
    addresses: Mapping[str, str],
    volumes: Sequence[PublishedVolume],
    most_notes: int | None = None,
) -> tuple[neuroglancer.ViewerState, int]:
    """The whole volume, at the slice that agrees least with its neighbours, with notes on its slices.

    Args:
        output: Folder or URI of a finished run.
        addresses: Address of each volume, by its name.
        volumes: The first is shown, the others can be switched on.
        most_notes: Most notes in each layer; None for all.

    Returns:
        The state, and the number of notes that are left out of it.
    """
    transforms, finest_scale = read_transforms(output), volumes[0].info["scales"][0]
    layers = [
        _layer_of(volume, addresses[volume.name], transforms, visible=volume is volumes[0])
        for volume in volumes
    ]
    numbers = SliceNumbers.of(transforms, finest_scale)
    if transforms is None:
        return viewer_state(finest_scale, numbers, layers), 0
    notes = notes_of(transforms)
    kept = _first_of_each_layer(notes, most_notes)
    state = viewer_state(finest_scale, numbers, layers, kept)
    worst = worst_z(output)
    if worst is not None:
        state.position[2] = worst + 0.5
    return state, len(notes) - len(kept)


def side_by_side(states: Mapping[str, neuroglancer.ViewerState]) -> neuroglancer.ViewerState:
    """The states of several volumes in one, each in a panel of its own, looking at the same place.

    Args:
        states: By the output that each shows; the first says where to look.
    """
    together, *_ = (neuroglancer.ViewerState(state.to_json()) for state in states.values())
    together.layers.clear()
    panels = []
    for output, state in states.items():
        names = []
        for layer in state.layers:
            names.append(f"{output}: {layer.name}")
            together.layers.append(name=names[-1], layer=layer.layer, visible=layer.visible)
        panels.append(neuroglancer.LayerGroupViewer(layers=names, layout="xy"))
    together.layout = neuroglancer.row_layout(panels)
    return together


def _first_of_each_layer(notes: list[Note], most: int | None) -> list[Note]:
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


def _layer_of(
    volume: PublishedVolume, url: str, transforms: Transforms | None, *, visible: bool
) -> LayerSource:
    """The layer of a volume that is found at an address."""
    shown = transforms.intensity_range if transforms else ALL_LEVELS
    return LayerSource(
        name=volume.name,
        url=url,
        visible=visible,
        n_channels=volume.info["num_channels"],
        grey_range=shown if volume.info["data_type"] == "uint16" else (0, 255),
    )


def viewer_state(
    finest_scale: dict[str, Any],
    numbers: SliceNumbers,
    layers: list[LayerSource],
    notes: Sequence[Note] = (),
) -> neuroglancer.ViewerState:
    """The state that shows the whole volume, centred: x and y in voxels, z in slice numbers.

    Args:
        finest_scale: first entry of `scales` in the volume's `info`.
        numbers: the numbers of its slices.
        layers: what to show.
        notes: slices to frame by a box with a text.
    """
    size, resolution = finest_scale["size"], finest_scale["resolution"]
    sides = [*resolution[:2], resolution[2] / numbers.slices_per_voxel]
    state = neuroglancer.ViewerState()
    # Without explicit dimensions a voxel counts as a metre and the volume is a dot.
    state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=sides)
    middle_xy = [start + n / 2 for start, n in zip(numbers.first_xy, size[:2], strict=True)]
    state.position = [*middle_xy, numbers.first_z + numbers.n_slices / 2]
    extent = max(n * side for n, side in zip(size, resolution, strict=True)) / min(sides)
    state.cross_section_scale = extent / PANEL_PX
    state.projection_scale = 1.5 * extent
    state.layout = "4panel"
    for layer in layers:
        source = neuroglancer.LayerDataSource(url=f"precomputed://{layer.url}")
        if any(numbers.shift_xyz_voxels):
            source.transform = _moved(numbers.shift_xyz_voxels, resolution, layer.n_channels)
        state.layers.append(
            name=layer.name,
            layer=neuroglancer.ImageLayer(
                source=source,
                shader=layer.shader,
                shader_controls=layer.shader_controls,
            ),
            visible=layer.visible,
        )
    for name, color in _COLORS.items():
        of_layer = [note for note in notes if note.layer == name]
        if of_layer:
            layer = _notes_layer(numbers.first_xy, size[:2], state.dimensions, of_layer, color)
            state.layers.append(name=name, layer=layer)
    return state


def _moved(
    shift_xyz_voxels: Sequence[float], resolution_nm: Sequence[float], n_channels: int
) -> neuroglancer.CoordinateSpaceTransform:
    """The transform that moves a volume.

    Args:
        shift_xyz_voxels: Voxels of the finest level.
        resolution_nm: Sides of such a voxel.
        n_channels: The channels of a volume of several are a dimension of its source, too.
    """
    names, units, scales = ["x", "y", "z"], ["nm"] * 3, list(resolution_nm)
    if n_channels > 1:
        names, units, scales = [*names, "c^"], [*units, ""], [*scales, 1]
    matrix = np.eye(len(names), len(names) + 1)
    matrix[:3, -1] = shift_xyz_voxels
    space = neuroglancer.CoordinateSpace(names=names, units=units, scales=scales)
    return neuroglancer.CoordinateSpaceTransform(output_dimensions=space, matrix=matrix)


def _notes_layer(
    first_xy: tuple[int, int],
    size_xy: Sequence[int],
    dimensions: neuroglancer.CoordinateSpace,
    notes: Sequence[Note],
    color: str,
) -> neuroglancer.LocalAnnotationLayer:
    """A box around each slice that there is a note on; a point in its middle where many have one.

    Boxes around most slices of a thin stack would hide what they frame.
    """
    (left, top), (width, height) = first_xy, size_xy

    def mark(note: Note) -> neuroglancer.AnnotationBase:
        told = {"id": f"slice-{note.slice_z}", "description": note.text}
        start, end = note.slice_z, note.slice_z + 1
        if note.layer in (EVENED, SHIFTS):
            middle = [left + width / 2, top + height / 2, (start + end) / 2]
            return neuroglancer.PointAnnotation(point=middle, **told)
        return neuroglancer.AxisAlignedBoundingBoxAnnotation(
            point_a=[left, top, start], point_b=[left + width, top + height, end], **told
        )

    return neuroglancer.LocalAnnotationLayer(
        dimensions=dimensions, annotations=[mark(note) for note in notes], annotation_color=color
    )
