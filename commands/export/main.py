"""`fibstack export`: another volume from the lossless one of a run, without aligning again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from commands.dry_run import Changes, dry_run_option, list_changes
from commands.export.exported import (
    blocks_to_do,
    left_out,
    plan_of_export,
    shown_z_indices,
    transforms_of_export,
)
from commands.export.options import parse_contrast, parse_crop, parse_slices
from components.shared.command import StepCommand
from components.shared.cores import available_cores
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import run_buckets_of
from components.shared.storage.store import Store, join_uri
from components.shared.volume.layout import exact_keys, metadata_files, shards_of_block
from components.shared.volume.precomputed import INFO_KEY
from components.shared.volume.volume import VolumeOutput
from components.shared.work.completeness import check_blocks, check_overwritten
from components.shared.work.export import EXPORT_KEY, Export, exported_volume
from components.shared.work.publication import publish
from components.shared.work.records import input_hash, record_key
from components.shared.work.verification import Written, check_listing, read_written, read_written_in, verify
from components.shared.work.versions import blocks_as_written

if TYPE_CHECKING:
    from commands.export.lossless import LosslessSource


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack export aligned darker --contrast 30-220")
@click.argument("output")
@click.argument("new_output")
@click.option(
    "--contrast",
    metavar="LOW-HIGH",
    help="Grey levels of the lossless volume that become 0 and 255.  [default: as they are; of 16 bit, "
    "the range that the run has shown]",
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
    contrast: str | None,
    jpeg_quality: int | None,
    crop: str,
    without_slices: str | None,
    lossless: bool,
    jobs: int | None,
    dry_run: bool,
) -> None:
    """Write the volume in OUTPUT anew to NEW_OUTPUT, without aligning again.

    The source is OUTPUT/chunk, the lossless volume. The result is at 8 bit. An export that was stopped goes
    on where it was: give the same command again.

    CLAHE is part of the lossless volume, since it comes before the warp. For another clip limit, run
    'fibstack resolve OUTPUT --set clip_limit=...': it reads the raw slices again, but matches nothing.
    """
    # Imported here: the help needs neither NumPy nor tensorstore.
    from commands.export.blocks import write_blocks
    from commands.export.contrast import check_contrast

    written = _read_source(output)
    found = _lossless_output(written, output)
    export = Export(
        source=_whole_uri(output),
        source_hash=input_hash(*(block.expected_hash for block in written.blocks)),
        contrast=_contrast(contrast, written, found),
        crop_xyz=parse_crop(crop, written.transforms.slices[0].z, written.volume.size_xyz),
        left_out=left_out(written.transforms, parse_slices(without_slices) if without_slices else ()),
        jpeg_quality=jpeg_quality or written.plan.config.jpeg_quality,
        lossless=lossless,
    )
    (x0, x1), (y0, y1), (z0, z1) = export.crop_xyz
    if export.contrast is not None:
        is_deep = found.array.data_type == "uint16"
        check_contrast(
            export.contrast,
            written.transforms.intensity_range if is_deep else (0, 255),
            _unchanged(export, written, found),
            (x1 - x0, y1 - y0, z1 - z0),
        )
    plan = plan_of_export(written.plan, _whole_uri(new_output), export.jpeg_quality)
    process = open_store(plan.locations.process_uri)
    _claim(process, export, new_output)
    transforms = transforms_of_export(written.transforms, export)
    if dry_run:
        list_changes(changes_of(process, export, plan, transforms))
        click.echo("A shard that is black all over is not written.")
        return
    process.write(EXPORT_KEY, export.to_json())
    process.write(PLAN_KEY, plan.to_json())
    process.write(TRANSFORMS_KEY, transforms.to_json())
    write_blocks(process, jobs or available_cores())
    _publish(process, new_output)
    click.echo(f"Volume: {join_uri(plan.locations.neuroglancer_uri, 'jpeg')}")


def changes_of(process: Store, export: Export, plan: Plan, transforms: Transforms) -> Changes:
    """The objects that an export writes: documents, what blocks that are not done write, and metadata."""
    volume = exported_volume(export, plan, transforms)
    in_process = [EXPORT_KEY, PLAN_KEY, TRANSFORMS_KEY]
    written = []
    for pyramid_pass in volume.passes:
        level = pyramid_pass.base_level
        for block in blocks_to_do(process, export, pyramid_pass):
            in_process += [
                record_key(f"pyramid/{level}", str(block)),
                *exact_keys(volume, pyramid_pass, block),
            ]
            for output in volume.outputs:
                keys = shards_of_block(volume, output, level, block)
                written += [join_uri(output.uri, key) for key in keys]
    for output in volume.outputs:
        written += [join_uri(output.uri, key) for key in metadata_files(volume, output)]
    written += [join_uri(process.uri, key) for key in in_process]
    roots = (process.uri, *(output.uri for output in volume.outputs))
    there = {join_uri(uri, found.key) for uri in roots for found in open_store(uri).list()}
    return Changes.of(written, (), there)


def _whole_uri(output: str) -> str:
    """An output as records name it: a folder from the root of the file system."""
    return output if run_buckets_of(output) else open_store(output).uri


def _read_source(output: str) -> Written:
    """The finished volume that is exported.

    Raises:
        UserError: it is not finished, or files of its lossless volume are missing.
    """
    written = read_written_in(output)
    written = replace(written, blocks=blocks_as_written(written))
    if written.plan.config.output_level > 0:
        raise UserError(
            f"a volume to export must have level 0; got output_level {written.plan.config.output_level} in "
            f"{output}. Run it with output_level 0."
        )
    return written


def _lossless_output(written: Written, output: str) -> VolumeOutput:
    chunk_uri = written.plan.locations.chunk_uri
    found = next((o for o in written.volume.outputs if o.uri == chunk_uri), None)
    if found is None or open_store(chunk_uri).stat(INFO_KEY) is None:
        raise UserError(
            f"an export must have a finished lossless volume to read; got none in {chunk_uri}. "
            f"Finish the run, or export from the output that {output} was made from."
        )
    problems = (
        check_blocks(written.blocks)
        + check_overwritten(written.blocks)
        + check_listing(written.volume, found, written.blocks)
    )
    if problems:
        raise UserError(
            f"the lossless volume must be whole; {problems[0].sentence}. "
            f"Run '{shlex.join(['fibstack', 'verify', output])}'."
        )
    return found


def _unchanged(export: Export, written: Written, source: VolumeOutput) -> LosslessSource:
    """The voxels of an export in the grey levels of its source."""
    from commands.export.lossless import LosslessSource

    first_z = written.transforms.volume_origin_xyz_px[2]
    as_it_is = export.model_copy(update={"contrast": None})
    return LosslessSource(
        open_store(source.uri), as_it_is, shown_z_indices(export, first_z), available_cores()
    )


def _claim(process: Store, export: Export, new_output: str) -> None:
    """Refuse an output that holds something else.

    Raises:
        UserError: it holds another volume.
    """
    others = process.stat(PLAN_KEY) is not None or next(process.list("records/"), None) is not None
    if process.stat(EXPORT_KEY) is not None:
        others = process.read(EXPORT_KEY) != export.to_json()
    if others:
        raise UserError(
            f"an export must go where nothing is, or where the same export was stopped; got {new_output}, "
            f"which holds another volume. Choose another NEW_OUTPUT."
        )


def _contrast(text: str | None, written: Written, source: VolumeOutput) -> tuple[float, float] | None:
    """The grey levels to show as 0 and 255; None where those of the source are shown as they are."""
    data_type = source.array.data_type
    if text is not None:
        return parse_contrast(text, data_type)
    if written.plan.more_intensity_ranges and data_type == "uint16":
        raise ConfigError("--contrast must be given where channels have ranges of their own. Add --contrast.")
    return written.transforms.intensity_range if data_type == "uint16" else None


def _publish(process: Store, new_output: str) -> None:
    """Write `info`, when every shard is there and opens."""
    written = read_written(process)
    problems = verify(written.volume, written.blocks).problems
    if problems:
        raise TransientError(
            f"the export must be complete; {problems[0].sentence}. Give the same command again, or remove "
            f"{new_output} first."
        )
    publish(written.volume)


if __name__ == "__main__":
    main()
