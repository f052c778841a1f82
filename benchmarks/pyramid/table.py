"""The figures as ratios, in Markdown, and what falls short of the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.pyramid.measure import Measured

FIBSTACK = "fibstack"
ENCODER, TILES = "limit: JPEG encoder", "limit: tile decoder"
DEFLATE_0, DEFLATE = "limit: deflate, level 0", "limit: deflate"
LIMITS_OF = {
    "JPEG": (TILES, ENCODER),
    "lossless": (TILES, DEFLATE),
    "JPEG + chunk/": (TILES, ENCODER, DEFLATE_0),
    "JPEG + chunk/ + raw": (TILES, ENCODER, DEFLATE),
}
"""What the libraries alone must do for some volumes. What chunk/ and raw share is deflated once."""
JPEG_OVER_LIMIT = 1.3
LOSSLESS_OVER_TENSORSTORE = 3.0
JPEG_PEAK_MIB, LOSSLESS_PEAK_MIB = 0.8 * 1024, 1.2 * 1024
BLOCK = 1024
"""Side of the block that the memory goals are about."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was read back of a writer's coarsest level, and of all."""

    difference: float
    """Mean absolute difference from the exact levels, in grey levels, the greatest of all levels."""
    bias: float
    """Mean difference at the coarsest level: what halving has added up to."""


def limit_s(volumes: str, measured: Mapping[str, Measured]) -> float:
    """CPU seconds that decoding the tiles and encoding these volumes takes by themselves."""
    return sum(measured[name].cpu_s for name in LIMITS_OF[volumes])


def over_limit(row: Measured, measured: Mapping[str, Measured]) -> float:
    """CPU seconds of the work on a block, without the program's start, over those of the libraries."""
    return (row.cpu_s - row.start_cpu_s) / limit_s(row.name.partition(", ")[2], measured)


def as_markdown(side: int, measured: Mapping[str, Measured], checked: Mapping[str, Checked]) -> str:
    """A row for each writer and each limit; ratios compare with fibstack's row of the same volumes."""
    head = (
        "volumes | writer | wall s | CPU s | of it start | CPU / limit | CPU / fibstack | wall / fibstack | "
        "peak MiB | MB | error | bias"
    )
    lines = [f"### {side}^3\n", f"| {head} |", "|---|---|" + "---:|" * 10]
    for name, row in measured.items():
        if name.startswith("limit"):
            continue
        writer, _, volumes = name.partition(", ")
        own, found = measured[f"{FIBSTACK}, {volumes}"], checked[name]
        cells = [
            volumes,
            writer,
            f"{row.wall_s:.1f}",
            f"{row.cpu_s:.2f}",
            f"{row.start_cpu_s:.2f}" if writer == FIBSTACK else "",
            f"{over_limit(row, measured):.2f}",
            *(("", "") if row is own else (f"{row.cpu_s / own.cpu_s:.1f}", f"{row.wall_s / own.wall_s:.1f}")),
            f"{row.peak_mib:.0f}",
            f"{row.n_bytes / 1e6:.0f}",
            f"{found.difference:.2f}",
            f"{found.bias:+.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    limits = ", ".join(
        f"{name.removeprefix('limit: ')} {row.cpu_s:.2f} s"
        for name, row in measured.items()
        if name.startswith("limit")
    )
    return "\n".join([*lines, "", f"Limits, CPU: {limits}.", ""])


def shortfalls(side: int, measured: Mapping[str, Measured]) -> list[str]:
    """A sentence on each goal that is missed."""
    sentences = []
    over = over_limit(measured[f"{FIBSTACK}, JPEG"], measured)
    if over > JPEG_OVER_LIMIT:
        sentences.append(
            f"JPEG takes {over:.2f} x the libraries' own CPU time; the goal is {JPEG_OVER_LIMIT}"
        )
    for name, row in measured.items():
        writer, _, volumes = name.partition(", ")
        if writer == FIBSTACK or name.startswith("limit"):
            continue
        faster = row.wall_s / measured[f"{FIBSTACK}, {volumes}"].wall_s
        goal = LOSSLESS_OVER_TENSORSTORE if name == "tensorstore, lossless" else 1.0
        if faster < goal:
            sentences.append(f"{volumes} is {faster:.2f} x as fast as {writer}; the goal is {goal:g}")
    if side == BLOCK:
        sentences += _memory_shortfalls([row for name, row in measured.items() if name.startswith(FIBSTACK)])
    return [f"{side}^3: {sentence}" for sentence in sentences]


def _memory_shortfalls(rows: Sequence[Measured]) -> list[str]:
    sentences = []
    for row in rows:
        goal = JPEG_PEAK_MIB if row.name == f"{FIBSTACK}, JPEG" else LOSSLESS_PEAK_MIB
        if row.peak_mib > goal:
            sentences.append(f"{row.name} takes {row.peak_mib:.0f} MiB; the goal is {goal:.0f}")
    return sentences
