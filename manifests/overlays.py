"""Patches for kustomize: what the overlays of manifests/gke change in the workflow of manifests/argo.

`python -m manifests.overlays FOLDER...` reads `settings.toml` in each folder and writes the patches beside
it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.compiled.compile import compile_argo
from pipeline.settings import Settings, read_settings

_BASE = Path(__file__).parent / "argo/align-stack.yaml"
WORKFLOW, LIMITS = "workflow.patch.yaml", "limits.patch.yaml"
_HEADER = "# Made from settings.toml by 'make overlays'.\n"

Operation = dict[str, Any]
"""One operation of a JSON Patch, RFC 6902."""


def overlay_patches(settings: Settings) -> dict[str, str]:
    """The patches by name of their file: they make the workflow of `settings` from that of manifests/argo."""
    base_limits, base = yaml.safe_load_all(_BASE.read_text())
    limits, wanted = yaml.safe_load_all(compile_argo(settings))
    _refuse_other(base_limits, limits, "data")
    _refuse_other(base, wanted, "spec")
    return {
        WORKFLOW: _text(list(_operations(base["spec"], wanted["spec"], "/spec"))),
        LIMITS: _text(limits),
    }


def _refuse_other(base: Mapping[str, Any], wanted: Mapping[str, Any], patched: str) -> None:
    """Refuse objects that differ outside of the part that is patched."""
    for key in base.keys() | wanted.keys():
        assert key == patched or base.get(key) == wanted.get(key), key


def _operations(base: Any, wanted: Any, path: str) -> Iterator[Operation]:  # noqa: ANN401 - any JSON
    """The operations that make one value from another; what is next to a change stays."""
    if base == wanted:
        return
    if isinstance(base, dict) and isinstance(wanted, dict):
        if "name" in base and base["name"] == wanted.get("name") and path.startswith("/spec/templates/"):
            # A patch counts templates: had the base another order, kustomize stops here.
            yield {"op": "test", "path": f"{path}/name", "value": base["name"]}
        for key in sorted(base.keys() | wanted.keys()):
            place = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in wanted:
                yield {"op": "remove", "path": place}
            elif key not in base:
                yield {"op": "add", "path": place, "value": wanted[key]}
            else:
                yield from _operations(base[key], wanted[key], place)
    elif isinstance(base, list) and isinstance(wanted, list) and len(base) == len(wanted):
        for index, (one, other) in enumerate(zip(base, wanted, strict=True)):
            yield from _operations(one, other, f"{path}/{index}")
    else:
        yield {"op": "replace", "path": path, "value": wanted}


def _text(patch: object) -> str:
    return _HEADER + yaml.safe_dump(patch, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        for name, text in overlay_patches(read_settings(folder / "settings.toml")).items():
            (folder / name).write_text(text)
