"""Look at the input, refuse what cannot work, and cut the work into units."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import click

from components.plan import brightness, fitness, inventory, partition
from components.plan.estimate import cost_estimate
from components.plan.overrides import check_overrides, parse_overrides
from components.plan.rates import RATES
from components.shared.command import StepCommand, write_parameter
from components.shared.documents.config import RunConfig, parameters, parse_config
from components.shared.documents.cost import COST_KEY, CostEstimate, parse_pods
from components.shared.documents.locations import Locations, locations_of
from components.shared.documents.plan import PLAN_KEY, Override, PixelType, Plan, Reading, SourceSlice
from components.shared.documents.prices import read_prices
from components.shared.documents.read_document import read_document
from components.shared.errors import ConfigError, UserError
from components.shared.pictures.grey_levels import WIDE, pixel_type_of, value_range
from components.shared.pictures.slice_files import (
    ImageHeader,
    read_further_channel,
    read_header,
    read_numbers,
)
from components.shared.storage.folder import remove_abandoned
from components.shared.storage.registry import open_store
from components.shared.storage.store import ObjectMissingError, Stat, Store, join_uri
from components.shared.volume.volume import jpeg_channels, tile_arrays
from components.shared.work import units
from components.shared.work.export import EXPORT_KEY

_HEADERS_IN_FLIGHT = 32
_LONGEST_SHOWN = 200
log = logging.getLogger(__name__)
_Function = TypeVar("_Function", bound=Callable[..., None])


def _config_options(function: _Function) -> _Function:
    """One flag for each field of `RunConfig`; its text is read by `parse_config` alone."""
    for name, field in reversed(RunConfig.model_fields.items()):
        flag = f"--{name.replace('_', '-')}"
        option = click.option(flag, name, required=field.is_required(), help=field.description)
        function = option(function)
    return function


@click.command(cls=StepCommand)
@_config_options
@click.option("--fan", type=click.IntRange(1), default=200, show_default=True, help="Most items in a loop.")
@click.option("--pods", default="", help="JSON of each step's image and machine, to estimate the cost from.")
@click.option("--process-uri-out", required=True, help="File that receives the URI of the run's records.")
@click.option(
    "--chunks-out", required=True, help="File that receives the chunks that are still to be matched."
)
def main(fan: int, pods: str, process_uri_out: str, chunks_out: str, **fields: str | None) -> None:
    """Look at the input, refuse what cannot work, and cut the work into units."""
    config = _parse_flags(fields)
    plan = make_plan(config, fan)
    process = open_store(plan.locations.process_uri)
    for uri in _written(plan.locations):
        remove_abandoned(uri)
    _write_plan(plan, process)
    if pods:
        _write_cost(cost_estimate(plan, parse_pods(pods), read_prices()), process)
    chunks = units.chunks_to_do(plan, process)
    _log_inventory(plan, len(chunks))
    write_parameter(process_uri_out, plan.locations.process_uri)
    write_parameter(chunks_out, [str(chunk) for chunk in chunks])


_LISTS = {
    "resolution": ("a number or a list [x, y, z] of nm", "8 or [8,8,8]"),
    "more_channels": ("a list of name patterns", '["esb.%05d.png"]'),
    "crop": ("a list [x, y, width, height] of px", "[0,0,4096,3800]"),
}
"""What must be written for a key that takes a list, and an example."""


def _parse_flags(fields: dict[str, str | None]) -> RunConfig:
    """The configuration that the flags hold; a list is written as JSON."""
    values: dict[str, Any] = {name: text for name, text in fields.items() if text is not None}
    for name in [key.name for key in parameters() if key.annotation is list and key.name in values]:
        try:
            values[name] = json.loads(values[name])
        except ValueError:
            rule, example = _LISTS.get(name, ("a list", "[]"))
            got = repr(values[name])
            raise ConfigError(f"'{name}' must be {rule}; got {got}. Write {example}.") from None
    return parse_config(values)


def make_plan(config: RunConfig, fan: int) -> Plan:
    """List the source, read the headers and decide how the stack is worked on. Writes nothing.

    Raises:
        UserError: the stack is not fit: slices are missing, unreadable, or of mixed bit depth.
        ConfigError: the configuration does not fit.
    """
    locations = locations_of(config)
    _check_source_apart(config, locations)
    _check_no_export(config, locations)
    overrides = _read_overrides(config)
    check_overrides(config, overrides)
    source = open_store(locations.source_uri)
    config, found = _find_channels(config, source)
    patterns = (config.image, *config.more_channels)
    present = inventory.with_every_channel(found, patterns, allow_gaps=config.allow_gaps, uri=source.uri)
    missing = inventory.missing_slices(
        present, config.minz, config.maxz, allow_gaps=config.allow_gaps, uri=source.uri
    )
    stack = _known_stack(config, locations, present) or _read_stack(config, source, present)
    slices = stack.slices
    fitness.check_channels(slices, config, source.uri)
    longest_side_px = max(max(entry.width_px, entry.height_px) for entry in slices)
    match_scale = partition.match_scale(longest_side_px, config.match_size, config.downsample_factor)
    thumbnail_scale = partition.thumbnail_scale(longest_side_px)
    fitness.check_sides(slices, min(match_scale, thumbnail_scale), source.uri)
    return Plan(
        config=config,
        locations=locations,
        pixel_type=stack.pixel_type,
        reading=stack.reading,
        slices=slices,
        missing_z=missing,
        match_scale=match_scale,
        thumbnail_scale=thumbnail_scale,
        chunk_length=partition.chunk_length(config.maxz - config.minz + 1, fan),
        fan=fan,
        overrides=overrides,
        more_intensity_ranges=stack.more_intensity_ranges,
    )


@dataclass(frozen=True, slots=True)
class _Stack:
    """What the files of the slices tell."""

    slices: tuple[SourceSlice, ...]
    pixel_type: PixelType
    reading: Reading
    more_intensity_ranges: tuple[tuple[float, float], ...]


def _known_stack(
    config: RunConfig, locations: Locations, present: dict[int, tuple[Stat, ...]]
) -> _Stack | None:
    """What an earlier run has found out about the same files, so that another look reads none of them."""
    try:
        earlier = read_document(open_store(locations.process_uri), PLAN_KEY, Plan)
    except UserError:  # there is none, or it is of another version
        return None
    read_alike = (earlier.config.source, earlier.config.crop) == (config.source, config.crop)
    if not read_alike or not inventory.are_of_files(earlier.slices, present):
        return None
    reading = earlier.reading.model_copy(update={"invert": config.invert})
    return _Stack(earlier.slices, earlier.pixel_type, reading, earlier.more_intensity_ranges)


def _read_stack(config: RunConfig, source: Store, present: dict[int, tuple[Stat, ...]]) -> _Stack:
    """Read the header of every file, and some pictures where their values must be known."""
    headers = _read_headers(source, [file for files in present.values() for file in files])
    fitness.check_areas(headers, source.uri)
    x, y, width_px, height_px = config.crop or (0, 0, 0, 0)
    crop = (x, y, width_px, height_px) if config.crop else None
    reading = Reading(crop=crop, invert=config.invert)
    slices = inventory.source_slices(present, headers, reading, source.uri)
    sample_type = fitness.common_sample_type(headers, source.uri)
    pixel_type = pixel_type_of(sample_type)
    if sample_type in WIDE:
        samples = brightness.samples(slices)
        values = tuple(
            value_range(read_numbers(source, entry, index, pixel_type, reading) for entry in samples)
            for index in range(len(slices[0].file_channels))
        )
        reading = reading.model_copy(update={"values": values})
    return _Stack(slices, pixel_type, reading, _more_intensity_ranges(source, slices, pixel_type, reading))


def _read_headers(source: Store, files: list[Stat]) -> dict[str, ImageHeader]:
    """The header of each file, by its key."""
    with ThreadPoolExecutor(_HEADERS_IN_FLIGHT) as executor:
        headers = executor.map(lambda file: read_header(source, file.key, file.size_bytes), files)
        return {file.key: header for file, header in zip(files, headers, strict=True)}


def _more_intensity_ranges(
    source: Store, slices: tuple[SourceSlice, ...], pixel_type: PixelType, reading: Reading
) -> tuple[tuple[float, float], ...]:
    """The grey levels of each further channel that are shown as 0 and 255; 8 bit stays as it is."""
    n_files = len(slices[0].more_channels)
    if pixel_type == "uint8":
        return ((0.0, 255.0),) * n_files
    samples = brightness.samples(slices)
    return tuple(
        brightness.intensity_range(
            read_further_channel(source, entry, index, pixel_type, reading) for entry in samples
        )
        for index in range(n_files)
    )


def _read_overrides(config: RunConfig) -> tuple[Override, ...]:
    """The decisions of the overrides file; none where no file is named."""
    uri = config.overrides
    if not uri:
        return ()
    folder, slash, name = uri.rpartition("/")
    try:
        text = open_store(folder or slash or ".").read(name)
    except ObjectMissingError:
        raise ConfigError(
            f"'overrides' must name a file that the run can read; got {uri}, which does not exist. "
            f"Change 'overrides'; a run in a cluster reads it from a bucket."
        ) from None
    except UserError as error:
        raise ConfigError(str(error)) from None
    return parse_overrides(text, uri)


def _written(locations: Locations) -> tuple[str, ...]:
    """Where a run writes."""
    return (
        locations.neuroglancer_uri,
        locations.chunk_uri,
        locations.ome_zarr_uri,
        locations.process_uri,
        locations.tmp_uri,
    )


def _check_source_apart(config: RunConfig, locations: Locations) -> None:
    """Refuse slices that lie where a run writes and cleans up."""
    for pattern in (config.image, *config.more_channels):
        folder = join_uri(locations.source_uri, *pattern.split("/")[:-1])
        slices_uri = open_store(folder).uri + "/"
        for uri in _written(locations):
            if slices_uri.startswith(open_store(uri).uri + "/"):
                raise UserError(
                    f"the slices must lie outside of what a run writes; got {folder}, where {uri} is "
                    f"written. Choose another output."
                )


def _check_no_export(config: RunConfig, locations: Locations) -> None:
    """Refuse an output that `fibstack export` has written: its volume is not this run's to change."""
    if open_store(locations.process_uri).stat(EXPORT_KEY) is not None:
        raise UserError(
            f"the output must not hold an exported volume; got {config.output}. Choose another output, or "
            f"delete that volume."
        )


def _find_channels(config: RunConfig, source: Store) -> tuple[RunConfig, list[dict[int, Stat]]]:
    """The files of each channel, and the configuration that names them.

    In the older workflow, `source` names the bucket also where the slices lie in its folder `raw`.
    """
    patterns = (config.image, *config.more_channels)
    try:
        return config, [_find_slices(config, pattern, source) for pattern in patterns]
    except UserError:
        image, *more = (f"raw/{pattern}" for pattern in patterns)
        in_raw = config.model_copy(update={"image": image, "more_channels": tuple(more)})
        with suppress(UserError):
            return in_raw, [_find_slices(in_raw, pattern, source) for pattern in (image, *more)]
        raise


def _find_slices(config: RunConfig, pattern: str, source: Store) -> dict[int, Stat]:
    """The files of a channel of the run that are in the listing, z ascending."""
    if not source.exists():
        got = source.uri if len(source.uri) < _LONGEST_SHOWN else f"{source.uri[:_LONGEST_SHOWN]}..."
        raise UserError(f"the source must be a folder or bucket that exists; got {got}. Change 'source'.")
    listing = inventory.number_slices(pattern, source.list(inventory.name_prefix(pattern)))
    inventory.check_numbered_once(listing, config.minz, config.maxz, source.uri)
    present = listing.between(config.minz, config.maxz)
    if not present:
        folder = "".join(f"{part}/" for part in pattern.split("/")[:-1])
        others = [stat.key for stat in islice(source.list(folder), 5)]
        raise UserError(inventory.no_match_sentence(config, pattern, listing, others, source.uri))
    return present


def _write_plan(plan: Plan, process: Store) -> None:
    """Write the plan where it differs from the one that is there."""
    data = plan.to_json()
    if process.stat(PLAN_KEY) is not None:
        if process.read(PLAN_KEY) == data:
            return
        check_same_stack(process, plan)
    process.write(PLAN_KEY, data)


def _write_cost(cost: CostEstimate, process: Store) -> None:
    """Write the estimate where it differs; other machines or prices are no reason to refuse a run."""
    data = cost.to_json()
    if process.stat(COST_KEY) is None:
        process.write(COST_KEY, data)
    elif process.read(COST_KEY) != data:
        try:
            process.write(COST_KEY, data)
        except UserError as error:  # an identity that may create but not replace
            log.warning("the report shows the cost that was estimated before: %s", error)


def check_same_stack(process: Store, plan: Plan) -> None:
    """Refuse to mix the results of two stacks in one output."""
    old = read_document(process, PLAN_KEY, Plan)
    if _stack_of(old) != _stack_of(plan):
        raise UserError(
            f"an output must hold one stack; got {_stack_of(plan)} where there is {_stack_of(old)} "
            f"in {process.uri}. Choose another output."
        )


def _stack_of(plan: Plan) -> str:
    config = plan.config
    patterns = " with ".join((config.image, *config.more_channels))
    exact = tile_arrays(plan)[-1]
    kind = f" of {exact.n_channels} x {exact.data_type}" if exact.bytes_per_voxel > 1 else ""
    return f"{join_uri(open_store(config.source).uri, patterns)} {config.minz} to {config.maxz}{kind}"


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
    log.info("%.2f GB stored, %.2f GB of pixels", stored_gb, raw_gb)
    log.info("matched at %.3f of full resolution, %.2f GB for features", plan.match_scale, match_gb)
    log.info("chunks of %d slices, %d to do", plan.chunk_length, n_chunks_to_do)
    for first, second in inventory.repeated_slices(slices):
        log.warning("slices %d and %d are the same file twice", first, second)


if __name__ == "__main__":
    main()
