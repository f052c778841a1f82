"""`fibstack link`: an address that opens a volume in a bucket in neuroglancer on the web."""

from __future__ import annotations

import shlex

import click

from components.report.published import find_volumes, read_transforms
from components.report.viewer import viewer_state
from components.shared.command import StepCommand
from components.shared.errors import UserError


@click.command(cls=StepCommand)
@click.argument("output")
def main(output: str) -> None:
    """Print the address that shows the volume in OUTPUT, the gs:// URI of a finished run, in neuroglancer.

    It opens in the middle of the volume, for everybody who may read the bucket without logging in.
    """
    click.echo(link_to(output))
    click.echo(
        f"It opens where the bucket is public: {shlex.join(['fibstack', 'share', output])}. "
        f"To look at a private one: {shlex.join(['fibstack', 'view', output])}",
        err=True,
    )


def link_to(output: str) -> str:
    """The address of a neuroglancer on the web that shows a volume.

    Raises:
        UserError: the output lies in a folder, or there is no finished volume.
    """
    if not output.startswith("gs://"):
        raise UserError(
            f"link must be given a gs:// URI, since nobody else can read a folder here; got {output}. "
            f"Look at it with: {shlex.join(['fibstack', 'view', output])}"
        )
    from neuroglancer.url_state import to_url

    shown, *others = find_volumes(output)
    # The lossless volume is left out where it has a bucket of its own, which is never public.
    root = shown.store.uri.rpartition("/")[0]
    volumes = [shown, *(other for other in others if other.store.uri.startswith(f"{root}/"))]
    transforms = read_transforms(output)
    layers = [volume.layer(volume.store.uri, transforms, visible=volume is shown) for volume in volumes]
    return str(to_url(viewer_state(shown.info["scales"][0], layers)))


if __name__ == "__main__":
    main()
