"""`fibstack view`: look at finished volumes in the browser, from folders or private buckets."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import secrets
import shlex
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from commands.view.published import find_volumes, read_transforms
from commands.view.volume_server import LOOPBACK, serve_stores
from components.shared.command import StepCommand
from components.shared.errors import ConfigError
from components.shared.storage.registry import open_store
from components.shared.volume.slice_numbers import SliceNumbers
from components.shared.web import is_web_address

_LAST_PORT = 65535
_KEY_FILE = "key"


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack view aligned")
@click.argument("outputs", metavar="OUTPUT...", nargs=-1, required=True)
@click.option(
    "--port",
    type=click.IntRange(1, _LAST_PORT - 1),
    help="Port of the viewer; the volume has the next one. The address is the same each time then.  "
    "[default: any that are free]",
)
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Address of this machine at which it is served; 0.0.0.0 for all that it has.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def main(outputs: tuple[str, ...], port: int | None, host: str, no_browser: bool) -> None:
    """Open the volume in OUTPUT, the folder or URI of a finished run, in neuroglancer.

    The viewer is served on this machine alone, until Ctrl-C, unless --host says otherwise. A bucket is read
    with your own credentials and stays private. It opens at the slice that agrees least with its neighbours.
    Several outputs lie side by side and move together.

    Example, over ssh: fibstack view run/volume --no-browser --port 9001, and on your own machine
    ssh -N -L 9001:localhost:9001 -L 9002:localhost:9002 MACHINE
    """
    on_the_web = next(filter(is_web_address, outputs), None)
    if on_the_web is not None:
        raise ConfigError(
            f"view must be given folders or URIs, which it serves; got {on_the_web} of a web server. "
            f"Open it with the address that this prints: {shlex.join(['fibstack', 'link', on_the_web])}"
        )
    viewer = serve(*outputs, host=host, port=port)
    for sentence in numbered_otherwise(outputs):
        click.echo(f"note: {sentence}", err=True)
    address = viewer.get_viewer_url()
    if not _is_loopback(host):  # said before there is an address that could be passed on
        click.echo(
            "Everybody who reaches this machine and knows the whole address can look at the volume, and what "
            "they read is not encrypted. Give the address to nobody else.",
            err=True,
        )
    click.echo(f"{address}\nCtrl-C ends it.")
    if not no_browser:
        webbrowser.open(address)
    wait_for_interrupt()


def serve(*outputs: str, host: str = LOOPBACK, port: int | None = None) -> Any:  # noqa: ANN401 - neuroglancer's
    """Serve volumes and a neuroglancer that shows them from background threads.

    Args:
        outputs: Folders or URIs of finished runs.
        host: Address of this machine at which they are served.
        port: Port of the viewer, the next one for the volumes; None for any.

    Returns:
        The `neuroglancer.Viewer`.

    Raises:
        UserError: an output has no finished volume.
        ConfigError: the address or a port cannot be had.
    """
    from neuroglancer import Viewer, set_server_bind_address

    from commands.view.viewer import first_view, side_by_side

    found = [find_volumes(output) for output in outputs]
    names = [_place_in_address(number, volumes) for number, volumes in enumerate(found)]
    stores = {
        name: volume.store
        for named, volumes in zip(names, found, strict=True)
        for name, volume in zip(named, volumes, strict=True)
    }
    secret = None if port is None else _kept_secret(f"{port}", *outputs)
    try:
        url = serve_stores(stores, host, 0 if port is None else port + 1, secret)
        set_server_bind_address(host, port or 0)
        viewer = Viewer(token=secret)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--host must be an address of this machine and --port free, with the next; got {host} and "
            f"{port or 'any port'}: {error}. Change them."
        ) from None
    states = []
    for output, named, volumes in zip(outputs, names, found, strict=True):
        addresses = {v.name: f"{url}/{name}" for name, v in zip(named, volumes, strict=True)}
        states.append(first_view(output, addresses, volumes)[0])
    viewer.set_state(states[0] if len(states) == 1 else side_by_side(dict(zip(outputs, states, strict=True))))
    return viewer


def numbered_otherwise(outputs: Sequence[str]) -> Iterator[str]:
    """Sentences on outputs whose slices cannot lie beside those of the first, which the axis counts."""
    first, *others = outputs
    numbers, slice_nm = _numbers_of(first)
    for other in others:
        its_numbers, its_nm = _numbers_of(other)
        if not math.isclose(its_nm, slice_nm):
            yield (
                f"z counts slices of {first}, of {slice_nm:g} nm; those of {other} have {its_nm:g} nm: its "
                f"slice n is seen at z = n x {its_nm / slice_nm:.4g}."
            )
        elif its_numbers.first_z >= numbers.first_z + numbers.n_slices or (
            numbers.first_z >= its_numbers.first_z + its_numbers.n_slices
        ):
            yield (
                f"{other} has {its_numbers.all_slices} and {first} {numbers.all_slices}: where one is seen "
                f"the other is empty. Change z, or open them apart: fibstack view {shlex.quote(other)}"
            )


def _numbers_of(output: str) -> tuple[SliceNumbers, float]:
    """The numbers of the slices of an output, and how thick they are, in nm."""
    finest = find_volumes(output)[0].info["scales"][0]
    numbers = SliceNumbers.of(read_transforms(output), finest)
    return numbers, finest["resolution"][2] / numbers.slices_per_voxel


def _place_in_address(number: int, volumes: Sequence[Any]) -> list[str]:
    """Names of the volumes of an output in addresses."""
    return [f"{volume.name}-{number}" if number else volume.name for volume in volumes]


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _kept_secret(*what: str) -> str:
    """The part of an address that nobody can guess, the same for the same user and the same things.

    It follows from a key that only the user can read.
    """
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    folder = state / "fibstack/view"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = open_store(str(folder))
    if store.stat(_KEY_FILE) is None:
        store.write(_KEY_FILE, secrets.token_bytes(32))
    return hmac.new(store.read(_KEY_FILE), "\n".join(what).encode(), hashlib.sha256).hexdigest()[:32]


def wait_for_interrupt() -> None:
    """Return when the user presses Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("")


if __name__ == "__main__":
    main()
