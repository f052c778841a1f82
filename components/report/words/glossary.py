"""Words and units of the page, which stands alone: each as docs/glossary.md has it, which a test compares."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "slice": "one picture of the stack: a file, with the number `z` in its name",
    "pair": "two slices that are matched, `z` and a neighbour up to `z + 4`",
    "accepted": "of a pair: matching found evidence enough",
    "kept": "of a pair: the solve gives it a weight above 0",
    "held": "of a slice: a kept pair ties it to the others",
    "NCC": "normalised cross-correlation of two pictures, -1 to 1",
    "SSIM": "structural similarity of two pictures: brightness, contrast and structure around each pixel; "
    "1 is the same picture",
    "step": "of a slice: how far its centre lies from that of the slice before, in the volume, in px; as a "
    "verdict: a jump that lasts",
    "residual": "disagreement of a slice's kept pairs with the solution, root mean square in px",
    "sigma": "standard deviation of what is told, by the noise of the pairs: two of three lie within one",
    "ppm": "parts per million; a scale of 1.0002 is 200 ppm",
    "px": "pixels of the slices at full resolution",
    "place along z": "of a good slice: where it lies in mean slices, told by how fast slices lose their "
    "likeness to those around them; a *step* along z is the distance of two places, 1 where slices are even",
    "CLAHE": "contrast-limited adaptive histogram equalisation: local contrast",
    "missing": "verdict: there is no file of this number",
    "duplicate": "verdict: the same picture in the same place as the slice before",
    "blank": "verdict: nothing but 0, or next to no contrast",
    "saturated": "verdict: more than half of the pixels at the greatest grey level",
    "inverted": "grey levels turned into their negative; *turn* and *rotation* are of the plane",
    "defocused": "verdict: far less sharp than the slices around",
    "charged": "verdict: streaks, contrast or noise far above the slices around",
    "partial": "verdict: a fifth or more of the picture lacks content, unlike the slices around",
    "slip": "verdict: it lies beside its neighbours, or jumps out and back; the alignment moves it back",
    "isolated": "verdict: no pair holds it",
}
"""Meanings by word."""
