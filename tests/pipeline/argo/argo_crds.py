"""Checks Argo's objects against the full CRDs of its releases, as a cluster does that has them installed.

A cluster with the full CRDs refuses a value of another kind, and what `kubectl apply` sends it with a field
that the schema does not know. `crds/README.md` says where the schemas come from. Rules in CEL
(`x-kubernetes-validations`) are not evaluated.
"""

from __future__ import annotations

import functools
import json
import lzma
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "crds"
RELEASES = sorted(path.name.removeprefix("argo-").removesuffix(".json.xz") for path in FOLDER.glob("*.xz"))

Schema = Mapping[str, Any]

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_LIMITS: Mapping[str, Callable[[Any, Any], bool]] = {
    "enum": lambda value, words: value in words,
    "pattern": lambda value, pattern: re.search(pattern, value) is not None,
    "minLength": lambda value, least: len(value) >= least,
    "maxLength": lambda value, most: len(value) <= most,
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
}
_UNCHECKED = {"type", "format", "properties", "additionalProperties", "items", "required", "default"}
"""Words of a schema that are no limit: read elsewhere here, or without a say in what is refused."""


@functools.cache
def schemas(release: str) -> Mapping[str, Schema]:
    """The schema of each kind, in a release."""
    found: Mapping[str, Schema] = json.loads(
        lzma.decompress((FOLDER / f"argo-{release}.json.xz").read_bytes())
    )
    return found


def refusals(release: str, thing: Mapping[str, Any]) -> list[str]:
    """What a cluster with the CRDs of a release says against an object, one sentence each."""
    return list(_value(schemas(release)[thing["kind"]], thing, ""))


def _value(schema: Schema, value: Any, where: str) -> Iterator[str]:
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield f"{where} must be a whole number or a text; got {value!r}."
        return
    kind = _KINDS[schema["type"]] if "type" in schema else object
    if not isinstance(value, kind) or (
        isinstance(value, bool) and schema.get("type") not in (None, "boolean")
    ):
        yield f"{where} must be {schema['type']}; got {value!r}."
        return
    for word, limit in schema.items():
        if word in _LIMITS and not _LIMITS[word](value, limit):
            yield f"{where} must have {word} {limit}; got {value!r}."
        assert word in _LIMITS or word in _UNCHECKED or word.startswith("x-"), word
    if isinstance(value, dict):
        yield from _object(schema, value, where)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _value(schema.get("items", {}), one, f"{where}[{index}]")


def _object(schema: Schema, value: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{where} must have {key}."
    known = schema.get("properties", {})
    # `metadata` of the object itself is Kubernetes' own, and has no schema of its own in a CRD.
    takes_any = schema.get("x-kubernetes-preserve-unknown-fields") or where == ".metadata" or not schema
    for key, one in value.items():
        if key in known:
            yield from _value(known[key], one, f"{where}.{key}")
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from _value(schema["additionalProperties"], one, f"{where}.{key}")
        elif not takes_any and not schema.get("additionalProperties"):
            yield f"{where}.{key} must be a field of this release."
