"""A stub proves the rights of each step: with them its program passes, without one it is refused."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from components.shared.steps import STEPS
from components.shared.storage.run_buckets import part_uri
from components.shared.stub.scratch import remove_scratch, scratch_uris
from tests.reliability import tiny_stack
from tests.reliability.conftest import PARTS, Place, Proxy, new_bucket
from tests.reliability.programs import Call, start
from tests.reliability.rights import PAGE, RIGHTS
from tests.reliability.test_least_privilege import rights_in

Buckets = dict[str, str]
Rights = dict[str, list[tuple[str, list[str]]]]
RUN = "one"


@pytest.fixture
def buckets(running_proxy: Proxy) -> Buckets:
    """The URI of each part of a run, and of its slices."""
    running_proxy.set_rules()
    source = f"em-{secrets.token_hex(4)}"
    uris = {"source": f"gs://{source}"}
    uris |= {part: part_uri(f"gs://{source}_*_{RUN}", part) for part in PARTS}
    for uri in uris.values():
        new_bucket(uri.split("/")[2])
    return uris


@pytest.fixture
def place(buckets: Buckets) -> Place:
    found = Place(buckets["source"], f"{buckets['source']}_*_{RUN}", {})
    found.write_slices()
    return found


def rights_in_a_stub(buckets: Buckets, stub: str) -> Rights:
    """Rights of the steps; those by the end of a name hold in the scratch folder too."""
    rights: Rights = rights_in(buckets)
    scratch = f"{buckets['process']}/stub.{stub}".removeprefix("gs://")
    rights["report"] += [(f"{scratch}/{key}", list(RIGHTS["report"]["page"])) for key in PAGE]
    return rights


def calls(place: Place, stub: str, folder: Path) -> list[Call]:
    """The programs of a stub in their order, a unit of each loop."""
    process = scratch_uris(place.output, stub, ome_zarr=False)["process"]

    def files(*names: str) -> dict[str, str]:
        return {f"{name}_out": str(folder / name) for name in names}

    given = {"process_uri": process}
    plan = {"source": place.source, "output": place.output, **tiny_stack.CONFIG, "stub": stub}
    return [
        Call("plan", {**plan, **files("process_uri", "chunks")}),
        Call("align", {**given, "chunk": "0-0"}),
        Call("compose", {**given, **files("slabs", "blocks", "coarse_blocks", "top_blocks")}),
        Call("tile", {**given, "slabs": "0-0"}),
        Call("pyramid", {**given, "level": 0, "blocks": "0-0"}),
        Call("report", {"output": place.output, "status": "Succeeded", "stub": stub}),
    ]


def ends(call: Call, proxy: Proxy, log: Path) -> tuple[int, str]:
    """The exit code of a program as its own identity, and what it has said."""
    program = start(call, proxy.environment(call.step), log)
    program.join()
    return program.exitcode, log.read_text()


def test_every_step_passes_with_its_own_rights_and_the_rest_can_be_removed(
    place: Place,
    buckets: Buckets,
    running_proxy: Proxy,
    tmp_path: Path,
) -> None:
    before = place.state()
    running_proxy.set_rules(rights=rights_in_a_stub(buckets, "aaaa"))
    for call in calls(place, "aaaa", tmp_path):
        for turn in ("first", "again"):
            log = tmp_path / f"{call.step}-{turn}.txt"
            assert ends(call, running_proxy, log) == (0, log.read_text())
    denied = [entry for entry in running_proxy.log() if entry["status"] == 403]
    # The pod that is tried again finds what is there to be what it would write.
    assert {entry["operation"] for entry in denied} == {"create"}
    assert json.loads((tmp_path / "chunks").read_text()) == ["0-0", "1-1"]
    running_proxy.set_rules()
    assert {key for key in place.state() if key not in before}
    assert remove_scratch(scratch_uris(place.output, "aaaa", ome_zarr=False)) == {}
    assert place.state() == before


@pytest.mark.parametrize(
    ("step", "part"), [(step, part) for step in STEPS for part in RIGHTS[step] if part != "refusal"]
)
def test_a_step_without_a_right_is_refused(
    place: Place,
    buckets: Buckets,
    running_proxy: Proxy,
    tmp_path: Path,
    step: str,
    part: str,
) -> None:
    stub = f"{step}{part}".replace("-", "")[:20]
    rights = rights_in_a_stub(buckets, stub)
    is_page = part == "page"
    rights[step] = [
        (prefix, allowed)
        for prefix, allowed in rights[step]
        if not (prefix.endswith(PAGE) if is_page else f"gs://{prefix}" == f"{buckets[part]}/")
    ]
    running_proxy.set_rules(rights=rights)
    needed = {"plan", "tile", step} if step == "report" else {"plan", step}
    for call in [call for call in calls(place, stub, tmp_path) if call.step in needed]:
        log = tmp_path / f"{call.step}.txt"
        exit_code, said = ends(call, running_proxy, log)
        assert exit_code == (65 if call.step == step else 0), said
        if call.step == step:
            assert "permission denied. Grant" in said
            return
