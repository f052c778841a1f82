"""What is fixed when the pipeline is compiled: images, machines, retries and fan-out.

KFP takes none of these at run time (it refuses or miscompiles parameters there), so they are settings, read
from a TOML file. What decides the *result* of a run is `components.shared.config.RunConfig` instead.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.shared.errors import ConfigError
from components.shared.images import REGISTRY, TAG, image_name

Step = Literal["plan", "align", "compose", "tile", "pyramid", "report"]
STEPS: tuple[Step, ...] = get_args(Step)


class StepSettings(BaseModel):
    """The machine of a step, and how often it is tried again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str = Field("1", pattern=r"^(\d+(\.\d+)?|\d+m)$", description="Cores, such as 2 or 500m.")
    memory: str = Field("2G", pattern=r"^\d+(\.\d+)?[KMGT]i?$", description="Memory, such as 4G.")
    retries: int = Field(3, ge=0, le=20, description="How often a failed task is tried again.")
    backoff_s: int = Field(
        10, ge=0, le=3600, description="Pause before the first retry; it doubles each time."
    )
    backoff_max_s: int = Field(300, ge=0, le=3600, description="Longest pause before a retry.")


class Settings(BaseModel):
    """All compile-time settings; the default of each suits slices of up to 10k x 10k px.

    Example:
        >>> Settings(registry="gcr.io/em", tag="1.0").image("tile")
        'gcr.io/em/tile:1.0'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    registry: str = Field(REGISTRY, min_length=1, description="Repository prefix of the images.")
    tag: str = Field(TAG, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="Tag of the images.")
    fan: int = Field(200, ge=1, le=200, description="Most items in a loop.")
    parallelism: int = Field(64, ge=1, le=1000, description="Most pods of one loop at a time.")
    plan: StepSettings = StepSettings(memory="1G")
    align: StepSettings = StepSettings(memory="4G")
    compose: StepSettings = StepSettings(memory="4G")
    tile: StepSettings = StepSettings(memory="4G")
    pyramid: StepSettings = StepSettings(memory="2G")
    report: StepSettings = StepSettings(memory="4G")

    def step(self, step: Step) -> StepSettings:
        """The settings of one step."""
        found: StepSettings = getattr(self, step)
        return found

    def image(self, step: Step) -> str:
        """The image of one step."""
        return image_name(step, self.registry, self.tag)


def read_settings(path: Path) -> Settings:
    """Read settings from a TOML file; what it leaves out keeps its default.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has an unknown key or a refused value.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"settings must be a readable TOML file; got {path}: {reason}. Correct it."
        ) from None
    for step in set(STEPS) & values.keys():
        if isinstance(values[step], dict):  # a table that sets the cpu alone keeps the step's own memory
            values[step] = Settings.model_fields[step].default.model_dump() | values[step]
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        rule = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(f"'{key}': {rule}; got {first['input']!r} in {path}. Change '{key}'.") from None
