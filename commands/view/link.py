"""`fibstack link`: an address that opens a volume in a bucket in neuroglancer on the web."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass
from http import HTTPStatus
from tempfile import TemporaryDirectory
from urllib.parse import quote

import click

from commands.doctor.findings import VIEWER
from commands.view.published import address_of, find_volumes
from components.shared.command import StepCommand
from components.shared.documents.preview import PREVIEW_KEY
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import TransientError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import scheme_of
from components.shared.web import ask, is_web_address, reason_of

STATE_KEY = "state.json"
"""File of a folder for a web server that says where the viewer looks at first."""
HERE = "precomputed://./"
"""Beginning of a source in that file, which lies beside it, wherever that is."""
_DEADLINE_S = 20
_MOST_BYTES = 8 << 20
"""Longest state or info that is read."""
_MOST_BYTES_OF_TRANSFORMS = 256 << 20
_INFOS = ("neuroglancer/jpeg/info", "neuroglancer/raw/info", "chunk/info")
_OF_SLICES = (f"process/{TRANSFORMS_KEY}", f"process/{PREVIEW_KEY}")
"""Keys below an output of what tells the numbers of slices, their marks, and which to look at first."""
_SAFE = "~@#$&()*!+=:;,.?/'"
"""Characters that stay as they are behind the '#' of an address."""

MOST_MARKS = 50
"""Notes in each layer, at most, so that the address still fits where addresses are pasted."""


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack link gs://em/aligned")
@click.argument("output")
def main(output: str) -> None:
    """Print the address that shows the volume in OUTPUT, the URI of a finished run, in neuroglancer.

    OUTPUT may be an https:// address, too: that of an output on a web server, of a folder that 'fibstack
    share --to' has written, or of a precomputed volume.

    It opens at the slice that agrees least with its neighbours, for everybody who may read the bucket without
    logging in, as long as that is so. On S3 there is no link before: 'fibstack view' shows a private volume.
    """
    if is_web_address(output):
        link = link_to_web(output)
        click.echo(link.address)
        if not link.counts_slices:
            click.echo(
                f"Its z counts the voxels of the volume: no {TRANSFORMS_KEY} beside it tells the numbers of "
                f"its slices.",
                err=True,
            )
        _tell_left_out(link.n_left_out)
        return
    address, n_left_out = link_to(output)
    click.echo(address)
    _tell_left_out(n_left_out)
    if scheme_of(output).opens_in_neuroglancer:
        click.echo(
            f"It opens where the bucket is public: {shlex.join(['fibstack', 'share', output])}. "
            f"To look at a private one: {shlex.join(['fibstack', 'view', output])}",
            err=True,
        )
    else:
        click.echo("It opens as long as everybody may read the volume, as is so now.", err=True)


def _tell_left_out(n_left_out: int) -> None:
    if n_left_out:
        click.echo(
            f"{n_left_out:,} slices that stand out are not marked in it, since an address must not be too "
            f"long; fibstack view marks all.",
            err=True,
        )


def link_to(output: str) -> tuple[str, int]:
    """The address of a neuroglancer on the web that shows a volume, and how many marks it leaves out.

    Raises:
        UserError: the output lies in a folder, or there is no finished volume that it can lead to.
    """
    scheme = scheme_of(output)
    if not (scheme.opens_in_neuroglancer or scheme.cloud == "aws"):
        raise UserError(
            f"link must be given a gs:// or s3:// URI or an https:// address, since nobody else can read a "
            f"folder here; got {output}. Look at it with: {shlex.join(['fibstack', 'view', output])}; or "
            f"write a folder for a web server: {shlex.join(['fibstack', 'share', output, '--to', 'FOLDER'])}"
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


@dataclass(frozen=True, slots=True)
class WebLink:
    """The address of a neuroglancer on the web that shows what lies on a web server."""

    address: str
    counts_slices: bool
    """Its z counts slices by the numbers of their files."""
    n_left_out: int = 0
    """Marks that it has no room for."""


def link_to_web(address: str) -> WebLink:
    """The link to what lies on a web server.

    The numbers of slices are those of the folder, or of the output that the volume is a part of.

    Args:
        address: Of an output, of a folder that `fibstack share` has written, or of a precomputed volume.

    Raises:
        UserError: there is neither, or pages of neuroglancer cannot read it.
    """
    place = address.rstrip("/")
    if not place.startswith("https://"):
        raise UserError(
            f"link must be given an https:// address, from which alone pages of neuroglancer read; got "
            f"{address}. A folder that 'fibstack share' has written is shown by its own page: open {address}"
        )
    shared = _read(f"{place}/{STATE_KEY}")
    if shared is not None:
        shown = quote(shared.replace(HERE, f"precomputed://{place}/"), safe=_SAFE)
        return WebLink(f"{VIEWER}#!{shown}", counts_slices=True)
    text = _read(f"{place}/info")
    return _link_to_output(place) if text is None else _link_to_volume(place, text)


def _link_to_output(place: str) -> WebLink:
    """The link to an output on a web server, as to one in a bucket."""
    from neuroglancer.url_state import to_url

    from commands.view.viewer import first_view

    with TemporaryDirectory() as folder:
        here = open_store(folder)
        for key in (*_INFOS, *_OF_SLICES):
            text = _read(f"{place}/{key}", _MOST_BYTES if key in _INFOS else _MOST_BYTES_OF_TRANSFORMS)
            if text is None and key == _INFOS[0]:
                raise UserError(
                    f"link must be given an output, a folder that 'fibstack share' has written, or a volume; "
                    f"got none of {key}, {STATE_KEY} and info at {place}. Check the address."
                )
            if text is not None:
                here.write(key, text.encode())
        volumes = find_volumes(folder)
        addresses = {volume.name: place + volume.store.uri.removeprefix(here.uri) for volume in volumes}
        state, n_left_out = first_view(folder, addresses, volumes, MOST_MARKS)
        return WebLink(str(to_url(state)), here.stat(_OF_SLICES[0]) is not None, n_left_out)


def _link_to_volume(place: str, text: str) -> WebLink:
    """The link to a precomputed volume on a web server, by the text of its info."""
    from neuroglancer.url_state import to_url

    from commands.view.viewer import LayerSource, viewer_state
    from components.shared.volume.slice_numbers import SliceNumbers

    try:
        info = json.loads(text)
        finest = info["scales"][0]
        layer = LayerSource(place.rpartition("/")[2], place, visible=True, n_channels=info["num_channels"])
        transforms = _transforms_beside(place)
        state = viewer_state(finest, SliceNumbers.of(transforms, finest), [layer])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{place}/info must describe a precomputed volume; got {type(error).__name__} in reading it. "
            f"Check the address."
        ) from None
    return WebLink(str(to_url(state)), counts_slices=transforms is not None)


def _transforms_beside(volume: str) -> Transforms | None:
    """The transforms of the output that a volume is a part of; None where they are not on the server."""
    for n_up in (1, 2):  # OUTPUT/chunk and OUTPUT/neuroglancer/jpeg
        output = volume.rsplit("/", n_up)[0]
        text = _read(f"{output}/process/{TRANSFORMS_KEY}", most_bytes=_MOST_BYTES_OF_TRANSFORMS)
        if text is not None:
            with contextlib.suppress(ValueError):  # of another program or version: it tells no numbers
                return Transforms.model_validate_json(text)
    return None


def _read(address: str, most_bytes: int = _MOST_BYTES) -> str | None:
    """A text on a web server, as a page of neuroglancer reads it; None where there is none.

    Raises:
        UserError: pages of other origins may not read it, or not in parts.
        TransientError: the server does not answer.
    """
    headers = {"Origin": VIEWER, "Range": f"bytes=0-{most_bytes - 1}"}
    try:
        answer = ask("GET", address, deadline_s=_DEADLINE_S, most_bytes=most_bytes, headers=headers)
    except Exception as error:
        # Also what a library raises about an address or an answer that no standard allows.
        raise TransientError(f"{address} must be there; got {reason_of(error)}. Try again.") from None
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
        return None
    if answer.status != HTTPStatus.PARTIAL_CONTENT or "Access-Control-Allow-Origin" not in answer.headers:
        got = (
            "no leave for pages of other origins (CORS)"
            if answer.status == HTTPStatus.PARTIAL_CONTENT
            else f"HTTP {answer.status} where 206 was asked for"
        )
        raise UserError(
            f"a web server must answer ranges and let pages of other origins read; got {got}, for {address}. "
            f"README.txt of a folder that 'fibstack share --to' writes has the lines for nginx and Caddy."
        )
    return answer.body.decode(errors="replace")


if __name__ == "__main__":
    main()
