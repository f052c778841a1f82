"""`fibstack link`: an address that opens a volume in a bucket in neuroglancer on the web."""

from __future__ import annotations

import shlex

import click

from commands.view.published import address_of, find_volumes
from components.shared.command import StepCommand
from components.shared.errors import UserError
from components.shared.storage.schemes import scheme_of

MOST_MARKS = 50
"""Notes in each layer, at most, so that the address still fits where addresses are pasted."""


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack link gs://em/aligned")
@click.argument("output")
def main(output: str) -> None:
    """Print the address that shows the volume in OUTPUT, the URI of a finished run, in neuroglancer.

    It opens at the slice that agrees least with its neighbours, for everybody who may read the bucket without
    logging in, as long as that is so. On S3 there is no link before: 'fibstack view' shows a private volume.
    """
    address, n_left_out = link_to(output)
    click.echo(address)
    if n_left_out:
        click.echo(
            f"{n_left_out:,} slices that stand out are not marked in it, since an address must not be too "
            f"long; fibstack view marks all.",
            err=True,
        )
    if scheme_of(output).opens_in_neuroglancer:
        click.echo(
            f"It opens where the bucket is public: {shlex.join(['fibstack', 'share', output])}. "
            f"To look at a private one: {shlex.join(['fibstack', 'view', output])}",
            err=True,
        )
    else:
        click.echo("It opens as long as everybody may read the volume, as is so now.", err=True)


def link_to(output: str) -> tuple[str, int]:
    """The address of a neuroglancer on the web that shows a volume, and how many marks it leaves out.

    Raises:
        UserError: the output lies in a folder, or there is no finished volume that it can lead to.
    """
    scheme = scheme_of(output)
    if not (scheme.opens_in_neuroglancer or scheme.cloud == "aws"):
        raise UserError(
            f"link must be given a gs:// or s3:// URI, since nobody else can read a folder here; got "
            f"{output}. Look at it with: {shlex.join(['fibstack', 'view', output])}"
        )
    from neuroglancer.url_state import to_url

    from commands.view.viewer import first_view

    shown, *others = find_volumes(output)
    # The lossless volume is left out where it has a bucket of its own, which is never public.
    root = shown.store.uri.rpartition("/")[0]
    volumes = [shown, *(other for other in others if other.store.uri.startswith(f"{root}/"))]
    addresses = {volume.name: address_of(output, volume.store.uri) for volume in volumes}
    state, n_left_out = first_view(output, addresses, volumes, MOST_MARKS)
    return str(to_url(state)), n_left_out


if __name__ == "__main__":
    main()
