"""`process/cost.json`: the predicted cost of a run, and the pods that it was compiled for."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter, ValidationError

from components.shared.documents.prices import Prices
from components.shared.documents.sealed import Document, SealedDocument
from components.shared.errors import ConfigError

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
