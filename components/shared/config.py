"""The configuration of a run: what a user writes, and what the pipeline takes as parameters.

`RunConfig` is the one definition. `fibstack run CONFIG.yaml` reads it, the pipeline's parameters are its
fields, and the `plan` step checks it again, since a pipeline can be submitted without the command line.

No field may be absent (a container's argument cannot be), so "not given" is `""` or `0`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components.shared.errors import ConfigError

ALIASES = {
    "clip-limit": "clip_limit",
    "rawPyramid": "raw_pyramid",
    "createRawPyramid": "raw_pyramid",
    "project_id": "project",
}
"""Keys of the older workflow's configuration and what they are called here."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class RunConfig(BaseModel):
    """Everything that decides what a run computes.

    Example:
        >>> config = RunConfig(source="stack", image="img.%05d.png", minz=0, maxz=59, output="out")
        >>> config.resolution
        (8.0, 8.0, 8.0)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", max_length=100, description="Name of the run.")
    source: str = Field(min_length=1, description="Bucket, gs:// URI or folder that holds the slices.")
    image: str = Field(min_length=1, description="Name pattern of a slice, such as img.%05d.png.")
    minz: int = Field(ge=0, lt=10**9, description="Number of the first slice.")
    maxz: int = Field(ge=0, lt=10**9, description="Number of the last slice, included.")
    output: str = Field(min_length=1, description="gs:// URI or folder that receives the results.")
    project: str = Field("", description="Google Cloud project that pays for requests.")
    email: str = Field("", description="Address that is told when the run ends.")
    more_channels: tuple[str, ...] = Field(
        (),
        max_length=15,
        description="Name patterns of further channels; each is warped as the slices of image are.",
    )
    resolution: tuple[_Finite, _Finite, _Finite] = Field(
        (8.0, 8.0, 8.0), description="Size of a voxel in nm: one number, or [x, y, z]."
    )
    downsample_factor: _Finite = Field(
        0.0, ge=0, le=64, description="Slices are matched at 1 / this scale; 0 chooses it from match_size."
    )
    match_size: int = Field(
        1280, ge=64, le=8192, description="Longest side in px at which slices are matched."
    )
    neighbours: int = Field(4, ge=1, le=8, description="Each slice is matched with this many that follow it.")
    solver: Literal["robust", "compose"] = Field(
        "robust", description="robust: one global solve. compose: product of neighbouring transforms."
    )
    skip_align: bool = Field(False, description="Take the slices as they lie, without alignment.")
    allow_gaps: bool = Field(
        False, description="Accept missing slices and stacks that fall into unconnected parts."
    )
    overrides: str = Field("", description="YAML file of decisions about single slices.")
    trend: Literal["keep", "hybrid", "detrend", "straighten", "anchor"] = Field(
        "hybrid", description="What becomes of slow trends along z in position, rotation, scale and shear."
    )
    replace_with: Literal["nearest", "previous", "next", "blend", "blank"] = Field(
        "nearest", description="What is shown in place of a bad or missing slice."
    )
    max_replaced: int = Field(
        3, ge=0, le=1000, description="Longest run of slices that is replaced; a longer one stops the run."
    )
    force: bool = Field(False, description="Write the volume even where the check on thumbnails fails.")
    clip_limit: _Finite = Field(
        0.02, ge=0, le=1, description="CLAHE clip limit in scikit-image's meaning; 0 switches CLAHE off."
    )
    jpeg_quality: int = Field(80, ge=1, le=100, description="JPEG quality of the volume to browse.")
    raw_pyramid: bool = Field(False, description="Write every level lossless too, under neuroglancer/raw.")
    keep_bits: bool = Field(
        False, description="Write the raw grey levels of 16-bit slices to the lossless volumes, as uint16."
    )
    lossless_encoding: Literal["raw", "png"] = Field(
        "raw", description="Lossless volumes as gzip, or as PNG: a fifth smaller, slower to write and read."
    )
    ome_zarr: bool = Field(False, description="Write every level lossless as OME-Zarr too, under ome-zarr.")
    output_level: int = Field(
        0, ge=0, le=4, description="Finest level that is written; 0 is full resolution."
    )
    keep_tiles: bool = Field(False, description="Keep the aligned tiles in tmp/ when the run has ended.")

    @field_validator("resolution", mode="before")
    @classmethod
    def _one_number_is_isotropic(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value, value, value)
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise ValueError("must be one number or [x, y, z]")
        return value

    @field_validator("resolution")
    @classmethod
    def _voxel_is_positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(math.isfinite(side) and 0 < side <= 1e6 for side in value):
            raise ValueError("must be between 0 and 1,000,000 nm")
        return value

    @field_validator("image")
    @classmethod
    def _pattern_names_one_number(cls, value: str) -> str:
        check_image_pattern(value)
        return value

    @field_validator("more_channels", mode="before")
    @classmethod
    def _one_pattern_is_one_channel(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list | tuple):
            raise ValueError("must be a list of name patterns")
        return value

    @field_validator("more_channels")
    @classmethod
    def _patterns_name_one_number(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            check_image_pattern(pattern)
        return value

    @model_validator(mode="after")
    def _channels_differ(self) -> RunConfig:
        patterns = (self.image, *self.more_channels)
        if len(set(patterns)) < len(patterns):
            raise ValueError(f"each channel must have its own name pattern; got {', '.join(patterns)}")
        return self

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> RunConfig:
        if self.minz > self.maxz:
            raise ValueError(f"minz must not exceed maxz; got minz {self.minz} and maxz {self.maxz}")
        return self


_PATTERN = re.compile(r"[A-Za-z0-9._/ +=@,-]*%(0[1-9])?d[A-Za-z0-9._/ +=@,-]*")


def check_image_pattern(pattern: str) -> None:
    """Refuse a name pattern that is not a plain relative name with exactly one `%d` or `%0Nd`.

    Raises:
        ValueError: the pattern could name something outside the source, or no single number.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            "must be a file name with exactly one %d or %05d; otherwise letters, digits, '._-+=@,' and blanks"
        )
    if pattern.startswith("/") or any(part in ("", ".", "..") for part in pattern.split("/")):
        raise ValueError("must stay inside the source folder, without '..', '.' or a leading '/'")


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Make a `RunConfig` of what a user wrote, reading the older workflow's keys too.

    Raises:
        ConfigError: a key is unknown, missing or given twice, or a value is refused; the sentence names the
            key, the value and the rule.

    Example:
        >>> given = {"source": "s", "image": "%d.png", "minz": 0, "maxz": 1, "output": "o"}
        >>> parse_config({**given, "clip-limit": 0}).clip_limit
        0.0
    """
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = ALIASES.get(key, key)
        if name in named:
            raise ConfigError(
                f"'{name}' must be given once; got it twice, also as '{key}'. Remove one of them."
            )
        named[name] = value
    for key in named:
        if key not in RunConfig.model_fields:
            close = difflib.get_close_matches(key, RunConfig.model_fields, n=1)
            remedy = (
                f"Did you mean '{close[0]}'?"
                if close
                else f"Known keys: {', '.join(RunConfig.model_fields)}."
            )
            raise ConfigError(f"the configuration has the unknown key '{key}'. {remedy}")
    try:
        return RunConfig(**named)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence with the key and the value."""
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"'{key}' must be given. Add '{key}: ...' to the configuration or --{key} to the command."
    if not key:
        return f"{rule}. Change the configuration."
    return (
        f"'{key}': {rule[0].lower()}{rule[1:]}; got {first['input']!r}. Change '{key}' in the configuration."
    )
