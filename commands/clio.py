"""`fibstack clio`: the record by which Clio finds a volume, printed, or posted to a clio-store.

clio-store keeps one record for each dataset, by its name. Its API documents `description`, `location`,
`public` and `layers`; Clio's pages read `dimensions` and `position` too.

Source: github.com/clio-janelia/clio-store (README and `dependencies.py`), clio_website (layers of a dataset).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from commands.view.published import PublishedVolume, address_of, find_volumes, read_transforms
from components.shared.command import StepCommand
from components.shared.documents.plan import PLAN_KEY, plan_in
from components.shared.errors import ConfigError, FibstackError, TransientError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import join_uri
from components.shared.volume.slice_numbers import SliceNumbers
from components.shared.web import ANSWER_BYTES, AnswerError, ask, json_object, reason_of

TOKEN_VARIABLE = "FIBSTACK_CLIO_TOKEN"  # noqa: S105 - its name
DEADLINE_S = 60
"""Longest that one request to clio-store may take."""
_NM = 1e-9


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack clio gs://em/aligned --name hippocampus")
@click.argument("output")
@click.option("--name", default="", help="Name of the dataset.  [default: the id of the run]")
@click.option("--public", is_flag=True, help="Let all who use Clio see it.")
@click.option(
    "--post", "store_url", default="", metavar="URL", help="clio-store to post to, without '/datasets'."
)
def main(output: str, name: str, public: bool, store_url: str) -> None:
    """Print the clio-store record of the volume in OUTPUT, a gs:// or s3:// URI, or post it.

    Posting takes the rights of an administrator there, and FIBSTACK_CLIO_TOKEN in the environment, from
    'gcloud auth print-identity-token'. A dataset that is there already is never replaced. Clio's users see
    the volume where they may read the bucket.
    """
    volumes = find_volumes(output)
    shown = volumes[0]
    if not scheme_of(shown.store.uri).cloud:
        raise UserError(
            f"clio must be given a volume in a bucket, which Clio can read; got {output}. "
            "Upload it with 'fibstack data upload'."
        )
    records = {name or name_of(output): record_of(output, volumes, public=public)}
    click.echo(json.dumps(records, indent=2))
    if store_url:
        post(records, store_url, os.environ.get(TOKEN_VARIABLE, "").strip())
        click.echo(f"Posted to {store_url}.", err=True)


def name_of(output: str) -> str:
    """The id of the run, or the last part of its output's name.

    Raises:
        ConfigError: there is neither.
    """
    process = open_store(part_uri(output, "process"))
    run_id = plan_in(process).config.id if process.stat(PLAN_KEY) else ""
    name = run_id or output.rstrip("/").rpartition("/")[2]
    if not name:
        raise ConfigError("the dataset must have a name; the run has no id. Give --name.")
    return name


def record_of(output: str, volumes: Sequence[PublishedVolume], *, public: bool) -> dict[str, Any]:
    """The record of a dataset.

    Args:
        output: The output that the volumes are of.
        volumes: The one to show first.
        public: Whether all who use Clio may see it.
    """
    shown, *others = volumes
    finest = shown.info["scales"][0]
    size, offset, resolution = finest["size"], finest["voxel_offset"], finest["resolution"]
    # Clio's pages count voxels, and no member of a record moves them.
    numbers = SliceNumbers.of(read_transforms(output), finest)
    numbering = f". {numbers.sentence}" if numbers.is_otherwise or numbers.n_evened else ""
    # The lossless volume is left out where it has a bucket of its own, which is never public.
    root = shown.store.uri.rpartition("/")[0]
    return {
        "description": f"{' x '.join(f'{n:,}' for n in size)} voxels of "
        f"{' x '.join(f'{side:g}' for side in resolution)} nm, aligned by fibstack{numbering}",
        # As a layer too, Clio's pages would look for its source in vain.
        "location": address_of(output, shown.store.uri),
        "public": public,
        "layers": [
            {"name": other.name, "location": address_of(output, other.store.uri)}
            for other in others
            if other.store.uri.startswith(f"{root}/")
        ],
        "dimensions": {
            axis: [float(f"{side * _NM:.9g}"), "m"] for axis, side in zip("xyz", resolution, strict=True)
        },
        "position": [start + n // 2 for start, n in zip(offset, size, strict=True)],
    }


def post(records: dict[str, dict[str, Any]], store_url: str, token: str) -> None:
    """Add datasets to a clio-store.

    Raises:
        ConfigError: there is no token, or it would go unencrypted.
        UserError: the store refuses, has such a dataset already, or is no clio-store.
        TransientError: the store cannot be reached, or fails.
    """
    parts = urlsplit(store_url)
    if not token:
        raise ConfigError(f"--post must be given a token; there is none in {TOKEN_VARIABLE}. Set it.")
    if not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))
    ):
        raise ConfigError(f"--post must be an https:// address, since a token goes there; got '{store_url}'.")
    address = join_uri(store_url, "datasets")
    try:
        there = json_object(_ask("GET", address, token))
    except AnswerError as error:
        raise UserError(
            f"clio-store must answer with a JSON object; got {error} from {address}. Check --post."
        ) from None
    taken = sorted(records.keys() & there.keys())
    if taken:
        raise UserError(
            f"a dataset must be new to clio-store; got '{taken[0]}', which is there, in {address}. "
            "Choose another --name, or delete it there."
        )
    _ask("POST", address, token, records)


def _ask(method: str, address: str, token: str, body: Any = None) -> bytes:  # noqa: ANN401 - JSON
    headers = {"Authorization": f"Bearer {token}"}
    most_bytes = ANSWER_BYTES if method == "GET" else 0
    try:
        answer = ask(
            method,
            address,
            deadline_s=DEADLINE_S,
            most_bytes=most_bytes,
            json=body,
            headers=headers,
            allow_redirects=False,
        )
    except Exception as error:
        # Also what a library raises about an address or an answer that no standard allows.
        raise TransientError(f"cannot reach {address}: {reason_of(error)}. Check --post.") from None
    if answer.status != 200:
        raise _refusal(address, answer.status)
    return answer.body


def _refusal(address: str, status: int) -> FibstackError:
    if status in (401, 403):
        return UserError(
            f"clio-store must accept the token; got HTTP {status} from {address}. Ask an administrator to "
            f"post, or renew {TOKEN_VARIABLE} with 'gcloud auth print-identity-token'."
        )
    kind = TransientError if status >= 500 or status == 429 else UserError
    return kind(f"clio-store must take the record; got HTTP {status} from {address}. Check --post.")


if __name__ == "__main__":
    main()
