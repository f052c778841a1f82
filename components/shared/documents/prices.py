"""Prices of machines and storage: the table of `prices.yaml`, or the user's own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError

from components.shared.errors import ConfigError
from components.shared.given_file import GivenModel, parse_yaml, read_given_file
from components.shared.text import GIB

ColderClass = Literal["nearline", "coldline", "archive"]
LISTED = Path(__file__).with_name("prices.yaml")
"""Google's list prices, which are part of this package."""


class _Table(GivenModel):
    model_config = ConfigDict(allow_inf_nan=False)


class MachinePrices(_Table):
    """Dollars for an hour of a core and of a GiB of memory."""

    core_hour: float = Field(ge=0)
    gib_hour: float = Field(ge=0)

    def per_hour(self, cores: float, memory_bytes: float) -> float:
        """Dollars for an hour of a pod."""
        return cores * self.core_hour + memory_bytes / GIB * self.gib_hour


class Prices(_Table):
    """Dollars for machines, requests and storage in one region at one date."""

    region: str
    date: dt.date
    source: str
    on_demand: MachinePrices
    spot: MachinePrices
    storage_gib_month: float = Field(ge=0)
    colder_gib_month: dict[ColderClass, Annotated[float, Field(ge=0)]] = Field({})
    class_a_per_1000: float = Field(ge=0)
    class_b_per_1000: float = Field(ge=0)


def read_prices(path: Path = LISTED) -> Prices:
    """Read a table of prices.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or a price is missing, unknown or negative.
    """
    values = parse_yaml(read_given_file(path, "the prices"), f"the prices in {path}")
    try:
        return Prices.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        reason = f"'{key}': {first['msg'][0].lower()}{first['msg'][1:]}"
    raise ConfigError(f"prices must be a table like {LISTED}; got {path}: {reason}. Correct it.")
