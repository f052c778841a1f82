"""What machines, requests and storage of a run cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from components.plan.rates import RATES
from components.plan.storage_requests import Requests
from components.shared.documents.prices import MachinePrices, Prices
from components.shared.text import GIB


@dataclass(frozen=True, slots=True)
class Machine:
    """What a pod of a step asks for, so what is paid for."""

    cores: float
    memory_bytes: float

    def dollars_per_hour(self, prices: MachinePrices) -> float:
        """The price of a pod."""
        return self.cores * prices.core_hour + self.memory_bytes / GIB * prices.gib_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Dollars; the machines are either all on demand or all spot."""

    machines_on_demand: float
    machines_spot: float
    requests: float
    tiles_for_a_day: float
    results_a_month: float

    @property
    def on_demand(self) -> float:
        """The whole run, until its results are there."""
        return self.machines_on_demand + self.requests + self.tiles_for_a_day

    @property
    def spot(self) -> float:
        """The same on spot machines, without what they lose when they are taken away."""
        return self.machines_spot + self.requests + self.tiles_for_a_day


def bill(
    core_hours: Mapping[str, float],
    requests: Iterable[Requests],
    machines: Mapping[str, Machine],
    prices: Prices,
    tiles_bytes: int,
    results_bytes: int,
) -> Bill:
    """Dollars for a run.

    Args:
        core_hours: Of each step.
        requests: Of each step.
        machines: What a pod of each step asks for.
        prices: Of machines and storage.
        tiles_bytes: What is stored while the run goes on.
        results_bytes: What is stored from then on.
    """

    def dollars(of: MachinePrices) -> float:
        hours = {step: worked / machines[step].cores / RATES.busy for step, worked in core_hours.items()}
        return sum(n * machines[step].dollars_per_hour(of) for step, n in hours.items())

    n_a, n_b = (sum(n) for n in zip(*((r.class_a, r.class_b) for r in requests), strict=True))
    return Bill(
        machines_on_demand=dollars(prices.on_demand),
        machines_spot=dollars(prices.spot),
        requests=(n_a * prices.class_a_per_1000 + n_b * prices.class_b_per_1000) / 1000,
        tiles_for_a_day=tiles_bytes / GIB * prices.storage_gib_month / 30,
        results_a_month=results_bytes / GIB * prices.storage_gib_month,
    )
