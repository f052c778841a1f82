"""What a run is expected to cost, for the report: the estimate of `fibstack design`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from components.plan.bill import Machine
from components.plan.estimate import estimate
from components.plan.work import expected_volume
from components.shared.documents.cost import CostEstimate, Dollars, Pod
from components.shared.documents.plan import Plan
from components.shared.documents.prices import Prices


def cost_estimate(plan: Plan, pods: Mapping[str, Pod], prices: Prices) -> CostEstimate:
    """Predict the core-hours and dollars of a run that starts from nothing."""
    machines = {step: Machine(pod.cores, pod.memory_bytes) for step, pod in pods.items()}
    predicted = estimate(plan, expected_volume(plan), machines, prices)
    core_hours: dict[str, float] = {}
    for step in predicted.steps:  # each pass of the pyramid is one
        core_hours[step.step] = core_hours.get(step.step, 0.0) + step.core_hours
    return CostEstimate(
        pods=dict(pods),
        core_hours=core_hours,
        dollars=Dollars(**dataclasses.asdict(predicted.bill)),
        prices=prices,
    )
