"""What neuroglancer is told about a volume: its layers, its dimensions, where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import neuroglancer

PANEL_PX = 450
"""About the side of one of the four panels on a common screen: the volume fits into it at first."""
_SHADER = "#uicontrol invlerp normalized\nvoid main() {\n  emitGrayscale(normalized());\n}\n"


@dataclass(frozen=True, slots=True)
class LayerSource:
    """A precomputed volume to show."""

    name: str
    url: str
    visible: bool


def viewer_state(finest_scale: dict[str, Any], layers: list[LayerSource]) -> neuroglancer.ViewerState:
    """The state that shows the whole volume, centred, in its own voxels.

    Args:
        finest_scale: first entry of `scales` in the volume's `info`.
        layers: what to show.
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
                shader=_SHADER,
                shader_controls={"normalized": {"range": [0, 255]}},
            ),
            visible=layer.visible,
        )
    return state
