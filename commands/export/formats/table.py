"""The table of formats: what `--tiff`, `--mrc` and `--png` write, by the name of what is written."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from commands.export.formats.mrc import MrcStack
from commands.export.formats.pictures import SliceFormat, StackFormat
from commands.export.formats.png import PngSlices
from commands.export.formats.tiff import OmeTiffStack, TiffSlices, TiffStack
from components.shared.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The formats that an option of `fibstack export` writes."""

    slices: SliceFormat | None = None
    """Format of a folder with a file for each slice."""
    stacks: dict[str, StackFormat] = field(default_factory=dict)
    """Formats of one file, by the end of its name; the first that fits counts."""


KINDS: dict[str, Kind] = {
    "tiff": Kind(
        slices=TiffSlices(),
        stacks={
            ".ome.tif": OmeTiffStack(),
            ".ome.tiff": OmeTiffStack(),
            ".tif": TiffStack(),
            ".tiff": TiffStack(),
        },
    ),
    "mrc": Kind(stacks=dict.fromkeys((".mrc", ".rec", ".st"), MrcStack())),
    "png": Kind(slices=PngSlices()),
}


def format_of(kind: str, new_output: str) -> SliceFormat | StackFormat:
    """The format that an option writes to a place.

    Args:
        kind: `tiff`, `mrc` or `png`.
        new_output: A folder, or a file, by the end of its name.

    Raises:
        ConfigError: the option writes no such thing.

    Example:
        >>> type(format_of("tiff", "slices")).__name__, type(format_of("tiff", "a.ome.tif")).__name__
        ('TiffSlices', 'OmeTiffStack')
    """
    name = new_output.rstrip("/").lower()
    for suffix, stack in KINDS[kind].stacks.items():
        if name.endswith(suffix):
            return stack
    slices = KINDS[kind].slices
    if slices is None:
        file = shlex.quote(f"{new_output.rstrip('/')}.{kind}")
        raise ConfigError(f"--{kind} must be given the name of a file; got {new_output}. Name it {file}.")
    files = [suffix for other in KINDS.values() for suffix in other.stacks]
    if name.endswith((*files, slices.suffix)):
        raise ConfigError(
            f"--{kind} must be given the name of a folder; got {new_output}, that of a file. Choose a folder."
        )
    return slices
