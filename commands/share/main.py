"""`fibstack share`: a volume for others, in a bucket that becomes public, or in a folder for a web server."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from components.shared.command import StepCommand
from components.shared.errors import ConfigError, UserError
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.schemes import bucket_of, scheme_of


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack share aligned --to /srv/www/cell_7")
@click.argument("output")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Write it to a new folder."
)
@click.option("--lossless", is_flag=True, help="With --to: copy the lossless volume too.")
@click.option("--undo", is_flag=True, help="Make the bucket private again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def main(output: str, folder: Path | None, lossless: bool, undo: bool, yes: bool) -> None:
    """Hand the volume in OUTPUT over: in a folder for any web server, or to everybody in the world.

    With --to, FOLDER gets copies of the volume to browse and of the report, a viewer that needs no network,
    and a web server: 'python3 FOLDER/serve.py'. FOLDER/README.txt has the lines for nginx and Caddy. OUTPUT
    stays as it is. Given again, only what is missing is copied.

    Without it, everybody may look at the volume without logging in. OUTPUT is 'gs://SOURCE_*_ID' or
    's3://SOURCE-*-ID' then. Only the bucket of the volumes to browse becomes public, SOURCE_ng_ID or
    SOURCE-ng-ID: never those of the slices, of the chunks, of the records and of the tiles. Objects can be
    read by their names, and not listed.
    """
    if folder is not None:
        if undo:
            raise ConfigError("--undo must be given without --to. Remove the folder instead.")
        write_to(folder, output, lossless=lossless)
    elif lossless:
        raise ConfigError("--lossless must be given with --to. Add --to FOLDER.")
    else:
        change_access(output, undo=undo, yes=yes)


def write_to(folder: Path, output: str, *, lossless: bool) -> None:
    """Write the folder, and say how to show it."""
    # Imported here: the help needs neither.
    from commands.share.folder import check_target, copies_of, write_folder
    from components.shared.text import count, size
    from components.shared.work.verification import read_written_in

    written = read_written_in(output)
    copies = copies_of(output, written, with_lossless=lossless)
    n_bytes = sum(copy.size_bytes for copy in copies)
    check_target(folder, output, n_bytes)
    click.echo(f"Copies {count(len(copies), 'file')}, {size(n_bytes)}, to {folder}.")
    write_folder(folder, output, written, copies, click.echo)
    click.echo(
        f"Look at it: {shlex.join(['python3', str(folder / 'serve.py')])}\n"
        f"For other web servers: {folder / 'README.txt'}"
    )


def change_access(output: str, *, undo: bool, yes: bool) -> None:
    """Let everybody look at the volume in its bucket, or take that back, once the user has agreed."""
    bucket = viewing_bucket(output)
    name = bucket_of(bucket)
    if scheme_of(bucket).cloud == "aws":  # imported here, since the help needs no client
        from commands.share.access_of_s3 import make_private, make_public

        how = "a statement of its policy gives s3:GetObject to all"
    else:
        from commands.share.access import make_private, make_public

        how = "allUsers get roles/storage.legacyObjectReader"
    if undo:
        click.echo(
            f"This makes {bucket} private: nobody without rights of their own can read it, links stop "
            f"working, and pages of other origins are refused."
        )
    else:
        click.echo(
            f"This makes {bucket} public: everybody in the world can read each object in it "
            f"({how}), and pages of any origin may do so (CORS).\n"
            f"You pay for what they read. Nothing else becomes public. "
            f"Take it back with: {shlex.join(['fibstack', 'share', '--undo', output])}"
        )
    if not yes and not click.confirm("Go on?"):
        click.echo("Nothing was changed.")
        return
    if undo:
        make_private(name)
        click.echo(f"{bucket} is private. What others have copied or cached stays with them.")
        return
    make_public(name)
    click.echo(f"{bucket} is public. The link: {shlex.join(['fibstack', 'link', output])}")


def viewing_bucket(output: str) -> str:
    """The bucket that holds the volumes to browse and nothing else.

    Raises:
        UserError: the output has no such bucket.

    Example:
        >>> viewing_bucket("gs://em_*_run1")
        'gs://em_ng_run1'
    """
    if scheme_of(output).is_folder:
        raise UserError(
            f"share must be told where to, since nobody else can read a folder here; got {output}. "
            f"Write a folder for a web server: {shlex.join(['fibstack', 'share', output, '--to', 'FOLDER'])}"
        )
    if run_buckets_of(output) is None:
        raise UserError(
            f"share must be given an output with a bucket of its own for the volume, 'gs://SOURCE_*_ID' or "
            f"'s3://SOURCE-*-ID'; got {output}. There, records, tiles and maybe the slices lie in the same "
            "bucket and would become public too. Copy the neuroglancer folder to a bucket of its own, run "
            "with 'id' and without 'output', or write a folder with --to FOLDER."
        )
    return part_uri(output, "neuroglancer")


if __name__ == "__main__":
    main()
