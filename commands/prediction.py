"""How much work the steps of a run have: what `fibstack design` estimates, from the plan that is made."""

from __future__ import annotations

import importlib
from collections import Counter

from commands.design.main import machines_of
from components.shared.documents.config import RunConfig
from components.shared.errors import FibstackError
from components.shared.storage.run_buckets import part_uri
from pipeline.here.time_left import Prediction
from pipeline.settings import Settings


def predict(config: RunConfig, settings: Settings) -> dict[str, Prediction]:
    """The work of each step, by its name in the pipeline; nothing where it cannot be told here."""
    try:
        # Imported by name: a laptop that runs in containers has no storage libraries.
        documents, estimates, prices, reading, storage, work = (
            importlib.import_module(f"components.{name}")
            for name in (
                *("shared.documents", "plan.estimate", "shared.prices"),
                *("shared.reading", "shared.storage", "plan.work"),
            )
        )
        process = storage.open_store(part_uri(config.output, "process"))
        plan = reading.read_document(process, documents.PLAN_KEY, documents.Plan)
        volume = work.expected_volume(plan)
        estimate = estimates.estimate(plan, volume, machines_of(settings), prices.read_prices())
    except (FibstackError, ModuleNotFoundError):
        return {}
    tasks: Counter[str] = Counter()
    predictions = {}
    for step in estimate.steps:
        tasks[step.step] += 1
        name = step.step if tasks[step.step] == 1 else f"{step.step}-{tasks[step.step]}"
        predictions[name] = Prediction(step.n_pods, 3600 * step.core_hours / max(1, step.n_pods))
    return predictions
