"""How much work the steps of a run have: what `fibstack design` estimates, from the plan that is made."""

from __future__ import annotations

from collections import Counter

from components.shared.documents.config import RunConfig
from components.shared.errors import FibstackError
from components.shared.storage.run_buckets import part_uri
from pipeline.here.time_left import Prediction
from pipeline.settings import Settings


def predict(config: RunConfig, settings: Settings) -> dict[str, Prediction]:
    """The work of each step, by its name in the pipeline; nothing where it cannot be told here."""
    try:
        # Imported here: a laptop that runs in containers has no storage libraries.
        from commands.design.main import machines_of
        from components.plan.estimate import estimate
        from components.plan.work import expected_volume
        from components.shared.documents.plan import PLAN_KEY, Plan
        from components.shared.documents.prices import read_prices
        from components.shared.documents.read_document import read_document
        from components.shared.storage.store import open_store

        process = open_store(part_uri(config.output, "process"))
        plan = read_document(process, PLAN_KEY, Plan)
        estimated = estimate(plan, expected_volume(plan), machines_of(settings), read_prices())
    except (FibstackError, ModuleNotFoundError):
        return {}
    tasks: Counter[str] = Counter()
    predictions = {}
    for step in estimated.steps:
        tasks[step.step] += 1
        name = step.step if tasks[step.step] == 1 else f"{step.step}-{tasks[step.step]}"
        predictions[name] = Prediction(step.n_pods, 3600 * step.core_hours / max(1, step.n_pods))
    return predictions
