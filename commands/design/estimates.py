"""A run before it starts: its plan, its estimate and its concerns. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commands.design.concerns import concerns
from commands.design.files import repeated
from commands.design.here import Here, here
from components.plan import inventory
from components.plan.estimate import Estimate, asked_memory, estimate
from components.plan.main import make_plan
from components.plan.output import check_earlier_run
from components.plan.work import expected_volume
from components.shared.documents.config import RunConfig
from components.shared.documents.cost import Pod, Prices
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.errors import ConfigError, UserError
from components.shared.storage.registry import open_store
from components.shared.volume.volume import Volume
from components.shared.work.left import chunks_to_do


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A run before it starts: what it would do, take and cost, and what looks wrong."""

    plan: Plan
    volume: Volume
    """The volume that it leads to if no slice moves."""
    estimate: Estimate
    """The estimate of a run that starts from nothing."""
    asked_memory: Mapping[str, str]
    """Memory that the pods of each step ask for, such as 448Mi."""
    prices: Prices
    concerns: tuple[str, ...]
    refusal: str
    """Sentence that says why the run would stop at once; empty where it would not."""
    n_slices_done: int
    """Slices that an earlier run into the same output has matched."""
    here: Here | None
    """Time, memory and disk of a run on this machine; None for one on a cluster."""


def design(
    config: RunConfig,
    fan: int,
    pods: Mapping[str, Pod],
    prices: Prices,
    *,
    is_here: bool = False,
    on_kubernetes: bool = True,
) -> Design:
    """Read the listing and the headers, and say what a run would do. Writes nothing.

    Args:
        config: The configuration of the run.
        fan: Most items in a loop.
        pods: Pod of each step.
        prices: Prices of machines and storage.
        is_here: The run is one on this machine, not on a cluster.
        on_kubernetes: Pods ask for the memory that they are estimated to take, which Vertex AI does not know.

    Raises:
        UserError: the stack is not fit, and not for missing slices alone.
        ConfigError: the configuration does not fit.
    """
    plan, refusal = _plan_in_spite_of_gaps(config, fan)
    volume = expected_volume(plan)
    predicted = estimate(plan, volume, pods, prices)
    source = open_store(plan.locations.source_uri)
    listings = {
        pattern: inventory.number_slices(pattern, source.list(inventory.name_prefix(pattern)))
        for pattern in (plan.config.image, *plan.config.more_channels)
    }
    here_taken = here(predicted, plan.config.output) if is_here else None
    n_done = 0
    process = open_store(plan.locations.process_uri)
    if process.stat(PLAN_KEY) is not None:
        try:
            check_earlier_run(process, plan, config.decided)
        except (UserError, ConfigError) as error:
            refusal = refusal or str(error)
        else:
            to_do = chunks_to_do(plan, process)
            n_done = sum(not any(entry.z in chunk for chunk in to_do) for entry in plan.slices)
    return Design(
        plan=plan,
        volume=volume,
        estimate=predicted,
        asked_memory=asked_memory(predicted.steps if on_kubernetes else (), pods),
        prices=prices,
        concerns=(
            *concerns(plan, listings, predicted.steps, pods, here_taken),
            *repeated(source, plan.slices),
        ),
        refusal=refusal,
        n_slices_done=n_done,
        here=here_taken,
    )


def _plan_in_spite_of_gaps(config: RunConfig, fan: int) -> tuple[Plan, str]:
    """The plan; where missing slices alone forbid the run, the plan with gaps, and the refusal."""
    try:
        return make_plan(config, fan), ""
    except UserError as refusal:
        if config.allow_gaps:
            raise
        try:
            plan = make_plan(config.model_copy(update={"allow_gaps": True}), fan)
        except UserError:
            raise refusal from None
        return plan, str(refusal)
