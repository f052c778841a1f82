"""What is known of a run when the report is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.report.page.timings import StepTime
from components.report.pair_tally import PairTally
from components.shared.documents.cost import CostEstimate, Pod
from components.shared.documents.plan import Plan
from components.shared.documents.preview import Preview
from components.shared.documents.slices import SliceRow
from components.shared.documents.transforms import Transforms
from components.shared.documents.trends import Trends


@dataclass(slots=True)
class Evidence:
    """What is known of a run; a document that is not there stays None or empty."""

    plan: Plan
    pairs: PairTally = field(default_factory=PairTally)
    n_chunks: int = 0
    n_chunks_matched: int = 0
    transforms: Transforms | None = None
    preview: Preview | None = None
    trends: Trends | None = None
    cost: CostEstimate | None = None
    pods: dict[str, Pod] = field(default_factory=dict)
    """Of each step of this run; empty where nobody told."""
    as_processes: bool = False
    """Whether the steps run as processes of one machine, in no containers."""
    rows: list[SliceRow] = field(default_factory=list)
    times: tuple[StepTime, ...] = ()
    unreadable: list[str] = field(default_factory=list)
    """Sentences on documents that are there and cannot be read."""
