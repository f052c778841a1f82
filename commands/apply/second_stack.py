"""Places another stack as the slices of a run are placed, such as those of a second detector."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from commands.design.discovery import completed
from commands.run.main import Extent, run_as_asked
from components.plan.fitness import check_placed_numbers
from components.plan.inventory import name_prefix, number_slices
from components.shared.documents.config import RunConfig, parse_config
from components.shared.documents.locations import locations_of
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import PLACES_KEY, GivenPlaces, PlacedSize, Transforms
from components.shared.errors import ConfigError, UserError
from components.shared.steps import STEPS
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store
from components.shared.work.completeness import check_blocks
from components.shared.work.export import EXPORT_KEY, Export
from components.shared.work.verification import Written, read_written_in
from components.shared.work.versions import blocks_as_written
from pipeline.configuration import absolute, parse_settings, with_absolute_locations

_OF_PICTURES = STEPS["tile"].hashed_keys | STEPS["pyramid"].hashed_keys
_TAKEN_OVER = _OF_PICTURES | {"crop", "intensity", "streaks", "keep_bits", "keep_tiles"}
"""Keys of the first run that the second stack is written by, too; what is found in grey levels is its own."""
_FIXED = frozenset(
    {"source", "image", "minz", "maxz", "output", "crop", "placed_as", "skip_align", "overrides"}
)
"""Keys that follow from the first run or have a place in the command."""


def place_stack(
    output: str, folder: str, new_output: str, image: str | None, settings: Sequence[str], jobs: int | None
) -> None:
    """Write the volume of another stack whose slices lie as those of a run do.

    Args:
        output: The run.
        folder: Folder or URI of the other slices.
        new_output: Where their volume goes.
        image: Their name pattern; None where the folder tells it.
        settings: `key=value` texts.
        jobs: Most processes at a time; None for one on each core.

    Raises:
        UserError: the slices are not there, not of these numbers or sizes, or the output is another's.
        ConfigError: a key or value is refused.
    """
    written = _read(output)
    config, said = _config_of(written, output, folder, new_output, image, settings)
    process = open_store(locations_of(config).process_uri)
    _claim(process, config)
    places = places_of(config.placed_as, written.plan, written.transforms)
    source = open_store(config.source)
    listing = number_slices(config.image, source.list(name_prefix(config.image)))
    check_placed_numbers(places, listing.slices, source.uri)
    for sentence in said:
        click.echo(sentence)
    process.write(PLACES_KEY, places.to_json())
    run_as_asked(config, Extent("report"), "process", jobs, None, None, dry_run=False)


def places_of(output: str, plan: Plan, transforms: Transforms) -> GivenPlaces:
    """Where the slices of a run lie, for those of another.

    Args:
        output: Output of the run.
        plan: Its plan.
        transforms: Its transforms.
    """
    sizes = (PlacedSize(z=s.z, width_px=s.width_px, height_px=s.height_px) for s in plan.slices)
    return GivenPlaces(output=output, sizes=tuple(sizes), transforms=transforms)


def _read(output: str) -> Written:
    """The run whose slices have places."""
    written = read_written_in(output)
    process = open_store(part_uri(output, "process"))
    if process.stat(EXPORT_KEY) is not None:
        source = read_document(process, EXPORT_KEY, Export).source
        raise UserError(
            f"another stack must be placed as the slices of a run, not of an export; got {output}, made from "
            f"{source}. Apply {source}, and export the new volume with the same --crop."
        )
    if check_blocks(blocks_as_written(written)):
        click.echo(
            f"note: the volume in {output} is not complete; slices are placed as its transforms have it now.",
            err=True,
        )
    return written


def _config_of(
    written: Written, output: str, folder: str, new_output: str, image: str | None, settings: Sequence[str]
) -> tuple[RunConfig, list[str]]:
    """The configuration of the second stack, and sentences on what its folder tells."""
    changes = parse_settings(settings)
    for key in _FIXED & changes.keys():
        raise ConfigError(
            f"'{key}' must not be set, since it follows from OUTPUT and the command; got --set {key}. Leave "
            f"it out."
        )
    first = written.plan.config.model_dump()
    slices = written.transforms.slices
    given = {"source": absolute(folder), "output": absolute(new_output)}
    found, said = completed(given | ({"image": image} if image else {}))
    values = {
        **{key: first[key] for key in sorted(_TAKEN_OVER)},
        "resolution": written.plan.resolution_nm,
        **changes,
        **found,
        "minz": slices[0].z,
        "maxz": slices[-1].z,
        "placed_as": absolute(output),
        "skip_align": True,
        "allow_gaps": True,
    }
    return with_absolute_locations(parse_config(values)), said


def _claim(process: Store, config: RunConfig) -> None:
    """Refuse an output that holds something else.

    Raises:
        UserError: it holds another volume.
    """
    others = process.stat(EXPORT_KEY) is not None
    if process.stat(PLAN_KEY) is not None:
        others = others or read_document(process, PLAN_KEY, Plan).config.placed_as != config.placed_as
    if others:
        again = shlex.join(["fibstack", "apply", config.placed_as, config.source, f"{config.output}-2"])
        raise UserError(
            f"another stack must go where nothing is, or where it was placed before; got {config.output}, "
            f"which holds another volume. Choose another NEW: {again}."
        )
