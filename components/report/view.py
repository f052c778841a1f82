"""`fibstack view`: look at a finished volume in the browser, without a network."""

from __future__ import annotations

import json
import threading
import webbrowser
from typing import Any

import click

from components.shared.command import StepCommand
from components.shared.documents import TRANSFORMS_KEY, Transforms
from components.shared.errors import UserError
from components.shared.reading import read_document
from components.shared.storage import Store, open_store

_VOLUMES = ("neuroglancer/jpeg", "neuroglancer/raw", "chunk")
"""Volumes below the output: the first is shown, the first that is there of the others can be switched on."""
_ALL_LEVELS = (0.0, 65535.0)
_LOOPBACK = "127.0.0.1"


@click.command(cls=StepCommand)
@click.argument("output")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def main(output: str, no_browser: bool) -> None:
    """Open the volume in OUTPUT, the folder of a finished run, in neuroglancer.

    The viewer and the volume are served on this machine alone, until Ctrl-C.
    """
    store = open_output(output)
    volumes = find_volumes(store)
    viewer = serve(store, volumes)
    address = viewer.get_viewer_url()
    click.echo(f"{address}\nCtrl-C ends it.")
    if not no_browser:
        webbrowser.open(address)
    wait_for_interrupt()


def serve(store: Store, volumes: dict[str, dict[str, Any]]) -> Any:  # noqa: ANN401 - neuroglancer has no types
    """Serve the volumes and a neuroglancer that shows them, on this machine alone, from background threads.

    Returns:
        The `neuroglancer.Viewer`.

    Raises:
        UserError: the package neuroglancer is not installed.
    """
    try:
        from neuroglancer import Viewer, set_server_bind_address
        from neuroglancer.static_file_server import StaticFileServer
    except ImportError:
        raise UserError(
            "the viewer must be installed; there is no package neuroglancer here. "
            "Run: pip install 'fibstack[view]'"
        ) from None
    from components.report.viewer import LayerSource, notes_of, viewer_state

    # A sharded volume needs Range requests, and the viewer leave to read from another origin.
    server = StaticFileServer(store.uri, bind_address=_LOOPBACK, daemon=True)
    set_server_bind_address(_LOOPBACK)
    viewer = Viewer()
    finest_scale, transforms = volumes[_VOLUMES[0]]["scales"][0], read_transforms(store)
    raw_range = transforms.intensity_range if transforms else _ALL_LEVELS
    layers = [
        LayerSource(
            name=key.rpartition("/")[2],
            url=f"{server.url}/{key}",
            visible=key == _VOLUMES[0],
            n_channels=info["num_channels"],
            grey_range=raw_range if info["data_type"] == "uint16" else (0, 255),
        )
        for key, info in volumes.items()
    ]
    notes = notes_of(transforms, finest_scale) if transforms else []
    viewer.set_state(viewer_state(finest_scale, layers, notes))
    return viewer


def open_output(output: str) -> Store:
    """The store of a run's output folder.

    Raises:
        UserError: it is not a folder.
    """
    if "://" in output and not output.startswith("file://"):
        raise UserError(
            f"view must be given a folder for now; got {output}. Copy the neuroglancer folder of the run "
            "here, or open its address in a neuroglancer on the web."
        )
    return open_store(output)


def find_volumes(store: Store) -> dict[str, dict[str, Any]]:
    """The `info` of the volume to show and of a lossless one, by folder.

    Raises:
        UserError: there is no finished volume.
    """
    first, *others = _VOLUMES
    found = [key for key in others if store.stat(f"{key}/info") is not None]
    if store.stat(f"{first}/info") is None:
        raise UserError(
            f"a finished volume must be there to look at; got no {first}/info in {store.uri}. "
            "Check the path, or see process/report/index.html for what became of the run."
        )
    return {key: json.loads(store.read(f"{key}/info")) for key in [first, *found[:1]]}


def read_transforms(store: Store) -> Transforms | None:
    """What became of each slice; None where the folder holds a volume without the records of its run."""
    key = f"process/{TRANSFORMS_KEY}"
    if store.stat(key) is None:
        return None
    return read_document(store, key, Transforms)


def wait_for_interrupt() -> None:
    """Return when the user presses Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("")


if __name__ == "__main__":
    main()
