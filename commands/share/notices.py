"""The notices of the libraries in the viewer, which their licences want beside every copy.

neuroglancer's package for Python holds its own licence alone. Its source maps tell which libraries are in it,
and hold the comments in which authors of its sources name themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from components.shared.storage.store import Store

MIT, APACHE = "MIT", "Apache-2.0"
LIBRARIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "codemirror": (MIT, "Copyright (C) 2017 by Marijn Haverbeke <marijn@haverbeke.berlin> and others"),
        "core-js": (MIT, "Copyright (c) 2013-2025 Denis Pushkarev, 2025-2026 CoreJS Company"),
        "crc-32": (APACHE, "Copyright (C) 2014-present SheetJS LLC"),
        "fflate": (MIT, "Copyright (c) 2026 Arjun Barrett"),
        "gl-matrix": (MIT, "Copyright (c) 2015-2025, Brandon Jones, Colin MacKenzie IV."),
        "lodash-es": (
            MIT,
            "Copyright OpenJS Foundation and other contributors <https://openjsf.org/>; based on "
            "Underscore.js, copyright Jeremy Ashkenas, DocumentCloud and Investigative Reporters & Editors",
        ),
        "msgpackr": (MIT, "Copyright (c) 2020 Kris Zyp"),
        "nifti-reader-js": (MIT, "Copyright (c) 2015 RII-UTHSCSA"),
        "numcodecs": (MIT, "Copyright (c) 2020 Trevor Manz"),
        "valibot": (MIT, "Copyright (c) Fabian Hiller"),
    }
)
"""Licence and copyright line of the libraries of JavaScript, by their names at npm, as their packages have
them there."""
_LIBRARY = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)/")
_COMMENT = re.compile(r"/\*.*?\*/|(?:^[ \t]*//[^\n]*\n)+", re.DOTALL | re.MULTILINE)
_NAMES_AUTHORS = re.compile(r"copyright|\(c\)\s+\d", re.IGNORECASE)
_MARKS = re.compile(r"^[ \t]*(?:/\*+!?|\*+/|\*|//+)?[ \t]?|[ \t]*\*/[ \t]*$", re.MULTILINE)
"""Marks of a comment around its lines."""


def values_of(client: Store) -> dict[str, object]:
    """The values that NOTICES.txt is rendered with.

    Args:
        client: The files of the viewer, as its package holds them, with their source maps.
    """
    libraries: set[str] = set()
    holders: set[str] = set()
    notices: dict[str, None] = {}
    for name, text in _sources(client):
        library = _LIBRARY.search(name)
        if library is not None:
            libraries.add(library[1])
        for comment in _comments(text):
            if "Apache License" in comment:
                holders |= {line for line in comment.splitlines() if _NAMES_AUTHORS.search(line)}
            elif library is None:
                notices[comment] = None
    return {
        "holders": sorted(holders),
        "libraries": [(name, *LIBRARIES[name]) for name in sorted(libraries & LIBRARIES.keys())],
        "others": sorted(libraries - LIBRARIES.keys()),
        "notices": list(notices),
        "compiled": [stat.key for stat in client.list() if stat.key.endswith(".wasm")],
    }


def _sources(client: Store) -> Iterator[tuple[str, str]]:
    """Name and text of each source that the viewer is made of."""
    for stat in client.list():
        if stat.key.endswith(".map"):
            found = json.loads(client.read(stat.key))
            texts = found.get("sourcesContent") or [""] * len(found["sources"])
            yield from zip(found["sources"], (text or "" for text in texts), strict=True)


def _comments(text: str) -> Iterator[str]:
    r"""The comments of a source that name whose it is.

    Example:
        >>> list(_comments("/**\n * Copyright 2016 A.\n * Free.\n */\nx = 1; // more\n"))
        ['Copyright 2016 A.\nFree.']
    """
    for comment in _COMMENT.findall(text):
        if _NAMES_AUTHORS.search(comment):
            yield _MARKS.sub("", comment).replace("@license", "").strip()
