"""`fibstack view`: look at a finished volume in the browser, from a folder or a private bucket."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Sequence
from typing import Any

import click

from commands.view.published import PublishedVolume, find_volumes
from commands.view.volume_server import LOOPBACK, serve_stores
from components.shared.command import StepCommand


@click.command(cls=StepCommand)
@click.argument("output")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def main(output: str, no_browser: bool) -> None:
    """Open the volume in OUTPUT, the folder or URI of a finished run, in neuroglancer.

    The viewer is served on this machine alone, until Ctrl-C. A bucket is read with your own credentials and
    stays private. It opens at the slice that agrees least with its neighbours.
    """
    viewer = serve(output, find_volumes(output))
    address = viewer.get_viewer_url()
    click.echo(f"{address}\nCtrl-C ends it.")
    if not no_browser:
        webbrowser.open(address)
    wait_for_interrupt()


def serve(output: str, volumes: Sequence[PublishedVolume]) -> Any:  # noqa: ANN401 - neuroglancer has no types
    """Serve the volumes and a neuroglancer that shows them, on this machine alone, from background threads.

    Returns:
        The `neuroglancer.Viewer`.
    """
    from neuroglancer import Viewer, set_server_bind_address

    from commands.view.viewer import first_view

    url = serve_stores({volume.name: volume.store for volume in volumes})
    set_server_bind_address(LOOPBACK)
    viewer = Viewer()
    state, _ = first_view(output, {volume.name: f"{url}/{volume.name}" for volume in volumes}, volumes)
    viewer.set_state(state)
    return viewer


def wait_for_interrupt() -> None:
    """Return when the user presses Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("")


if __name__ == "__main__":
    main()
