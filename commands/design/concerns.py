"""Sentences about what looks wrong with a stack, or with what a run would do with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from commands.design.here import Here
from components.plan.estimate import StepEstimate
from components.plan.inventory import Listing, repeated_slices
from components.shared.documents.cost import Pod
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.text import listed, ranges, size

_SHOWN = 5
_SMALL_FILE = 0.25
"""A file with less than this part of the median bytes a pixel is likely to be blank or cut off."""
_SHOWN_FOR_MISSING = {
    "nearest": "the nearest slice",
    "previous": "the slice before",
    "next": "the slice behind",
    "blend": "a blend of the slices around",
    "blank": "black",
}
"""Words for what each value of `replace_with` shows in place of a slice."""


def concerns(
    plan: Plan,
    listings: Mapping[str, Listing],
    steps: Sequence[StepEstimate],
    pods: Mapping[str, Pod],
    here: Here | None = None,
) -> list[str]:
    """Sentences that a user should read before the run is paid for; most grave first.

    Args:
        plan: The plan.
        listings: Listing of the source, by name pattern.
        steps: Estimate of each step.
        pods: Pod of each step.
        here: What the run takes on this machine; None where its steps run in pods.
    """
    return [
        *_missing_slices(plan),
        *_repeated_files(plan),
        *_small_files(plan.slices),
        *_differing_sizes(plan.slices),
        *plan.findings,
        *_files_left_out(plan, listings),
        *_settings_without_effect(plan),
        *(_too_little_memory(steps, pods) if here is None else _too_small_a_machine(here)),
    ]


def slice_ranges(numbers: Iterable[int]) -> str:
    """The first few ranges that slice numbers form, and how many slices there are where that is not all.

    Example:
        >>> slice_ranges([3, 4, 5, 9]), slice_ranges(range(0, 20, 2))
        ('3 to 5, 9', '0, 2, 4, 6, 8, ... (10 in all)')
    """
    ordered = sorted(numbers)
    return listed(ranges(ordered, to=" to "), _SHOWN, rest=f", ... ({len(ordered)} in all)")


def _missing_slices(plan: Plan) -> list[str]:
    if not plan.missing_z:
        return []
    shown = _SHOWN_FOR_MISSING[plan.config.replace_with]
    return [f"missing: {slice_ranges(plan.missing_z)}; the volume shows {shown} there"]


def _repeated_files(plan: Plan) -> list[str]:
    repeated = repeated_slices(plan.slices)
    if not repeated:
        return []
    named = slice_ranges(second for _, second in repeated)
    return [f"the same file twice: slices {named} equal the one before"]


def _small_files(slices: Sequence[SourceSlice]) -> list[str]:
    usual = median(entry.size_bytes / (entry.width_px * entry.height_px) for entry in slices)
    small = [e.z for e in slices if e.size_bytes < _SMALL_FILE * usual * e.width_px * e.height_px]
    if not small:
        return []
    return [f"less than a quarter of the usual bytes, so blank or cut off: slices {slice_ranges(small)}"]


def _differing_sizes(slices: Sequence[SourceSlice]) -> list[str]:
    numbers: dict[tuple[int, int], list[int]] = {}
    for entry in slices:
        numbers.setdefault((entry.width_px, entry.height_px), []).append(entry.z)
    if len(numbers) == 1:
        return []
    by_count = sorted(numbers.items(), key=lambda item: -len(item[1]))
    named = [f"{w} x {h} px: slices {slice_ranges(z)}" for (w, h), z in by_count]
    shown = listed(named, _SHOWN, between="; ", rest="; and {more} more")
    return [f"{len(numbers)} different sizes: {shown}"]


def _files_left_out(plan: Plan, listings: Mapping[str, Listing]) -> list[str]:
    """Files whose names fit the pattern and that take no part."""
    sentences = []
    for pattern, listing in listings.items():
        outside = [z for z in listing.slices if not plan.config.minz <= z <= plan.config.maxz]
        if outside:
            sentences.append(f"outside of minz to maxz: '{pattern}' {slice_ranges(outside)}")
        if listing.otherwise_padded:
            names = ", ".join(listing.otherwise_padded[:_SHOWN])
            sentences.append(f"otherwise padded than '{pattern}', so not read: {names}")
    return sentences


def _settings_without_effect(plan: Plan) -> list[str]:
    if plan.config.keep_bits and plan.pixel_type == "uint8":
        return ["keep_bits changes nothing: the slices have 8 bit"]
    return []


def _too_little_memory(steps: Sequence[StepEstimate], pods: Mapping[str, Pod]) -> list[str]:
    """Steps that need more memory than their pods get."""
    return [
        f"{step.title} needs about {step.memory_bytes / 1e9:.1f} GB and its pods get "
        f"{pods[step.step].memory_bytes / 1e9:.1f} GB: raise 'memory' of [{step.step}] in --settings"
        for step in steps
        if step.memory_bytes > pods[step.step].memory_bytes
    ]


def _too_small_a_machine(here: Here) -> Iterator[str]:
    """Sentences on memory or space on the disk that the machine does not have."""
    if here.used_bytes > here.machine_bytes:
        yield (
            f"{here.largest_step} needs about {size(here.used_bytes)} of memory and this machine has "
            f"{size(here.machine_bytes)}: use one with more, or match smaller pictures: --set match_size=640"
        )
    elif here.jobs < here.cores:
        yield (
            f"the memory of {size(here.machine_bytes)} holds {here.jobs} tasks of {here.largest_step} at a "
            f"time, fewer than the {here.cores} cores: add --jobs {here.jobs}"
        )
    if here.free_bytes is not None and here.stored_bytes > here.free_bytes:
        yield (
            f"about {size(here.stored_bytes)} are written and {size(here.free_bytes)} are free: free some, "
            "or choose a place with more: --output FOLDER"
        )
