"""What each step reads and writes, as the proxy sees it, is what `components/<step>/contract.yaml` says.

The proxy sees the requests of both libraries, tensorstore's too.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from commands.apply.second_stack import places_of
from components.shared.documents.transforms import PLACES_KEY
from components.shared.steps import STEPS
from components.shared.storage.registry import open_store
from components.shared.work.run import Run
from docs.contracts import Keys, contract_of, pattern_of
from tests.reliability import tiny_stack
from tests.reliability.conftest import Proxy, new_bucket
from tests.reliability.programs import PODS, Call, Driver, start
from tests.reliability.rights import RIGHTS

VERBS = {"get": "reads", "stat": "reads", "create": "writes", "part": "writes", "delete": "deletes"}
CONFIG = tiny_stack.CONFIG | {"keep_bits": True, "ome_zarr": True}
"""Settings with which every output is written."""
Use = tuple[str, str, str, str]
"""Step, verb, root, and a key or a pattern of keys."""


class Interrupted(Driver):
    """A run that ends after the first block, and its report."""

    def step(self, calls: Sequence[Call]) -> None:
        if calls and calls[0].step == "pyramid":
            calls = calls[:1] if calls[0].flags["level"] == 0 else []
        if calls and calls[0].step == "report":
            calls = [replace(calls[0], flags={**calls[0].flags, "status": "Failed"})]
        super().step(calls)


@pytest.fixture(scope="module")
def requests(running_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The requests of a run, of the same run again, of both with another version of OME-Zarr, of one with
    another quality that is interrupted, of one that `plan` refuses, of one with a smaller volume in fewer
    formats, of one that is placed as this, and of `compose` that refuses it."""
    bucket = f"em-{secrets.token_hex(4)}"
    new_bucket(bucket)
    source, output = f"gs://{bucket}/source", f"gs://{bucket}/output"
    write_16_bit_slices(source)
    open_store(source).write("decisions.yaml", b"- {z: 3, skip: true}\n")
    settings = CONFIG | {"source": source, "overrides": f"{source}/decisions.yaml"}
    running_proxy.set_rules()
    folder = tmp_path_factory.mktemp("contracts")
    for turn in ("first", "second"):
        Driver(folder / turn, running_proxy.environment).run(output, **settings)
    settings["ome_zarr_version"] = "0.6"
    for turn in ("newer", "again"):
        Driver(folder / turn, running_proxy.environment).run(output, **settings)
    Interrupted(folder / "third", running_proxy.environment).run(output, **settings, jpeg_quality=70)
    fewer = {"ome_zarr": False, "raw_pyramid": False}
    smaller = {"resolution": 9.0, "crop": [0, 0, 60, 60], "maxz": 3, **fewer}
    files = {f"{name}_out": str(folder / name) for name in ("process_uri", "chunks")}
    refuse(Call("plan", {"output": output, **settings, "maxz": 99, **files}), running_proxy, folder)
    report = {"output": output, "pods": PODS, "status": "Failed"}
    Driver(folder / "refused", running_proxy.environment).step([Call("report", report)])
    Driver(folder / "fourth", running_proxy.environment).run(output, **settings | smaller)
    other = f"{bucket}-other"
    new_bucket(other)
    write_places(output, f"gs://{other}/output")
    placed = settings | smaller | {"overrides": "", "placed_as": output, "skip_align": True}
    Driver(folder / "placed", running_proxy.environment).run(f"gs://{other}/output", **placed)
    shard = next(iter(open_store(f"{output}/chunk").list())).key
    open_store(f"{output}/chunk").write(f"{shard.rpartition('/')[0]}/foreign.shard", b"?")
    files = {f"{name}_out": str(folder / name) for name in ("slabs", "blocks", "coarse_blocks", "top_blocks")}
    refuse(Call("compose", {"process_uri": f"{output}/process", **files}), running_proxy, folder)
    return running_proxy.log()


def refuse(call: Call, proxy: Proxy, folder: Path) -> None:
    """Run a program that must refuse what it is given."""
    program = start(call, proxy.environment(call.step), folder / "refused.txt")
    program.join()
    assert program.exitcode == 65, (folder / "refused.txt").read_text()


def write_places(output: str, other: str) -> None:
    """Have the slices of another output placed as those of a run."""
    run = Run.read(open_store(f"{output}/process"))
    places = places_of(output, run.plan, run.transforms)
    open_store(f"{other}/process").write(PLACES_KEY, places.to_json())


def write_16_bit_slices(uri: str) -> None:
    tiny_stack.write_slices(uri)
    store = open_store(uri)
    for found in list(store.list()):
        picture = cv2.imdecode(np.frombuffer(store.read(found.key), np.uint8), cv2.IMREAD_UNCHANGED)
        store.write(found.key, cv2.imencode(".png", picture.astype(np.uint16) * 200)[1].tobytes())


def keys_used(requests: list[dict[str, Any]]) -> set[Use]:
    """Each key that a step has read, written or deleted, by the root that it lies below."""
    used = set()
    for request in requests:
        found = re.fullmatch(r"(?:output/)?(source|[\w-]+)/(.+)", request["key"])
        if request["operation"] in VERBS and found:
            used.add((request["who"], VERBS[request["operation"]], found[1], found[2]))
    return used


def promised() -> Iterator[Use]:
    """Each pattern of the contracts."""
    for step in STEPS:
        contract = contract_of(step)
        for verb in ("reads", "writes", "deletes"):
            keys: Keys = getattr(contract, verb)
            yield from ((step, verb, root, key) for root, patterns in keys.items() for key in patterns)


def holds(pattern: Use, use: Use) -> bool:
    return pattern[:3] == use[:3] and re.fullmatch(pattern_of(pattern[3]), use[3]) is not None


def test_a_step_uses_nothing_but_what_its_contract_names(requests: list[dict[str, Any]]) -> None:
    patterns = list(promised())
    unnamed = [use for use in keys_used(requests) if not any(holds(pattern, use) for pattern in patterns)]
    assert sorted(" ".join(use) for use in unnamed) == []


def test_a_step_uses_all_that_its_contract_names(requests: list[dict[str, Any]]) -> None:
    used = keys_used(requests)
    unused = [pattern for pattern in promised() if not any(holds(pattern, use) for use in used)]
    assert sorted(" ".join(pattern) for pattern in unused) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_the_rights_that_its_contract_asks_for(step: str) -> None:
    # A run's own buckets keep OME-Zarr with the other volumes.
    contract = contract_of(step)
    readable = {root for root, rights in RIGHTS[step].items() if "get" in rights}
    writable = {root for root, rights in RIGHTS[step].items() if "create" in rights}
    assert contract.reads.keys() - {"ome-zarr"} <= readable
    assert contract.writes.keys() - {"ome-zarr"} == writable
