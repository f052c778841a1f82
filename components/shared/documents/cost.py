"""`process/cost.json`: what the run was expected to cost, and the pods that it was compiled for."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter, ValidationError

from components.shared.documents.prices import Prices
from components.shared.documents.sealed import Document, SealedDocument
from components.shared.errors import ConfigError

COST_KEY = "cost.json"
"""Key below the process URI."""


class Pod(Document):
    """What a pod of a step was compiled to be."""

    image: str
    """By digest where the settings know one, else by tag."""
    cores: float
    memory_bytes: float
    spot: bool


class Dollars(Document):
    """The bill, as `fibstack design` prints it; the machines are either all on demand or all spot."""

    machines_on_demand: float
    machines_spot: float
    requests: float
    tiles_for_a_day: float
    results_a_month: float


class CostEstimate(SealedDocument):
    """What a run that starts from nothing is expected to cost. Nothing in it is measured."""

    schema_version: Literal[1] = 1
    pods: dict[str, Pod]
    """Of each step."""
    core_hours: dict[str, float]
    """Of each step."""
    dollars: Dollars
    prices: Prices
    """The table that the dollars are from, with its date."""


def parse_pods(text: str) -> dict[str, Pod]:
    """The pod of each step, from JSON.

    Raises:
        ConfigError: it is no such JSON.
    """
    try:
        return TypeAdapter(dict[str, Pod]).validate_json(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise ConfigError(f"--pods must be JSON of each step's pod; got {text[:80]!r}: {reason}.") from None
