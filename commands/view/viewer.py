"""What neuroglancer is told about a volume: its layers, its dimensions, where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import neuroglancer

from commands.view.shifts import largest_shifts
from components.shared.documents.transforms import Transforms
from components.shared.grid import ceil_div

PANEL_PX = 450
"""About the side of one of the four panels on a common screen: the volume fits into it at first."""
BAD, STEPS, SHIFTS = "bad and replaced slices", "steps", "largest shifts"
"""Layers of notes."""
_COLORS = {BAD: "#ff8a3d", STEPS: "#ff4fa3", SHIFTS: "#4fc3f7"}
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
"""Red, green and blue; a fourth channel is alpha."""


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
        """How neuroglancer draws it: grey, in colours, or grey with a slider for the channel."""
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


@dataclass(frozen=True, slots=True)
class Note:
    """What there is to say about a slice of the volume."""

    layer: str
    slice_z: int
    z_range: tuple[float, float]
    """In voxels of the finest level that is there."""
    text: str


def notes_of(transforms: Transforms, finest_scale: dict[str, Any]) -> list[Note]:
    """Notes on the slices that are not good, or of which something else is shown; then the largest shifts."""

    def note(layer: str, z: int, text: str) -> Note:
        ends = (slice_in_voxels(end, transforms, finest_scale) for end in (z, z + 1))
        return Note(layer, z, (next(ends), next(ends)), text)

    stand_out = [
        note(
            STEPS if s.verdict == "step" else BAD,
            s.z,
            f"{s.description}{f' ({s.evidence})' if s.evidence else ''}",
        )
        for s in transforms.slices
        if s.verdict != "good" or s.action != "keep"
    ]
    shifts = [
        note(SHIFTS, shift.z, f"slice {shift.z}: shift {shift.px:.1f} px against {shift.against_z}")
        for shift in largest_shifts(transforms)
    ]
    return stand_out + shifts


def slice_in_voxels(z: float, transforms: Transforms, finest_scale: dict[str, Any]) -> float:
    """Where a slice begins along z, in voxels of the finest level that is there."""
    # Where level 0 is not written, a voxel holds a power of two of slices.
    per_voxel = 1
    while ceil_div(len(transforms.slices), per_voxel) > finest_scale["size"][2]:
        per_voxel *= 2
    return float(finest_scale["voxel_offset"][2] + (z - transforms.slices[0].z) / per_voxel)


def viewer_state(
    finest_scale: dict[str, Any], layers: list[LayerSource], notes: Sequence[Note] = ()
) -> neuroglancer.ViewerState:
    """The state that shows the whole volume, centred, in its own voxels.

    Args:
        finest_scale: first entry of `scales` in the volume's `info`.
        layers: what to show.
        notes: slices to frame by a box with a text.
    """
    size, offset = finest_scale["size"], finest_scale["voxel_offset"]
    resolution = finest_scale["resolution"]
    state = neuroglancer.ViewerState()
    # Without explicit dimensions a voxel counts as a metre and the volume is a dot.
    state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=resolution)
    state.position = [start + n / 2 for start, n in zip(offset, size, strict=True)]
    extent = max(n * side for n, side in zip(size, resolution, strict=True)) / min(resolution)
    state.cross_section_scale = extent / PANEL_PX
    state.projection_scale = 1.5 * extent
    state.layout = "4panel"
    for layer in layers:
        state.layers.append(
            name=layer.name,
            layer=neuroglancer.ImageLayer(
                source=f"precomputed://{layer.url}",
                shader=layer.shader,
                shader_controls=layer.shader_controls,
            ),
            visible=layer.visible,
        )
    for name, color in _COLORS.items():
        of_layer = [note for note in notes if note.layer == name]
        if of_layer:
            layer = _notes_layer(finest_scale, state.dimensions, of_layer, color)
            state.layers.append(name=name, layer=layer)
    return state


def _notes_layer(
    finest_scale: dict[str, Any],
    dimensions: neuroglancer.CoordinateSpace,
    notes: Sequence[Note],
    color: str,
) -> neuroglancer.LocalAnnotationLayer:
    """A box around each slice that there is a note on; a point in its middle where it is a shift.

    Boxes around most slices of a thin stack would hide what they frame.
    """
    (left, top, _), (width, height, _) = finest_scale["voxel_offset"], finest_scale["size"]

    def mark(note: Note) -> neuroglancer.AnnotationBase:
        told = {"id": f"slice-{note.slice_z}", "description": note.text}
        start, end = note.z_range
        if note.layer == SHIFTS:
            middle = [left + width / 2, top + height / 2, (start + end) / 2]
            return neuroglancer.PointAnnotation(point=middle, **told)
        return neuroglancer.AxisAlignedBoundingBoxAnnotation(
            point_a=[left, top, start], point_b=[left + width, top + height, end], **told
        )

    return neuroglancer.LocalAnnotationLayer(
        dimensions=dimensions, annotations=[mark(note) for note in notes], annotation_color=color
    )
