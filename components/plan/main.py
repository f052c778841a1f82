"""Look at the input, refuse what cannot work, and cut the work into units."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import click

from components.plan import inventory, partition
from components.shared import units
from components.shared.command import StepCommand, write_parameter
from components.shared.config import RunConfig, parse_config
from components.shared.documents import PLAN_KEY, Override, Plan
from components.shared.errors import ConfigError, UserError
from components.shared.imageio import read_header
from components.shared.locations import Locations, locations_of
from components.shared.overrides import check_overrides, parse_overrides
from components.shared.reading import read_document
from components.shared.storage import ObjectMissingError, Stat, Store, join_uri, open_store

_HEADERS_IN_FLIGHT = 32
_SIFT_BYTES_PER_PX = 217
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
@click.option("--process-uri-out", required=True, help="File that receives the URI of the run's records.")
@click.option(
    "--chunks-out", required=True, help="File that receives the chunks that are still to be matched."
)
def main(fan: int, process_uri_out: str, chunks_out: str, **fields: str | None) -> None:
    """Look at the input, refuse what cannot work, and cut the work into units."""
    config = _parse_flags(fields)
    plan = make_plan(config, fan)
    process = open_store(plan.locations.process_uri)
    _write_plan(plan, process)
    chunks = units.chunks_to_do(plan, process)
    _log_inventory(plan, len(chunks))
    write_parameter(process_uri_out, plan.locations.process_uri)
    write_parameter(chunks_out, [str(chunk) for chunk in chunks])


def _parse_flags(fields: dict[str, str | None]) -> RunConfig:
    values: dict[str, Any] = {name: text for name, text in fields.items() if text is not None}
    if "resolution" in values:
        try:
            values["resolution"] = json.loads(values["resolution"])
        except ValueError:
            raise ConfigError(
                f"'resolution' must be a number or a list [x, y, z] of nm; got {values['resolution']!r}. "
                f"Write 8 or [8,8,8]."
            ) from None
    return parse_config(values)


def make_plan(config: RunConfig, fan: int) -> Plan:
    """List the source, read the headers and decide how the stack is worked on. Writes nothing.

    Raises:
        UserError: the stack is not fit: slices are missing, unreadable, or of mixed bit depth.
        ConfigError: the configuration does not fit.
    """
    locations = locations_of(config)
    _check_source_apart(config, locations)
    overrides = _read_overrides(config)
    check_overrides(config, overrides)
    source = open_store(locations.source_uri)
    present = _find_slices(config, source)
    missing = inventory.missing_slices(
        present, config.minz, config.maxz, allow_gaps=config.allow_gaps, uri=source.uri
    )
    with ThreadPoolExecutor(_HEADERS_IN_FLIGHT) as executor:
        headers = list(
            executor.map(lambda stat: read_header(source, stat.key, stat.size_bytes), present.values())
        )
    longest_side_px = max(max(header.width_px, header.height_px) for header in headers)
    return Plan(
        config=config,
        locations=locations,
        pixel_type=inventory.common_pixel_type(present, headers, source.uri),
        slices=inventory.source_slices(present, headers),
        missing_z=missing,
        match_scale=partition.match_scale(longest_side_px, config.match_size, config.downsample_factor),
        thumbnail_scale=partition.thumbnail_scale(longest_side_px),
        chunk_length=partition.chunk_length(config.maxz - config.minz + 1, fan),
        fan=fan,
        overrides=overrides,
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


def _check_source_apart(config: RunConfig, locations: Locations) -> None:
    """Refuse slices that lie where a run writes and cleans up."""
    folder = join_uri(locations.source_uri, *config.image.split("/")[:-1])
    slices_uri = open_store(folder).uri + "/"
    written = (locations.neuroglancer_uri, locations.chunk_uri, locations.process_uri, locations.tmp_uri)
    for uri in written:
        if slices_uri.startswith(open_store(uri).uri + "/"):
            raise UserError(
                f"the slices must lie outside of what a run writes; got {folder}, where {uri} is written. "
                f"Choose another output."
            )


def _find_slices(config: RunConfig, source: Store) -> dict[int, Stat]:
    """The slices of the run that are in the listing, z ascending."""
    if not source.exists():
        raise UserError(f"the source must exist; got {source.uri}, which does not. Change 'source'.")
    listing = inventory.number_slices(config.image, source.list(inventory.name_prefix(config.image)))
    present = listing.between(config.minz, config.maxz)
    if not present:
        folder = "".join(f"{part}/" for part in config.image.split("/")[:-1])
        others = [stat.key for stat in islice(source.list(folder), 5)]
        raise UserError(inventory.no_match_sentence(config, listing, others, source.uri))
    return present


def _write_plan(plan: Plan, process: Store) -> None:
    """Write the plan where it differs from the one that is there."""
    data = plan.to_json()
    if process.stat(PLAN_KEY) is not None:
        if process.read(PLAN_KEY) == data:
            return
        _check_same_stack(process, plan)
    process.write(PLAN_KEY, data)


def _check_same_stack(process: Store, plan: Plan) -> None:
    """Refuse to mix the results of two stacks in one output."""
    old = read_document(process, PLAN_KEY, Plan)
    if _stack_of(old) != _stack_of(plan):
        raise UserError(
            f"an output must hold one stack; got {_stack_of(plan)} where there is {_stack_of(old)} "
            f"in {process.uri}. Choose another output."
        )


def _stack_of(plan: Plan) -> str:
    config = plan.config
    return f"{join_uri(open_store(config.source).uri, config.image)} {config.minz} to {config.maxz}"


def _log_inventory(plan: Plan, n_chunks_to_do: int) -> None:
    slices = plan.slices
    width_px, height_px = plan.largest_xy
    n_sizes = len({(entry.width_px, entry.height_px) for entry in slices})
    stored_gb = sum(entry.size_bytes for entry in slices) / 1e9
    n_px = sum(entry.width_px * entry.height_px for entry in slices)
    raw_gb = n_px * (1 if plan.pixel_type == "uint8" else 2) / 1e9
    match_gb = width_px * height_px * plan.match_scale**2 * _SIFT_BYTES_PER_PX / 1e9
    log.info("%d slices, %d missing, %s", len(slices), len(plan.missing_z), plan.pixel_type)
    log.info("largest %d x %d px, %d different sizes", width_px, height_px, n_sizes)
    log.info("%.2f GB stored, %.2f GB of pixels", stored_gb, raw_gb)
    log.info("matched at %.3f of full resolution, %.2f GB for features", plan.match_scale, match_gb)
    log.info("chunks of %d slices, %d to do", plan.chunk_length, n_chunks_to_do)
    for first, second in inventory.repeated_slices(slices):
        log.warning("slices %d and %d are the same file twice", first, second)


if __name__ == "__main__":
    main()
