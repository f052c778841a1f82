"""The report's figures as inline SVG and WebP: no script, no font and no picture comes from elsewhere.

Lines carry place-holder colours that become CSS variables, so that the page's light and dark colours hold for
the figures too.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 2400
"""Points of a curve; one with more is drawn as its envelope: lowest and highest value of each bin."""

_LOSSLESS = 101
"""Quality at which OpenCV writes WebP without loss."""
PHOTO_QUALITY = 75
"""Quality of pictures that are looked at and not measured: a fifth of the bytes."""

_WIDTH_INCH, _PANEL_INCH, _MARGINS_INCH = 9.6, 1.55, 0.7

_THEME = {
    "#010101": "var(--text)",
    "#020202": "var(--line)",
    "#030303": "var(--series-1)",
    "#040404": "var(--series-2)",
}
_TEXT, _LINE, _SERIES_1, _SERIES_2 = _THEME
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "fibstack",
    "path.simplify_threshold": 0.3,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A named sequence of values; NaN leaves a gap."""

    name: str
    values: NDArray[np.float64]
    sigma: NDArray[np.float64] | None = None
    """1-sigma of each value, drawn as a band to both sides."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A set of axes with one or two curves against z."""

    label: str
    curves: Sequence[Curve]


def envelope(
    z: NDArray[np.float64], values: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thin out a long curve without losing an outlier: each bin keeps its lowest and highest point.

    Example:
        >>> x, y = envelope(np.arange(8.0), np.array([0, 1, 9, 1, 0, -5, 0, 1.0]), most=4)
        >>> y.tolist()
        [0.0, 9.0, -5.0, 1.0]
    """
    if len(z) <= most:
        return z, values
    kept: list[int] = []
    for part in np.array_split(np.arange(len(z)), most // 2):
        known = part[np.isfinite(values[part])]
        if len(known):
            kept.extend(sorted({int(known[values[known].argmin()]), int(known[values[known].argmax()])}))
        else:
            kept.append(int(part[0]))
    return z[kept], values[kept]


def band_envelope(
    z: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thin out a long band so that no part of it is lost: each bin reaches from its lowest to its highest.

    Example:
        >>> x, low, high = band_envelope(np.arange(4.0), np.array([0, -5, 1, 1.0]), np.full(4, 2.0), most=2)
        >>> x.tolist(), low.tolist(), high.tolist()
        ([0.0, 2.0], [-5.0, 1.0], [2.0, 2.0])
    """
    if len(z) <= most:
        return z, low, high
    starts = np.linspace(0, len(z), most, endpoint=False).astype(int)
    return z[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)


def curves_svg(z: Sequence[int], panels: Sequence[Panel]) -> str:
    """Panels under each other with z as the common axis, as an `<svg>` element."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type] # matplotlib lists every key as a literal
        height = _MARGINS_INCH + _PANEL_INCH * len(panels)
        figure = Figure(figsize=(_WIDTH_INCH, height))
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
        # The same margins for every figure: panels under each other share their z axis.
        figure.subplots_adjust(
            left=0.08, right=0.99, bottom=0.45 / height, top=1 - 0.25 / height, hspace=0.16
        )
        for axes, panel in zip(grid[:, 0], panels, strict=True):
            _draw(axes, np.asarray(z, np.float64), panel)
        figure.align_ylabels()
        grid[-1, 0].set_xlabel("slice number z")
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for placeholder, variable in _THEME.items():
        svg = svg.replace(placeholder, variable)
    return svg


def _draw(axes: Axes, z: NDArray[np.float64], panel: Panel) -> None:
    for curve, color in zip(panel.curves, (_SERIES_1, _SERIES_2), strict=False):
        if curve.sigma is not None:
            band = band_envelope(z, curve.values - curve.sigma, curve.values + curve.sigma)
            axes.fill_between(*band, color=color, alpha=0.3, linewidth=0)
        x, y = envelope(z, curve.values)
        marker = "." if len(x) < 200 else None
        axes.plot(x, y, color=color, linewidth=1.1, marker=marker, markersize=3, label=curve.name)
    axes.set_ylabel(panel.label)
    axes.margins(x=0.01)
    axes.ticklabel_format(useOffset=False)
    if len(panel.curves) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, borderpad=0)


def picture_uri(values: NDArray[np.uint8], known: NDArray[np.bool_], quality: int = _LOSSLESS) -> str:
    """A grey picture as a `data:` URI of a WebP, transparent where nothing is known.

    WebP takes about half the bytes of PNG, which has no grey with transparency in OpenCV.

    Args:
        values: Grey levels.
        known: False where nothing is known.
        quality: 1 to 100, or more for one without loss.
    """
    grey = cv2.cvtColor(values, cv2.COLOR_GRAY2BGRA)
    grey[..., 3] = np.where(known, 255, 0)
    _, webp = cv2.imencode(".webp", grey, [cv2.IMWRITE_WEBP_QUALITY, quality])
    return "data:image/webp;base64," + base64.b64encode(webp.tobytes()).decode()
