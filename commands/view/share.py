"""`fibstack share`: let everybody look at a volume in its bucket, and take that back."""

from __future__ import annotations

import shlex

import click

from components.shared.command import StepCommand
from components.shared.errors import UserError
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.schemes import bucket_of, scheme_of


@click.command(cls=StepCommand)
@click.argument("output")
@click.option("--undo", is_flag=True, help="Make the bucket private again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def main(output: str, undo: bool, yes: bool) -> None:
    """Let everybody in the world look at the volume in OUTPUT without logging in.

    OUTPUT is 'gs://SOURCE_*_ID' or 's3://SOURCE-*-ID'. Only the bucket of the volumes to browse becomes
    public, SOURCE_ng_ID or SOURCE-ng-ID: never those of the slices, of the chunks, of the records and of the
    tiles. Objects can be read by their names, and not listed.
    """
    bucket = viewing_bucket(output)
    name = bucket_of(bucket)
    if scheme_of(bucket).cloud == "aws":  # imported here, since the help needs no client
        from commands.view.access_of_s3 import make_private, make_public

        how = "a statement of its policy gives s3:GetObject to all"
    else:
        from commands.view.access import make_private, make_public

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
    if run_buckets_of(output) is None:
        raise UserError(
            f"share must be given an output with a bucket of its own for the volume, 'gs://SOURCE_*_ID' or "
            f"'s3://SOURCE-*-ID'; got {output}. There, records, tiles and maybe the slices lie in the same "
            "bucket and would become public too. Copy the neuroglancer folder to a bucket of its own, or run "
            "with 'id' and without 'output'."
        )
    return part_uri(output, "neuroglancer")


if __name__ == "__main__":
    main()
