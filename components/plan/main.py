"""Look at the input, refuse what cannot work, and cut the work into units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import click

from components.plan import fitness, inventory, work
from components.plan.estimate import asked_memory, cost_estimate, estimate, task_voxels
from components.plan.output import (
    ForeignOutputError,
    check_earlier_run,
    check_no_export,
    check_source_apart,
    earlier_plan,
    may_hold_a_run,
    resolved_from,
    written_uris,
)
from components.plan.overrides import check_overrides, read_overrides
from components.plan.rates import RATES
from components.plan.source import find_channels, known_stack, moved_from, placed, read_places, read_stack
from components.shared.command import StepCommand, write_parameter
from components.shared.documents.config import RunConfig
from components.shared.documents.config_flags import config_flags, parse_flags
from components.shared.documents.cost import COST_KEY, CostEstimate, Pod, listed_prices, parse_pods
from components.shared.documents.locations import locations_of
from components.shared.documents.plan import PLAN_KEY, Plan, region_of_slices, voxel_size
from components.shared.errors import ConfigError, FibstackError, UserError
from components.shared.steps import MEMORY_OUTPUTS, STUB_DESCRIPTION
from components.shared.storage.folder import remove_abandoned
from components.shared.storage.registry import open_store, place_of
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store
from components.shared.stub.program import or_stub
from components.shared.text import product
from components.shared.volume.volume import jpeg_channels
from components.shared.work.left import chunks_to_do
from components.shared.work.refusal import REFUSED_KEY, leave_refusal, settings_hash, take_refusal_back
from components.shared.work.units import chunk_items

_Command = TypeVar("_Command", bound=Callable[..., None])
log = logging.getLogger(__name__)


def _memory_options(command: _Command) -> _Command:
    """Decorator of a command: an option for each step whose pods ask for memory as estimated."""
    for step, output in reversed(list(MEMORY_OUTPUTS.items())):
        told = f"File that receives the memory that pods of {step} ask for."
        command = click.option(f"--{output.replace('_', '-')}-out", help=told)(command)
    return command


@click.command(cls=StepCommand)
@config_flags(required=True)
@click.option("--fan", type=click.IntRange(1), default=200, show_default=True, help="Most items in a loop.")
@click.option("--pods", default="", help="JSON of each step's image and machine, to estimate the cost from.")
@click.option("--process-uri-out", required=True, help="File that receives the URI of the run's records.")
@click.option(
    "--chunks-out", required=True, help="File that receives the chunks that are still to be matched."
)
@_memory_options
@click.option("--stub", default="", help=STUB_DESCRIPTION)
@or_stub("plan")
def main(fan: int, pods: str, process_uri_out: str, chunks_out: str, **fields: str | None) -> None:
    """Look at the input, refuse what cannot work, and cut the work into units."""
    memory_files = {step: fields.pop(f"{output}_out") for step, output in MEMORY_OUTPUTS.items()}
    try:
        config = parse_flags(fields)
        plan = make_plan(config, fan)
        process = open_store(plan.locations.process_uri)
        for uri in written_uris(plan.locations):
            remove_abandoned(uri)
        write_plan(plan, process, config.decided)
    except ForeignOutputError:
        raise
    except (UserError, ConfigError) as error:
        _leave_refusal(error, fields)
        raise
    _take_refusal_back(process)
    if pods or any(memory_files.values()):
        _write_estimate(plan, parse_pods(pods), process, memory_files)
    chunks = chunks_to_do(plan, process)
    _log_inventory(plan, len(chunks))
    write_parameter(process_uri_out, plan.locations.process_uri)
    write_parameter(chunks_out, [str(item) for item in chunk_items(plan, chunks)])


def _write_estimate(
    plan: Plan, pods: Mapping[str, Pod], process: Store, memory_files: Mapping[str, str | None]
) -> None:
    """Write what the run is to cost, and the memory that pods ask for."""
    prices = listed_prices(process.uri)
    predicted = estimate(plan, work.expected_volume(plan), pods, prices)
    write_cost(cost_estimate(predicted, pods, prices), process)
    asked = asked_memory(predicted.steps, pods)
    for step, file in memory_files.items():
        if file:
            write_parameter(file, asked[step])


def _leave_refusal(error: UserError | ConfigError, fields: Mapping[str, str | None]) -> None:
    """Write why the input is refused; a run goes without whose output is not said, or not seen to be one."""
    output = fields.get("output")
    if not output:
        return
    try:
        process = open_store(part_uri(output, "process"))
        if may_hold_a_run(process):
            leave_refusal(process, "plan", error, settings_hash(fields))
    except FibstackError as failure:
        log.warning("the report cannot say why the input is refused: %s", failure)


def _take_refusal_back(process: Store) -> None:
    try:
        take_refusal_back(process)
    except UserError as error:
        log.warning("%s stays, although the input is not refused any more: %s", REFUSED_KEY, error)


def make_plan(config: RunConfig, fan: int) -> Plan:
    """List the source, read the headers and decide how the stack is worked on. Writes nothing.

    Raises:
        UserError: the stack is not fit: slices are missing, unreadable, or of mixed bit depth.
        ConfigError: the configuration does not fit.
    """
    locations = locations_of(config)
    earlier = earlier_plan(locations)
    if earlier and place_of(earlier.config.source) == place_of(config.source):
        # One place has one name: by another, such as one with a link in it, all slices were matched again.
        config = config.model_copy(update={"source": earlier.config.source})
        locations = locations_of(config)
    check_source_apart(config, locations)
    check_no_export(config, locations)
    overrides = read_overrides(config, earlier)
    if earlier is not None and overrides and overrides is earlier.overrides:
        log.warning("%s is gone: its decisions stay as %s has them", config.overrides, PLAN_KEY)
    check_overrides(config, overrides)
    source = open_store(locations.source_uri)
    config, found = find_channels(config, source, earlier)
    patterns = (config.image, *config.more_channels)
    present = inventory.with_every_channel(
        [channel.slices for channel in found], patterns, allow_gaps=config.allow_gaps, uri=source.uri
    )
    places = read_places(config, open_store(locations.process_uri))
    if places is not None:
        present = placed(places, present, source.uri)
    missing = inventory.missing_slices(
        present,
        config.minz,
        config.maxz,
        allow_gaps=config.allow_gaps,
        uri=source.uri,
        otherwise_ended=found[0].listing.otherwise_ended,
    )
    moved = moved_from(config, earlier, present, source, open_store(locations.process_uri))
    stack = known_stack(config, earlier, present) or read_stack(config, source, present)
    slices = stack.slices
    fitness.check_channels(slices, config, source.uri)
    if places is not None:
        fitness.check_placed_slices(places, slices, source.uri)
    voxel = voxel_size(config.resolution, stack.pixel_sizes)
    fitness.check_resolution(voxel, source.uri)
    longest_side_px = max(max(entry.width_px, entry.height_px) for entry in slices)
    region = region_of_slices(config.match_region, stack.reading)
    longest_matched_px = max(region[2:]) if region else longest_side_px
    match_scale = work.match_scale(longest_matched_px, config.match_size, config.downsample_factor)
    thumbnail_scale = work.thumbnail_scale(longest_side_px)
    fitness.check_sides(slices, min(match_scale, thumbnail_scale), source.uri)
    if region:
        fitness.check_match_region(region, slices, config, match_scale, source.uri)
    plan = Plan(
        config=config.model_copy(update={"decided": ()}),
        locations=locations,
        pixel_type=stack.pixel_type,
        reading=stack.reading,
        pixel_sizes=stack.pixel_sizes,
        data_bars=stack.data_bars,
        shown_otherwise=stack.shown_otherwise,
        slices=slices,
        missing_z=missing,
        match_scale=match_scale,
        thumbnail_scale=thumbnail_scale,
        chunk_length=work.chunk_length_after(earlier, config, fan)
        if earlier
        else work.chunk_length(config.maxz - config.minz + 1, fan),
        fan=fan,
        overrides=overrides,
        more_intensity_ranges=stack.more_intensity_ranges,
        places_crc32c=places.crc32c if places is not None else "",
        resolved_from=resolved_from(config, earlier),
        moved_from=moved,
        findings=(
            *inventory.suffix_findings(patterns, [c.listing for c in found], config.minz, config.maxz),
            *fitness.size_findings(slices),
            *fitness.resolution_findings(voxel, stack.pixel_sizes, len(slices)),
            *(() if places is None else inventory.places_findings(places, found[0].slices)),
            *fitness.data_bar_findings(stack.data_bars, slices, stack.reading),
            *stack.shown_otherwise,
        ),
    )
    why = "; ".join(work.matched_anew(earlier, plan)) if earlier else ""
    if why:
        log.warning("all slices are matched again: %s", why)
    return plan.model_copy(update={"task_voxels": task_voxels(work.expected_volume(plan))})


def write_plan(plan: Plan, process: Store, decided: Collection[str] = ()) -> None:
    """Write the plan where it differs from the one that is there, unless it would undo what that one says.

    Args:
        plan: The plan of this run.
        process: Where it is written.
        decided: Keys that are set on purpose.
    """
    data = plan.to_json()
    if process.stat(PLAN_KEY) is not None:
        if process.read(PLAN_KEY) == data:
            return
        check_earlier_run(process, plan, decided)
    process.write(PLAN_KEY, data)


def write_cost(cost: CostEstimate, process: Store) -> None:
    """Write the estimate where it differs; other machines or prices are no reason to refuse a run."""
    data = cost.to_json()
    if process.stat(COST_KEY) is None:
        process.write(COST_KEY, data)
    elif process.read(COST_KEY) != data:
        try:
            process.write(COST_KEY, data)
        except UserError as error:  # an identity that may create but not replace
            log.warning("the report shows the cost that was estimated before: %s", error)


def _log_inventory(plan: Plan, n_chunks_to_do: int) -> None:
    slices = plan.slices
    width_px, height_px = plan.largest_xy
    n_sizes = len({(entry.width_px, entry.height_px) for entry in slices})
    stored_gb = sum(s.size_bytes + sum(file.size_bytes for file in s.more_channels) for s in slices) / 1e9
    n_channels = sum(plan.file_channels)
    n_px = sum(entry.width_px * entry.height_px for entry in slices) * n_channels
    raw_gb = n_px * (1 if plan.pixel_type == "uint8" else 2) / 1e9
    match_gb = width_px * height_px * plan.match_scale**2 * RATES.sift_bytes_per_px / 1e9
    log.info("%d slices, %d missing, %s", len(slices), len(plan.missing_z), plan.pixel_type)
    if n_channels > 1:
        log.info(
            "%d channels, of which %d are shown in the JPEG", n_channels, jpeg_channels(plan.file_channels)
        )
    if plan.config.keep_bits and plan.pixel_type == "uint8":
        log.warning("keep_bits changes nothing: the slices have 8 bit")
    log.info("largest %d x %d px, %d different sizes", width_px, height_px, n_sizes)
    voxel = plan.voxel
    log.info("voxels of %s nm, %s", product(voxel.xyz_nm), voxel.source)
    log.info("%.2f GB stored, %.2f GB of pixels", stored_gb, raw_gb)
    log.info("matched at %.3f of full resolution, %.2f GB for features", plan.match_scale, match_gb)
    log.info("chunks of %d slices, %d to do", plan.chunk_length, n_chunks_to_do)
    for file, fill_numbers in enumerate(plan.reading.fill):
        of_file = f" of {plan.config.more_channels[file - 1]}" if file else ""
        for fill in fill_numbers:
            log.warning(
                "fill value%s: %g in %.1f%% of the pixels of a slice, far from all others; it is left out of "
                "ranges and of matching, and shown black",
                of_file,
                fill.number,
                100 * fill.share,
            )
    for first, second in inventory.repeated_slices(slices):
        log.warning("slices %d and %d are the same file twice", first, second)
    for sentence in plan.findings:
        log.warning("%s", sentence)


if __name__ == "__main__":
    main()
