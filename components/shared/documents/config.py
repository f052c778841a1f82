"""The configuration of a run: what a user writes, and what the pipeline takes as parameters.

`RunConfig` is the one definition. `fibstack run CONFIG.yaml` reads it, the pipeline's parameters are its
fields, and the `plan` step checks it again, since a pipeline can be submitted without the command line.

No field may be absent (a container's argument cannot be), so "not given" is `""` or `0`.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from email.utils import getaddresses
from ipaddress import ip_address
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from components.shared.errors import ConfigError
from components.shared.given_file import STORED, GivenModel, shown
from components.shared.storage.run_buckets import bucket_uri, run_buckets_output
from components.shared.storage.schemes import is_read_otherwise, scheme_of

ALIASES = {
    "clip-limit": "clip_limit",
    "rawPyramid": "raw_pyramid",
    "createRawPyramid": "raw_pyramid",
    "project_id": "project",
    "mail": "email",
}
"""Keys of the older workflow's configuration and what they are called here."""

MAX_SLICES = 1_000_000
"""A hundred times the longest stacks; what is kept for each slice still fits."""
NUMBERS_END = 10**9
"""Numbers of slices lie below it: nine digits."""
SMALLEST_VOXEL_NM, LARGEST_VOXEL_NM = 0.1, 1000.0
"""Sides of a voxel that are taken to be in nm: from the distance of atoms to pixels too wide for any
ultrastructure. A number beyond is in another unit, such as 0.008 for 8 nm in um, or 8000 for 8 nm in pm."""
ASSUMED_VOXEL_NM = 8.0
"""Side of a voxel where neither the configuration nor a file tells it."""
_UNITS_OF_A_MISTAKE: Mapping[str, float] = MappingProxyType({"um": 1e3, "mm": 1e6, "m": 1e9, "pm": 1e-3})
"""Units in which a side is written by mistake, in nm."""
_SHOWN_LENGTH = 100
"""Characters of a refused value that are shown."""

NAMING_KEYS = frozenset({"id", "project", "email", "webhook", "decided"})
"""Keys on which nothing depends that a run computes: whose it is, who is told, and what is set on purpose."""

_SET_BY_COMMANDS = frozenset({"decided", "placed_as"})
"""Keys that nobody writes by hand: 'fibstack resolve' and 'fibstack apply' do."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class RunConfig(GivenModel):
    """Everything that decides what a run computes.

    Example:
        >>> config = RunConfig(source="stack", image="img.%05d.png", minz=0, maxz=59, output="out")
        >>> config.resolution, config.jpeg_quality
        ((), 80)
    """

    id: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", max_length=100, description="Name of the run.")
    source: str = Field(
        min_length=1, description="Bucket, gs:// or s3:// URI, or folder that holds the slices."
    )
    image: str = Field(min_length=1, description="Name pattern of a slice, such as img.%05d.png.")
    minz: int = Field(ge=0, lt=NUMBERS_END, description="Number of the first slice.")
    maxz: int = Field(ge=0, lt=NUMBERS_END, description="Number of the last slice, included.")
    output: str = Field(min_length=1, description="gs:// or s3:// URI, or folder that receives the results.")
    project: str = Field(
        "",
        description="ID of the Google Cloud project in which a run's own buckets are made; S3 needs none.",
    )
    email: str = Field("", description="Address that is told when the run ends.")
    webhook: str = Field(
        "",
        description="https address without a path that gets a JSON message when the run ends; "
        "one with a path is given as FIBSTACK_WEBHOOK_URL.",
    )
    more_channels: tuple[str, ...] = Field(
        (),
        max_length=15,
        description="Name patterns of further channels; each is warped as the slices of image are.",
    )
    crop: tuple[int, ...] = Field(
        (), description="Part of each picture that is used: [x, y, width, height] in px; empty: all of it."
    )
    match_region: tuple[int, ...] = Field(
        (),
        description="Part of each picture that slices are matched by, [x, y, width, height] in px; "
        "the whole is written. Empty: all of it.",
    )
    invert: bool = Field(False, description="Turn the grey levels of image round: tissue dark on bright.")
    resolution: tuple[_Finite, ...] = Field(
        (),
        description="Size of a voxel in nm: one number, or [x, y, z]; empty: as the files tell, else 8.",
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
    placed_as: str = Field(
        "",
        description="Output of another run: slices are placed as its slices of the same numbers are, and not "
        "matched. 'fibstack apply' sets it, and skip_align with it.",
    )
    allow_gaps: bool = Field(
        False, description="Accept missing slices and stacks that fall into unconnected parts."
    )
    overrides: str = Field("", description="YAML file of decisions about single slices.")
    trend: Literal["keep", "hybrid", "detrend", "straighten", "anchor"] = Field(
        "hybrid", description="What becomes of slow trends along z in position, rotation, scale and shear."
    )
    z: Literal["report", "correct"] = Field(
        "report",
        description="Uneven steps along z: told, or evened by showing at each plane the slice nearest to it.",
    )
    refine: Literal["auto", "none"] = Field(
        "auto",
        description="auto: rows that jitter are moved back, and slices that are softly warped are "
        "straightened, where parts of the pictures that were held out agree. none: slices move as a whole.",
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
    intensity: Literal["none", "z"] = Field(
        "z",
        description="z: slices that flicker get the brightness and contrast of those around them; raw grey "
        "levels (keep_bits) stay. none: as they are.",
    )
    streaks: Literal["report", "filter"] = Field(
        "report",
        description="filter: curtains and scan lines are filtered where that gains clearly more than it "
        "damages tissue; raw grey levels (keep_bits) stay. report: they are measured only.",
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
    ome_zarr_version: Literal["0.5", "0.6"] = Field(
        "0.5",
        description="Version of OME-Zarr. 0.6 says where the raw slices lie, too; fewer programs read it.",
    )
    output_level: int = Field(
        0, ge=0, le=4, description="Finest level that is written; 0 is full resolution."
    )
    decided: tuple[str, ...] = Field(
        (),
        description="Keys that are set here on purpose although 'fibstack resolve' has set them otherwise in "
        "the output; resolve fills it in.",
    )
    keep_tiles: bool = Field(False, description="Keep the aligned tiles in tmp/ when the run has ended.")

    @property
    def lies_as_recorded(self) -> bool:
        """True of slices that nobody has placed."""
        return self.skip_align and not self.placed_as

    @field_validator("email", mode="before")
    @classmethod
    def _addresses_in_a_row(cls, value: object) -> object:
        if isinstance(value, list | tuple) and all(isinstance(address, str) for address in value):
            return ", ".join(value)
        return value

    @field_validator("resolution", mode="before")
    @classmethod
    def _one_number_is_isotropic(cls, value: object) -> object:
        if isinstance(value, str) and "_" not in value:  # which Python takes between digits
            with suppress(ValueError):
                value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value, value, value)
        if not isinstance(value, list | tuple) or len(value) not in (0, 3):
            raise ValueError("must be one number or [x, y, z]")
        return value

    @field_validator("resolution")
    @classmethod
    def _voxel_is_in_nm(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if info.context == STORED and all(side > 0 for side in value):
            return value
        for side in value:
            if not SMALLEST_VOXEL_NM <= side <= LARGEST_VOXEL_NM:
                raise ValueError(
                    f"must be {SMALLEST_VOXEL_NM:g} to {LARGEST_VOXEL_NM:,.0f} nm along each axis"
                    f"{_meant_nm(side)}"
                )
        return value

    @field_validator("ome_zarr_version", mode="before")
    @classmethod
    def _version_is_text(cls, value: object) -> object:
        return str(value) if isinstance(value, float) else value  # YAML takes it for a number

    @field_validator("crop", "match_region", mode="before")
    @classmethod
    def _part_is_a_list(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError("must be [x, y, width, height] in px")
        return value

    @field_validator("crop", "match_region")
    @classmethod
    def _part_is_a_rectangle(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value and not (len(value) == 4 and min(value[:2]) >= 0 and min(value[2:]) >= 1):
            raise ValueError(
                "must be [x, y, width, height] in px, x and y 0 or more, width and height 1 or more"
            )
        return value

    @field_validator("email", "project", "webhook")
    @classmethod
    def _has_the_form_of_its_kind(cls, value: str, info: ValidationInfo) -> str:
        if value and info.context != STORED:
            _FORMS[str(info.field_name)](value)
        return value

    @field_validator("source", "output", "overrides", "placed_as")
    @classmethod
    def _is_a_possible_name(cls, value: str) -> str:
        if "\0" in value:
            raise ValueError("must not hold a null character")
        return value

    @field_validator("source", "output")
    @classmethod
    def _root_is_read_alike_everywhere(cls, value: str, info: ValidationInfo) -> str:
        if info.context != STORED and is_read_otherwise(value):
            raise ValueError("must be a path with no backslash and no control character")
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

    @field_validator("decided", mode="before")
    @classmethod
    def _decided_is_a_list(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError("must be a list of keys of the configuration")
        return value

    @field_validator("decided")
    @classmethod
    def _decided_keys_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            if key not in cls.model_fields:
                raise ValueError("must be a list of keys of the configuration")
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
        if self.maxz - self.minz >= MAX_SLICES:
            got = f"got minz {self.minz} and maxz {self.maxz}"
            raise ValueError(f"minz to maxz must be at most {MAX_SLICES:,} slices; {got}")
        return self


def _meant_nm(side: float) -> str:
    """A clause on a number in another unit and what it is in nm; empty where no unit makes sense.

    Example:
        >>> _meant_nm(0.008), _meant_nm(8e-9), _meant_nm(4000), _meant_nm(0)
        (' (0.008 um are 8)', ' (8e-09 m are 8)', ' (4000 pm are 4)', '')
    """
    for unit, nm in _UNITS_OF_A_MISTAKE.items():
        if SMALLEST_VOXEL_NM <= side * nm <= LARGEST_VOXEL_NM:
            return f" ({side:g} {unit} are {side * nm:g})"
    return ""


def differing_keys(one: RunConfig, other: RunConfig) -> list[str]:
    """Keys by which two configurations lead to different results."""
    return [
        key
        for key in RunConfig.model_fields
        if key not in NAMING_KEYS and getattr(one, key) != getattr(other, key)
    ]


_NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def parameters() -> list[inspect.Parameter]:
    """The keys as parameters of a function, in the types that pipelines know: str, int, float, bool, list.

    kfp makes the inputs of the pipeline and of the `plan` step from them, so that no key is written twice.

    Example:
        >>> [str(parameter) for parameter in parameters() if parameter.name in ("source", "solver", "crop")]
        ['source: str', 'crop: list = []', "solver: str = 'robust'"]
    """
    # A parameter without a default cannot follow one that has a default.
    fields = sorted(RunConfig.model_fields.items(), key=lambda item: not item[1].is_required())
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=_pipeline_type(field.annotation),
            default=inspect.Parameter.empty if field.is_required() else _as_json(field.default),
        )
        for name, field in fields
    ]


def described(
    purpose: str, others: Mapping[str, str] = _NO_TEXTS, keys: Collection[str] | None = None
) -> str:
    """A docstring that describes keys, by default all, and other arguments, in the form that kfp reads."""
    texts = {
        name: str(field.description)
        for name, field in RunConfig.model_fields.items()
        if keys is None or name in keys
    } | dict(others)
    return f"{purpose}\n\nArgs:\n" + "\n".join(f"    {name}: {text}" for name, text in texts.items())


def _pipeline_type(annotation: Any) -> Any:  # noqa: ANN401 - any annotation of a field
    """The type of a pipeline's parameter that holds a field's values."""
    origin = get_origin(annotation)
    if origin is Literal:
        return type(get_args(annotation)[0])
    if origin is Annotated:
        return _pipeline_type(get_args(annotation)[0])
    return list if origin is tuple else annotation


def _as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


_ADDRESS = re.compile(r"[^\s@,;:<>()\"]+@[^\s@,;:<>()\"]+")
_PROJECT_ID = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
"""Syntax of Google Cloud's project IDs; those of old organisations begin with a domain and a colon."""


def check_email(value: str) -> None:
    """Refuse what no mail can be sent to, and what would be more than addresses in a mail's head or in a log.

    Raises:
        ValueError: it must not be in a configuration.
    """
    try:
        addresses = [address for _, address in getaddresses([value])]
    except RecursionError:  # comments in comments
        addresses = [""]
    if not value.isprintable() or not all(map(_ADDRESS.fullmatch, addresses)):
        raise ValueError("must be addresses such as ada@lab.org, with commas between them")


def check_project(value: str) -> None:
    """Refuse what cannot be the ID of a project.

    Raises:
        ValueError: it must not be in a configuration.
    """
    if not _PROJECT_ID.fullmatch(value):
        raise ValueError(
            "must be the ID of a Google Cloud project: 6 to 30 lower-case letters, digits and '-', "
            "a letter first"
        )


def check_webhook(address: str) -> None:
    """Refuse what is no address on the web, and one with a path: it is often a secret, and keys are shown.

    Whether the host may be told is decided where the message is sent, `components.report.telling`.

    Raises:
        ValueError: it must not be in a configuration.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or not address.isprintable():
        raise ValueError("must be an address such as https://host:8443")
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "must hold no secret, so no path, since parameters are shown; give it as FIBSTACK_WEBHOOK_URL"
        )
    if parts.scheme == "http" and not _is_inside(host):
        raise ValueError("must begin with https://")


def _is_inside(host: str) -> bool:
    """Whether a host's name says that it is this machine or in a network that the web does not reach."""
    try:
        return host == "localhost" or not ip_address(host).is_global
    except ValueError:
        return False


_FORMS = {"email": check_email, "project": check_project, "webhook": check_webhook}
"""The check of each key that takes any text."""


_PATTERN = re.compile(r"[A-Za-z0-9._/ +=@,-]*%(0[1-9])?d[A-Za-z0-9._/ +=@,-]*")


def check_image_pattern(pattern: str) -> None:
    """Refuse a name pattern that is not a plain relative name with exactly one `%d` or `%0Nd`.

    Raises:
        ValueError: the pattern could name something outside the source, or no single number.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            "must be a file name with exactly one %d or %05d, otherwise a to z, digits, '._-+=@,' and blanks "
            "(fibstack data renumber makes such names)"
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
        >>> own = {**given, "source": "em", "id": "run1", "project": "my-project", "output": ""}
        >>> parse_config(own).output
        'gs://em_*_run1'
    """
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = ALIASES.get(key, key)
        if name in named:
            raise ConfigError(
                f"'{name}' must be given once; got it twice, also as '{key}'. Remove one of them."
            )
        named[name] = value
    if not named.get("output"):
        named |= _own_buckets(named)
    for key in named:
        if key not in RunConfig.model_fields:
            close = difflib.get_close_matches(key, RunConfig.model_fields, n=1)
            known = ", ".join(name for name in RunConfig.model_fields if name not in _SET_BY_COMMANDS)
            remedy = f"Did you mean '{close[0]}'?" if close else f"Known keys: {known}."
            raise ConfigError(f"unknown key '{shown(key)}'. {remedy}")
    try:
        return RunConfig(**named)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def _own_buckets(values: Mapping[str, Any]) -> dict[str, str]:
    """Source and output of a run that has no output but names itself, the slices' bucket, and its project.

    Buckets of S3 belong to an account, which the login names.
    """
    source, run_id = str(values.get("source", "")), str(values.get("id", ""))
    if not (run_id and (values.get("project") or scheme_of(source).cloud == "aws")):
        return {}
    output = run_buckets_output(source, run_id)
    if output is None:
        return {}
    return {"source": bucket_uri(source), "output": output}


def _all_of(words: Sequence[str]) -> str:
    """Words in a row, with "and" before the last.

    Example:
        >>> _all_of(["a"]), _all_of(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _sentence(error: ValidationError) -> str:
    """The first complaint of pydantic as a sentence with the key and the value; all missing keys in one."""
    complaints = error.errors(include_url=False)
    missing = [str(complaint["loc"][0]) for complaint in complaints if complaint["type"] == "missing"]
    first = complaints[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    rule = first["msg"].removeprefix("Value error, ")
    if missing:
        keys, lines, flags = (
            _all_of([form.format(key) for key in missing]) for form in ("'{}'", "'{}: ...'", "--{}")
        )
        return f"{keys} must be given. Add {lines} to the configuration or {flags} to the command."
    if not key:
        return f"{rule}. Change the configuration."
    got = "one that may be a secret" if key == "webhook" else repr(first["input"])
    if len(got) > _SHOWN_LENGTH:
        got = f"{got[:_SHOWN_LENGTH]}..."
    return f"'{key}': {rule[0].lower()}{rule[1:]}; got {got}. Change '{key}' in the configuration."
