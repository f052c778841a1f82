"""`process/cost.json`, the predicted cost of a run, with the pods and the prices that it is made of."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from components.shared.documents.sealed import Document, SealedDocument
from components.shared.errors import ConfigError
from components.shared.given_file import GivenModel, parse_yaml, read_given_file
from components.shared.storage.schemes import scheme_of
from components.shared.text import GIB

ColderClass = Literal["nearline", "coldline", "archive", "standard_ia", "glacier_ir", "deep_archive"]
"""Storage classes of Google, then of Amazon."""
LISTED = Path(__file__).with_name("prices.yaml")
"""Google's list prices, which are part of this package."""
LISTED_BY_AMAZON = Path(__file__).with_name("prices_aws.yaml")
"""Amazon's list prices, which are part of this package."""


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


COST_KEY = "cost.json"
"""Key below the process URI."""


class Pod(Document):
    """A step's pod: its image and the machine that it asks for, which is what is paid for."""

    image: str
    """Name of the image, with its digest where the settings know one, else with its tag."""
    cores: float
    memory_bytes: float
    spot: bool


class Bill(Document):
    """Dollars for a run, as `fibstack design` prints them; its machines are all on demand or all spot."""

    machines_on_demand: float
    machines_spot: float
    requests: float
    tiles_for_a_day: float
    results_a_month: float

    @property
    def on_demand(self) -> float:
        """Dollars for the run on machines on demand, until its results are there."""
        return self.machines_on_demand + self.requests + self.tiles_for_a_day

    @property
    def spot(self) -> float:
        """Dollars for the run on spot machines, without units that are lost when a machine is taken away."""
        return self.machines_spot + self.requests + self.tiles_for_a_day


class CostEstimate(SealedDocument):
    """Predicted cost of a run that starts from nothing. No number in it is measured on the run."""

    schema_version: Literal[1] = 1
    pods: dict[str, Pod]
    """Pod of each step."""
    core_hours: dict[str, float]
    """Core-hours of each step."""
    dollars: Bill
    prices: Prices
    """Table of prices that the dollars are from, with its date."""


def parse_pods(text: str) -> dict[str, Pod]:
    """The pod of each step, from the JSON that the settings make of them.

    Raises:
        ConfigError: the text is not JSON of pods.
    """
    try:
        return TypeAdapter(dict[str, Pod]).validate_json(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise ConfigError(f"--pods must be JSON of each step's pod; got {text[:80]!r}: {reason}.") from None


def listed_prices(location: str) -> Prices:
    """The list prices of the cloud that a location lies in; Google's for a folder.

    A server of S3 of a lab's own bills nothing: neither requests, nor storage, nor machines.

    Args:
        location: Folder or URI of results.
    """
    if scheme_of(location).cloud != "aws":
        return read_prices()
    from components.shared.storage.s3 import client

    prices = read_prices(LISTED_BY_AMAZON)
    if client().is_of_amazon:
        return prices
    free = MachinePrices(core_hour=0, gib_hour=0)
    return Prices(
        region=client().endpoint,
        date=prices.date,
        source="a server of one's own, which bills nothing",
        on_demand=free,
        spot=free,
        storage_gib_month=0,
        class_a_per_1000=0,
        class_b_per_1000=0,
    )


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
