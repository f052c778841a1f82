"""The registry of schemes: which code opens the stores of which locations.

A further kind of storage is one more call of `register`. Each store's library is imported when the first
location of its scheme is opened, so that folders need none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.shared.errors import UserError
from components.shared.storage.folder import FolderStore
from components.shared.storage.schemes import SCHEMES, Scheme, folder_of, scheme_of, without_scheme
from components.shared.storage.store import Store

_OPENERS: dict[str, Callable[[str], Store]] = {}
"""Functions that open the store of a location, by the name of its scheme."""


def register(scheme: Scheme, opener: Callable[[str], Store]) -> None:
    """Add a scheme.

    Args:
        scheme: The kind of location.
        opener: Opens the store of a location, given its whole URI.
    """
    SCHEMES[scheme.name] = scheme
    _OPENERS[scheme.name] = opener


def open_store(uri: str) -> Store:
    """The store at a `gs://bucket/prefix` or `s3://bucket/prefix` URI, a `file://` URI or a plain path.

    Raises:
        UserError: the scheme is not supported, or the bucket or folder cannot be named so.
    """
    opener = _OPENERS.get(scheme_of(uri).name)
    if opener is None:
        raise _unsupported(uri)
    return opener(uri)


def place_of(uri: str) -> str:
    """The URI that the store at a location says of itself; of a bucket it is told without a login.

    Raises:
        UserError: the scheme is not supported, or the folder cannot be named so.
    """
    return uri.rstrip("/") if scheme_of(uri).is_remote else open_store(uri).uri


def _open_path(uri: str) -> Store:
    return FolderStore(Path(uri))


def _open_file_uri(uri: str) -> Store:
    folder = folder_of(uri)
    if folder is None or not without_scheme(uri).removeprefix("localhost").startswith("/"):
        raise _unsupported(uri)
    return FolderStore(folder)


def _open_google_bucket(uri: str) -> Store:
    from components.shared.storage.gcs import GcsStore

    return GcsStore(uri)


def _open_s3_bucket(uri: str) -> Store:
    from components.shared.storage.s3 import S3Store

    return S3Store(uri)


def _unsupported(uri: str) -> UserError:
    return UserError(
        f"a location must be a folder, file:///folder, gs://bucket or s3://bucket; got '{uri}'. Change it."
    )


register(SCHEMES[""], _open_path)
register(SCHEMES["file"], _open_file_uri)
register(SCHEMES["gs"], _open_google_bucket)
register(SCHEMES["s3"], _open_s3_bucket)
