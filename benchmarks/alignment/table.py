"""The rows as a table for people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.alignment.scoring import Row

HEADER = (
    "case",
    "method",
    "mean px",
    "p95 px",
    "max px",
    "drift px",
    "beyond own px",
    "failed",
    "bad: found / missed / false",
    "s / pair",
    "s / slice",
    "MB",
)
CLEARLY_WORSE_PX = 0.03
"""More than this is said to be worse than a peer."""
FIBSTACK = "fibstack"


def as_markdown(rows: Iterable[Row]) -> str:
    """One table for each tissue; the best mean of those that fail least is bold."""
    by_tissue: dict[str, list[Row]] = {}
    for row in rows:
        by_tissue.setdefault(row.tissue, []).append(row)
    return "\n".join(f"### {tissue}\n\n{_table(group)}" for tissue, group in by_tissue.items())


def _table(rows: list[Row]) -> str:
    best = {
        case: min(
            (r.mean_px or 0.0 for r in _least_failing([r for r in rows if r.case == case])), default=None
        )
        for case in {r.case for r in rows}
    }
    lines = [list(HEADER), ["---", "---", *["---:"] * (len(HEADER) - 2)]]
    previous = ""
    for row in rows:
        lines.append([row.case if row.case != previous else "", *_cells(row, row.mean_px == best[row.case])])
        previous = row.case
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _least_failing(rows: list[Row]) -> list[Row]:
    """A method that leaves slices where they lie has no small error, it has no answer."""
    fewest = min((r.n_failed for r in rows), default=0)
    return [r for r in rows if r.n_failed == fewest and r.mean_px is not None]


def _cells(row: Row, is_best: bool) -> list[str]:
    mean = _px(row.mean_px)
    own = "–" if row.own_mean_px is None else f"{_px(row.own_mean_px)} ({_px(row.own_drift_px)})"
    failed = f"{row.n_failed} of {row.n_good}" if row.n_failed else "0"
    n_missed, n_false = row.n_planted - row.n_found, len(row.false_alarms)
    verdicts = f"{row.n_found} ({row.n_right} right) / {n_missed} / {n_false}"
    return [
        row.method,
        f"**{mean}**" if is_best and row.mean_px is not None else mean,
        _px(row.p95_px),
        _px(row.max_px),
        _px(row.drift_px),
        own,
        failed,
        verdicts if row.method == FIBSTACK else "–",
        "–" if row.s_per_pair is None else f"{row.s_per_pair:.2f}",
        "–" if row.s_per_slice is None else f"{row.s_per_slice:.2f}",
        f"{row.peak_mb:.0f}",
    ]


def _px(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def shortfalls(rows: Iterable[Row]) -> list[str]:
    """Sentences on each case where fibstack is worse than the best peer, fails more, or judges wrongly."""
    by_case: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_case.setdefault((row.tissue, row.case), {})[row.method] = row
    return [
        f"{tissue}, {case}: {sentence}"
        for (tissue, case), found in by_case.items()
        if FIBSTACK in found
        for sentence in _shortfalls(found[FIBSTACK], [r for m, r in found.items() if m != FIBSTACK])
    ]


def _shortfalls(own: Row, peers: list[Row]) -> list[str]:
    sentences = [own.stopped] if own.stopped else []
    measured = [r for r in _least_failing(peers) if r.mean_px is not None and r.n_failed <= own.n_failed]
    if measured and own.mean_px is not None:
        best_px, best = min((r.mean_px or 0.0, r.method) for r in measured)
        if own.mean_px > best_px + CLEARLY_WORSE_PX:
            sentences.append(f"mean {own.mean_px:.3f} px; {best} has {best_px:.3f} px")
        drift_px, steady = min((r.drift_px or 0.0, r.method) for r in measured)
        if own.drift_px is not None and own.drift_px > drift_px + 1:
            sentences.append(f"drift {own.drift_px:.2f} px; {steady} has {drift_px:.2f} px")
    if peers:
        fewest = min(peers, key=lambda r: r.n_failed)
        if own.n_failed > fewest.n_failed:
            sentences.append(f"{own.n_failed} pairs fail; {fewest.method} has {fewest.n_failed}")
    for name, verdicts in (("missed", own.missed), ("wrong", own.wrong), ("false", own.false_alarms)):
        if verdicts:
            sentences.append(f"{name} verdicts: {', '.join(f'{z} {kind}' for z, kind in verdicts.items())}")
    return sentences
