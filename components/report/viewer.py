"""What neuroglancer is told about a volume: its layers, its dimensions, where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import neuroglancer

from components.shared.documents import Transforms
from components.shared.grid import ceil_div

PANEL_PX = 450
"""About the side of one of the four panels on a common screen: the volume fits into it at first."""
NOTES_LAYER = "slices that stand out"
_NOTES_COLOR = "#ff8a3d"
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

    slice_z: int
    z_range: tuple[float, float]
    """In voxels of the finest level that is there."""
    text: str


def notes_of(transforms: Transforms, finest_scale: dict[str, Any]) -> list[Note]:
    """A note on each slice that is not good, or of which something else is shown."""
    return [
        Note(
            s.z,
            (
                slice_in_voxels(s.z, transforms, finest_scale),
                slice_in_voxels(s.z + 1, transforms, finest_scale),
            ),
            f"{s.description}{f' ({s.evidence})' if s.evidence else ''}",
        )
        for s in transforms.slices
        if s.verdict != "good" or s.action != "keep"
    ]


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
    if notes:
        state.layers.append(name=NOTES_LAYER, layer=_notes_layer(finest_scale, state.dimensions, notes))
    return state


def _notes_layer(
    finest_scale: dict[str, Any], dimensions: neuroglancer.CoordinateSpace, notes: Sequence[Note]
) -> neuroglancer.LocalAnnotationLayer:
    """A box around each slice that there is a note on."""
    (left, top, _), (width, height, _) = finest_scale["voxel_offset"], finest_scale["size"]
    boxes = [
        neuroglancer.AxisAlignedBoundingBoxAnnotation(
            id=f"slice-{note.slice_z}",
            point_a=[left, top, note.z_range[0]],
            point_b=[left + width, top + height, note.z_range[1]],
            description=note.text,
        )
        for note in notes
    ]
    return neuroglancer.LocalAnnotationLayer(
        dimensions=dimensions, annotations=boxes, annotation_color=_NOTES_COLOR
    )
