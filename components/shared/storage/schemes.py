"""Schemes: kinds of locations, told by the beginning of a URI, and what can be done with each.

Pure strings; no library of any storage is imported, so that the command line can ask without one. `registry`
says which code opens the locations of a scheme.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A kind of location, told by the word before `://`; by default it can do nothing."""

    name: str
    """The word before `://`; empty for a plain path."""
    is_folder: bool = False
    """A location is a folder of this machine, whose files have paths and can be linked."""
    is_remote: bool = False
    """A location is the same place for every machine of a cluster."""
    cloud: Literal["", "google", "aws"] = ""
    """The cloud whose protocol, login and rights hold there, also on a server of a lab's own; or none."""
    opens_in_neuroglancer: bool = False
    """Neuroglancer on the web reads a volume there, given its URI."""
    removal: str = ""
    """Command that removes all below a location, which is appended; empty for none."""
    browser_address: str = ""
    """Address that shows an object to who is logged in, when bucket and key are appended; empty for none."""


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(name="", is_folder=True, removal="rm -r"),
        Scheme(name="file", is_folder=True, removal="rm -r"),
        Scheme(
            name="gs",
            is_remote=True,
            cloud="google",
            opens_in_neuroglancer=True,
            removal="gcloud storage rm --recursive",
            browser_address="https://storage.cloud.google.com/",
        ),
        Scheme(name="s3", is_remote=True, cloud="aws", removal="aws s3 rm --recursive"),
    )
}
"""The schemes that fibstack knows, by name."""


def scheme_of(uri: str) -> Scheme:
    """The scheme of a location; one that nothing holds of where fibstack does not know it.

    Example:
        >>> scheme_of("gs://em/raw").is_remote, scheme_of("/data/em").is_folder, scheme_of("ftp://em/raw").cloud
        (True, True, '')
    """
    name = _name(uri)
    return SCHEMES.get(name) or Scheme(name=name)


def is_known(uri: str) -> bool:
    """Whether fibstack knows the scheme of a location.

    Example:
        >>> is_known("file:///data"), is_known("https://kubeflow.lab.org/#/runs/details/4")
        (True, False)
    """
    return _name(uri) in SCHEMES


def without_scheme(uri: str) -> str:
    """A location without its scheme and `://`.

    Example:
        >>> without_scheme("gs://em/raw"), without_scheme("/data/em")
        ('em/raw', '/data/em')
    """
    return uri.partition("://")[2] if "://" in uri else uri


def bucket_of(uri: str) -> str:
    """The bucket of a location.

    Example:
        >>> bucket_of("gs://em/raw")
        'em'
    """
    return without_scheme(uri).partition("/")[0]


def folder_of(uri: str) -> Path | None:
    """The folder or file of this machine that a location names; None for one elsewhere.

    Example:
        >>> folder_of("/data/em"), folder_of("file:///data/a%20b"), folder_of("gs://em/raw")
        (PosixPath('/data/em'), PosixPath('/data/a b'), None)
    """
    name = _name(uri)
    if name == "":
        return Path(uri)
    return Path(unquote(without_scheme(uri).removeprefix("localhost"))) if name == "file" else None


def is_read_otherwise(uri: str) -> bool:
    """Whether a location is a folder that another program may take for another one.

    tensorstore reads a backslash as a slash; control characters make two names look alike.

    Example:
        >>> is_read_otherwise("file:///data/a%5Cb"), is_read_otherwise("/data/a%5Cb")
        (True, False)
    """
    path = folder_of(uri)
    return path is not None and any(c == "\\" or unicodedata.category(c) in ("Cc", "Cs") for c in str(path))


def browser_link(uri: str) -> str:
    """The address of an object for a browser, where there is one; else its URI.

    Example:
        >>> browser_link("gs://em/out/index.html"), browser_link("/data/out/index.html")
        ('https://storage.cloud.google.com/em/out/index.html', '/data/out/index.html')
    """
    address = scheme_of(uri).browser_address
    return address + without_scheme(uri) if address else uri


def _name(uri: str) -> str:
    """The word before `://`; empty for a plain path, and `://` itself where no word stands before it."""
    name, separator, _ = uri.partition("://")
    return name or separator if separator else ""
