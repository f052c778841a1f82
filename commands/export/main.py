"""`fibstack export`: another volume, or pictures, from the lossless one of a run, without aligning again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from commands.dry_run import dry_run_option, list_changes
from components.shared.command import StepCommand
from components.shared.cores import available_cores
from components.shared.errors import ConfigError
from components.shared.storage.registry import open_store
from components.shared.storage.store import join_uri

if TYPE_CHECKING:
    from components.shared.volume.volume import VolumeOutput
    from components.shared.work.export import ShownPart
    from components.shared.work.verification import Written

_EPILOG = """\b
Examples:
  fibstack export aligned darker --contrast 30-220
  fibstack export aligned slices --tiff
  fibstack export aligned half.mrc --mrc --bin 2 --crop 0:2000,:,100:400
"""


@click.command(cls=StepCommand, epilog=_EPILOG)
@click.argument("output")
@click.argument("new_output")
@click.option(
    "--tiff",
    is_flag=True,
    help="Write a TIFF for each slice, or one, where NEW_OUTPUT ends in .tif or .ome.tif.",
)
@click.option("--mrc", is_flag=True, help="Write one MRC file, NEW_OUTPUT.")
@click.option("--png", is_flag=True, help="Write a PNG for each slice.")
@click.option(
    "--bin",
    "bin_",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write means of N x N voxels, N a power of 2, and along z of as many as that level of the volume "
    "has: N where voxels are cubes. For pictures alone.  [default: 1]",
)
@click.option(
    "--channel",
    type=click.IntRange(min=0),
    metavar="N",
    help="Write this channel, counted from 0. For pictures alone.  [default: all of a grey or colour volume]",
)
@click.option(
    "--contrast",
    metavar="LOW-HIGH",
    help="Grey levels of the lossless volume that become 0 and 255.  [default: as they are; of 16 bit, "
    "the range that the run has shown, but in pictures as they are]",
)
@click.option("--jpeg-quality", type=click.IntRange(1, 100), help="JPEG quality.  [default: as in the run]")
@click.option(
    "--crop",
    default=":,:,:",
    show_default=True,
    metavar="X0:X1,Y0:Y1,Z0:Z1",
    help="Part of the volume, x and y in voxels, z in slice numbers, as 'fibstack view' shows them; ends "
    "excluded; ':' is a whole side.",
)
@click.option(
    "--without-slices",
    metavar="Z,Z-Z",
    help="Slices to leave out, such as 17,30-32; the nearest good one is shown in their place.",
)
@click.option("--lossless", is_flag=True, help="Write chunk, the lossless volume, too.")
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Most processes at a time.  [default: number of cores]"
)
@dry_run_option
def main(
    output: str,
    new_output: str,
    tiff: bool,
    mrc: bool,
    png: bool,
    bin_: int | None,
    channel: int | None,
    contrast: str | None,
    jpeg_quality: int | None,
    crop: str,
    without_slices: str | None,
    lossless: bool,
    jobs: int | None,
    dry_run: bool,
) -> None:
    """Write the volume in OUTPUT anew to NEW_OUTPUT, without aligning again.

    The source is OUTPUT/chunk, the lossless volume. The result is a volume of 8 bit; with --tiff, --mrc or
    --png it is its slices, for Fiji, Amira or IMOD, with the size of a voxel, of 16 bit where the volume is.

    An export that was stopped goes on where it was: give the same command again. One file begins anew.

    CLAHE is part of the lossless volume, since it comes before the warp. For another clip limit, run
    'fibstack resolve OUTPUT --set clip_limit=...': it reads the raw slices again, but matches nothing.
    """
    # Imported here: the help needs neither NumPy nor tensorstore.
    from commands.export.exported import left_out, transforms_as_read
    from commands.export.options import kind_of_pictures, parse_crop, parse_slices
    from commands.export.source import lossless_output, read_source, source_hash, whole_uri
    from components.shared.work.export import ShownPart

    kind = kind_of_pictures(
        {"tiff": tiff, "mrc": mrc, "png": png},
        for_volumes={"jpeg-quality": jpeg_quality, "lossless": lossless or None},
        for_pictures={"bin": bin_, "channel": channel},
    )
    written = read_source(output)
    found = lossless_output(written, output)
    written = replace(written, transforms=transforms_as_read(written.transforms, found.array))
    part = ShownPart(
        source=whole_uri(output),
        source_hash=source_hash(written),
        contrast=_contrast(contrast, written, found, for_pictures=kind is not None),
        crop_xyz=parse_crop(crop, written.transforms.shown_xyz, written.volume.size_xyz),
        left_out=left_out(written.transforms, parse_slices(without_slices) if without_slices else ()),
    )
    _check_contrast(part, written, found)
    jobs = jobs or available_cores()
    if kind is None:
        quality = jpeg_quality or written.plan.config.jpeg_quality
        _export_volume(part, written, new_output, quality, lossless=lossless, jobs=jobs, dry_run=dry_run)
    else:
        _export_pictures(
            part,
            kind,
            written,
            found,
            new_output,
            bin_=bin_ or 1,
            channel=channel,
            jobs=jobs,
            dry_run=dry_run,
        )


def _export_volume(
    part: ShownPart,
    written: Written,
    new_output: str,
    jpeg_quality: int,
    *,
    lossless: bool,
    jobs: int,
    dry_run: bool,
) -> None:
    from commands.export.exported import plan_of_export, transforms_of_export
    from commands.export.source import whole_uri
    from commands.export.volume import changes_of, claimed, write_volume
    from components.shared.work.export import Export

    export = Export(**part.model_dump(exclude={"crc32c"}), jpeg_quality=jpeg_quality, lossless=lossless)
    plan = plan_of_export(written.plan, whole_uri(new_output), jpeg_quality)
    process = open_store(plan.locations.process_uri)
    export = claimed(process, export, new_output)
    transforms = transforms_of_export(written.transforms, export)
    if dry_run:
        list_changes(changes_of(process, export, plan, transforms))
        click.echo("A shard that is black all over is not written.")
        return
    write_volume(process, export, plan, transforms, jobs)
    click.echo(f"Volume: {join_uri(plan.locations.neuroglancer_uri, 'jpeg')}")


def _export_pictures(
    part: ShownPart,
    kind: str,
    written: Written,
    source: VolumeOutput,
    new_output: str,
    *,
    bin_: int,
    channel: int | None,
    jobs: int,
    dry_run: bool,
) -> None:
    from commands.export.formats.pictures import SliceFormat
    from commands.export.formats.table import format_of
    from commands.export.pictures import pictures_of
    from commands.export.slices import SliceFiles
    from commands.export.stack import StackFile

    chosen = format_of(kind, new_output)
    pictures = pictures_of(part, kind, written, source, bin_=bin_, channel=channel)
    target = (
        SliceFiles(pictures=pictures, new_output=new_output, format=chosen)
        if isinstance(chosen, SliceFormat)
        else StackFile(pictures=pictures, new_output=new_output, format=chosen)
    )
    target.check()
    if dry_run:
        list_changes(target.changes())
        return
    target.write(jobs)
    click.echo(f"Pictures: {target.place}: {pictures.about.sentence}.")


def _contrast(
    text: str | None, written: Written, source: VolumeOutput, *, for_pictures: bool
) -> tuple[float, float] | None:
    """The grey levels to show as 0 and 255; None where those of the source are shown as they are."""
    from commands.export.options import parse_contrast

    data_type = source.array.data_type
    if text is not None:
        return parse_contrast(text, data_type)
    if for_pictures or data_type == "uint8":
        return None
    if written.plan.more_intensity_ranges:
        raise ConfigError("--contrast must be given where channels have ranges of their own. Add --contrast.")
    return written.transforms.intensity_range


def _check_contrast(part: ShownPart, written: Written, source: VolumeOutput) -> None:
    """Refuse a contrast that does not fit what is exported."""
    if part.contrast is None:
        return
    from commands.export.contrast import check_contrast
    from commands.export.exported import shown_z_indices
    from commands.export.lossless import LosslessSource

    run_range = written.transforms.intensity_range if source.array.data_type == "uint16" else (0, 255)
    first_z = written.transforms.volume_origin_xyz_px[2]
    unchanged = LosslessSource(
        open_store(source.uri),
        part.model_copy(update={"contrast": None}),
        shown_z_indices(part, first_z),
        available_cores(),
    )
    (x0, x1), (y0, y1), (z0, z1) = part.crop_xyz
    check_contrast(part.contrast, run_range, unchanged, (x1 - x0, y1 - y0, z1 - z0))


if __name__ == "__main__":
    main()
