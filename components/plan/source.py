"""Reads the source of a stack: its listing, the headers of its files, and the grey levels of some."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np

from components.plan import fitness, inventory
from components.plan.inventory import Listing
from components.shared.documents.config import RunConfig
from components.shared.documents.plan import (
    ChannelFile,
    DataBar,
    FilesOfPixelSize,
    FillNumber,
    MovedSource,
    PixelType,
    Plan,
    Reading,
    SourceSlice,
)
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import PLACES_KEY, GivenPlaces
from components.shared.errors import ConfigError, UserError
from components.shared.limits import limit
from components.shared.pictures.data_bar import find_data_bars
from components.shared.pictures.fill_values import sampled_tissue
from components.shared.pictures.formats.header import ImageHeader, Numbers
from components.shared.pictures.grey_levels import (
    TAIL_PERCENTILES,
    WIDE,
    Picture,
    pixel_type_of,
    value_range,
)
from components.shared.pictures.slice_files import (
    read_further_channel,
    read_header,
    read_numbers,
    read_slice,
)
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import Stat, Store, checksum, with_checksums
from components.shared.work.records import read_record
from components.shared.work.units import chunk_hash, chunks

_URI_SHOWN = 200
"""Characters of a URI that a sentence shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingLimits:
    """Limits of the sample of slices that tells data bars, and grey ranges that `align` does not measure."""

    n_slices: int = limit(
        9,
        unit="slices",
        why="pictures that are read whole, evenly spaced along z",
        measured_on="not measured; odd, so that the middle of the stack is one of them",
        too_small="one bad slice, or a drift of brightness, decides the range; data bars in a part of the "
        "stack are not seen",
        too_large="planning reads many slices of a bucket",
    )
    odd_percent: int = limit(
        20,
        unit="percent of the sampled slices",
        why="one sample in nine may be blank or saturated and has no say; the others may drift",
        measured_on="not measured; follows from n_slices",
        too_small="a blank slice stretches the range: the channel looks flat",
        too_large="slices at the end of a drift are clipped to black or white",
    )
    step_px: int = limit(
        4,
        unit="px",
        why="every fourth pixel along x and y is counted; percentiles need no more",
        measured_on="not measured",
        too_small="planning takes longer",
        too_large="percentiles of small pictures rest on few pixels",
    )


SAMPLING = SamplingLimits()


@dataclass(frozen=True, slots=True)
class InputStack:
    """The slices of a plan, and how the numbers in their files are read."""

    slices: tuple[SourceSlice, ...]
    pixel_type: PixelType
    reading: Reading
    more_intensity_ranges: tuple[tuple[float, float], ...]
    pixel_sizes: tuple[FilesOfPixelSize, ...]
    data_bars: tuple[DataBar, ...]
    shown_otherwise: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundChannel:
    """The files of one channel."""

    slices: dict[int, Stat]
    """Files between minz and maxz, z ascending."""
    listing: Listing
    """All files whose names are like the pattern."""


def find_channels(
    config: RunConfig, source: Store, earlier: Plan | None = None
) -> tuple[RunConfig, list[FoundChannel]]:
    """The files of each channel by z, and the configuration whose patterns name them.

    In the older workflow, `source` names the bucket also where the slices lie in its folder `raw`: where no
    slice is found, the patterns are tried there.

    Args:
        config: The configuration of the run.
        source: Where the slices lie.
        earlier: The plan that is there.

    Raises:
        UserError: there is no such source, or no slice in it.
    """
    patterns = (config.image, *config.more_channels)
    if not source.exists():
        raise UserError(_no_source(config, source, earlier))
    try:
        return config, [_find_slices(config, pattern, source) for pattern in patterns]
    except UserError:
        image, *more = (f"raw/{pattern}" for pattern in patterns)
        in_raw = config.model_copy(update={"image": image, "more_channels": tuple(more)})
        with suppress(UserError):
            return in_raw, [_find_slices(in_raw, pattern, source) for pattern in (image, *more)]
        raise


def _no_source(config: RunConfig, source: Store, earlier: Plan | None) -> str:
    """The sentence on a source that is not there."""
    got = source.uri if len(source.uri) < _URI_SHOWN else f"{source.uri[:_URI_SHOWN]}..."
    sentence = f"the source must be a folder or bucket that exists; got {got}."
    if earlier is None or earlier.config.source != config.source:
        return f"{sentence} Change --source."
    command = shlex.join(["fibstack", "resolve", config.output, "--set", "source=FOLDER"])
    return f'{sentence} If the slices were moved, say where they are: "{command}".'


def read_places(config: RunConfig, process: Store) -> GivenPlaces | None:
    """Where the slices of another run lie, whose places those of this run take; None where they are matched.

    Raises:
        ConfigError: it is not there, or other keys contradict it.
        UserError: it cannot be read.
    """
    if not config.placed_as:
        return None
    if not config.skip_align:
        raise ConfigError(
            "'placed_as' must go with skip_align: true; got skip_align: false. Change one of them."
        )
    if config.overrides:
        raise ConfigError(
            f"slices that are placed as those in {config.placed_as} must be decided on there; got overrides, "
            f"{config.overrides}. Resolve that run with them, and apply it again."
        )
    there = process.stat(PLACES_KEY) is not None
    places = read_document(process, PLACES_KEY, GivenPlaces) if there else None
    if places is None or places.output != config.placed_as:
        apply = shlex.join(["fibstack", "apply", config.placed_as, config.source, config.output])
        raise ConfigError(
            f"slices that are placed as those in {config.placed_as} must find their places in {PLACES_KEY}; "
            f"got {'none' if places is None else f'those of {places.output}'} in {process.uri}. "
            f"Have it written: {apply}."
        )
    return places


def placed(
    places: GivenPlaces, present: dict[int, tuple[Stat, ...]], uri: str
) -> dict[int, tuple[Stat, ...]]:
    """The files of the slices that have a place, without those of numbers that the other run misses.

    Raises:
        UserError: a slice that the other volume shows is missing.
    """
    fitness.check_placed_numbers(places, present, uri)
    known = {size.z for size in places.sizes}
    return {z: files for z, files in present.items() if z in known}


def _find_slices(config: RunConfig, pattern: str, source: Store) -> FoundChannel:
    """The files of one channel."""
    listing = inventory.number_slices(pattern, source.list(inventory.name_prefix(pattern)))
    inventory.check_numbered_once(listing, config.minz, config.maxz, source.uri)
    present = listing.between(config.minz, config.maxz)
    if not present:
        folder = "".join(f"{part}/" for part in pattern.split("/")[:-1])
        others = [stat.key for stat in islice(source.list(folder), inventory.SHOWN)]
        raise UserError(inventory.no_match_sentence(config, pattern, listing, others, source.uri))
    files = with_checksums(source, list(present.values()))
    return FoundChannel(dict(zip(present, files, strict=True)), listing)


def moved_from(
    config: RunConfig,
    earlier: Plan | None,
    present: Mapping[int, tuple[Stat, ...]],
    source: Store,
    process: Store,
) -> MovedSource | None:
    """The names that hashes of units have for slices that lie elsewhere than when they were first planned.

    Slices elsewhere are the same where all that the earlier plan has are there with the same sizes, and with
    the same checksums, or in folders the same times of writing. Where a copy has others, its files are read
    and compared with the checksums of what `align` has read.

    Args:
        config: The configuration of this run.
        earlier: The plan that is there.
        present: The files of each slice.
        source: Where they lie.
        process: Where the records of the output lie.

    Returns:
        None where the slices lie where they were first planned, and where these are others.
    """
    is_elsewhere = earlier is not None and earlier.config.source != config.source
    if earlier is None or not (is_elsewhere or earlier.moved_from):
        return None
    listed = {stat.key: stat for files in present.values() for stat in files}
    in_range = [entry for entry in earlier.slices if config.minz <= entry.z <= config.maxz]
    planned = {file.key: file for entry in in_range for file in entry.files}
    same = {key for key, file in planned.items() if key in listed and inventory.is_of_file(file, listed[key])}
    if is_elsewhere:
        others = [file for key, file in planned.items() if key not in same]
        if not planned or not _are_copies(earlier, others, listed, source, process):
            return None
        same |= {file.key for file in others}
    known = earlier.moved_from.written if earlier.moved_from is not None else {}
    written = {}
    for key in sorted(same):
        first = known.get(key, (planned[key].crc32c, planned[key].modified_ns))
        if first != (listed[key].crc32c, listed[key].modified_ns):
            written[key] = first
    if earlier.first_source == config.source and not written:  # moved back
        return None
    return MovedSource(source=earlier.first_source, written=written)


def _are_copies(
    earlier: Plan,
    planned: Sequence[SourceSlice | ChannelFile],
    listed: Mapping[str, Stat],
    source: Store,
    process: Store,
) -> bool:
    """Whether files hold what planned ones did, by checksums: a file is read where its store tells none."""
    if not all(file.key in listed and listed[file.key].size_bytes == file.size_bytes for file in planned):
        return False
    known = _checksums_read(earlier, process) if planned else {}
    for file in planned:
        first = file.crc32c or known.get(file.key)
        found = listed[file.key].crc32c
        if first is None or first != (found or checksum(source.read(file.key))):
            return False
    return True


def _checksums_read(earlier: Plan, process: Store) -> dict[str, str]:
    """Checksums of the files that `align` has read for a plan, by key."""
    found: dict[str, str] = {}
    for chunk in chunks(earlier):
        record = read_record(process, "align", str(chunk))
        if record is not None and record.input_hash == chunk_hash(earlier, chunk):
            found |= record.read
    return found


def known_stack(
    config: RunConfig, earlier: Plan | None, present: dict[int, tuple[Stat, ...]]
) -> InputStack | None:
    """The stack as an earlier plan has it, if its files are still the same: no header is read again."""
    if earlier is None:
        return None
    if earlier.pixel_sizes is None or earlier.data_bars is None:  # its version did not look
        return None
    if earlier.config.crop != config.crop or not inventory.are_of_files(earlier.slices, present):
        return None
    reading = earlier.reading.model_copy(update={"invert": config.invert})
    return InputStack(
        earlier.slices,
        earlier.pixel_type,
        reading,
        earlier.more_intensity_ranges,
        earlier.pixel_sizes,
        earlier.data_bars,
        earlier.shown_otherwise,
    )


def read_stack(config: RunConfig, source: Store, present: dict[int, tuple[Stat, ...]]) -> InputStack:
    """Read the header of every file, and some pictures for what only these tell.

    Raises:
        UserError: a header cannot be read, or the files do not fit together.
    """
    headers = _read_headers(source, [file for files in present.values() for file in files])
    fitness.check_areas(headers, source.uri)
    x, y, width_px, height_px = config.crop or (0, 0, 0, 0)
    crop = (x, y, width_px, height_px) if config.crop else None
    reading = Reading(crop=crop, invert=config.invert)
    slices = inventory.source_slices(present, headers, reading, source.uri)
    sample_type = fitness.common_sample_type(headers, source.uri)
    pixel_type = pixel_type_of(sample_type)
    if sample_type in WIDE:
        reading = _reading_of_wide_numbers(source, slices, pixel_type, reading)
    return InputStack(
        slices,
        pixel_type,
        reading,
        _more_intensity_ranges(source, slices, pixel_type, reading),
        inventory.pixel_sizes(slices, headers),
        find_data_bars(_readable_samples(source, slices, pixel_type, reading)),
        fitness.shown_otherwise(slices, headers),
    )


def _readable_samples(
    source: Store, slices: tuple[SourceSlice, ...], pixel_type: PixelType, reading: Reading
) -> Iterator[Picture]:
    """Pictures from all over the stack, one at a time; `align` refuses by name what cannot be read."""
    for entry in sampled_slices(slices):
        with suppress(UserError):
            yield read_slice(source, entry, pixel_type, reading)


def _reading_of_wide_numbers(
    source: Store, slices: tuple[SourceSlice, ...], pixel_type: PixelType, reading: Reading
) -> Reading:
    """The reading with the range of numbers and the fill values of each file of a slice."""
    samples = sampled_slices(slices)
    found = [
        range_and_fill(read_numbers(source, entry, index, pixel_type, reading) for entry in samples)
        for index in range(len(slices[0].file_channels))
    ]
    fill = tuple(numbers for _, numbers in found)
    return Reading(
        crop=reading.crop,
        invert=reading.invert,
        values=tuple(values for values, _ in found),
        fill=fill if any(fill) else (),
    )


def range_and_fill(pictures: Iterable[Numbers]) -> tuple[tuple[float, float], tuple[FillNumber, ...]]:
    """The range of numbers of a channel to spread over 16 bit, and its fill values, from some pictures.

    A picture of one number far outside of what the others show is blank: its number is a fill value.

    Example:
        >>> tissue = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
        >>> (low, high), fill = range_and_fill([tissue, tissue, np.full_like(tissue, -9999)])
        >>> round(low), round(high), [(blank.number, blank.share) for blank in fill]
        (-1, 2, [(-9999.0, 1.0)])
    """
    seen: list[Numbers] = []
    shares: dict[float, float] = {}
    for numbers, fill in map(_sampled, pictures):  # map lets go of a picture before the next one is read
        seen.append(numbers)
        shares.update({number: max(share, shares.get(number, 0.0)) for number, share in fill.items()})
    seen = [numbers[~np.isin(numbers, list(shares))] if shares else numbers for numbers in seen]
    blank = [numbers for numbers in seen if numbers.size and numbers.min() == numbers.max()]
    low, high = value_range(numbers for numbers in seen if not _is_any(numbers, blank))
    far = [numbers for numbers in blank if len(blank) < len(seen) and not low <= float(numbers[0]) <= high]
    shares.update({float(numbers[0]): 1.0 for numbers in far})
    values = value_range(numbers for numbers in seen if not _is_any(numbers, far))
    found = (FillNumber(number=number, share=round(share, 6)) for number, share in sorted(shares.items()))
    return values, tuple(found)


def _sampled(picture: Numbers) -> tuple[Numbers, dict[float, float]]:
    return sampled_tissue(picture, SAMPLING.step_px)


def _is_any(numbers: Numbers, others: Sequence[Numbers]) -> bool:
    """True of one of the arrays themselves, whatever they hold."""
    return any(numbers is other for other in others)


def _read_headers(source: Store, files: list[Stat]) -> dict[str, ImageHeader]:
    """The header of each file, by its key."""
    headers = in_parallel(lambda file: read_header(source, file.key, file.size_bytes), files)
    return {file.key: header for file, header in zip(files, headers, strict=True)}


def _more_intensity_ranges(
    source: Store, slices: tuple[SourceSlice, ...], pixel_type: PixelType, reading: Reading
) -> tuple[tuple[float, float], ...]:
    """The grey levels of each further channel that become 0 and 255; 8 bit stays as it is."""
    n_files = len(slices[0].more_channels)
    if pixel_type == "uint8":
        return ((0.0, 255.0),) * n_files
    samples = sampled_slices(slices)
    return tuple(
        intensity_range(read_further_channel(source, entry, index, pixel_type, reading) for entry in samples)
        for index in range(n_files)
    )


def sampled_slices(slices: Sequence[SourceSlice]) -> list[SourceSlice]:
    """A few slices, evenly spaced, that tell what is the same all over the stack.

    Example:
        >>> entries = [SourceSlice(z=z, key="", size_bytes=1, width_px=1, height_px=1) for z in range(100)]
        >>> [entry.z for entry in sampled_slices(entries)]
        [5, 16, 27, 38, 50, 61, 72, 83, 94]
    """
    n = min(SAMPLING.n_slices, len(slices))
    return [slices[(2 * i + 1) * len(slices) // (2 * n)] for i in range(n)]


def intensity_range(pictures: Iterable[Picture]) -> tuple[float, float]:
    """The grey levels that become 0 and 255, from some pictures of a channel.

    `align` measures every slice of the channel that it aligns; of the others a few must do.

    Example:
        >>> grey = np.arange(1000, 2000, dtype=np.uint16).reshape(1, -1)
        >>> low, high = intensity_range([grey, grey, 10 * grey])
        >>> round(low), round(high)
        (1001, 19950)
    """
    seen = [np.percentile(numbers, TAIL_PERCENTILES) for numbers, _ in map(_sampled, pictures)]
    lows, highs = zip(*seen, strict=True)
    low = float(np.percentile(lows, SAMPLING.odd_percent, method="lower"))
    high = float(np.percentile(highs, 100 - SAMPLING.odd_percent, method="higher"))
    return low, max(high, low + 1)
