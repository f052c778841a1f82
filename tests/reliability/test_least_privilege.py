"""Each step as an identity of its own that has no more rights than it needs, in the buckets of a run.

Only `report` may delete, the tiles, its own page and the note of what the volume may write, and `plan` why
the run before was refused.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from tests.reliability import tiny_stack
from tests.reliability.conftest import PARTS, Place, Proxy, new_bucket
from tests.reliability.programs import RECORDS_OF_UNITS, STEPS, Call, Driver, call_of_unit, start
from tests.reliability.rights import PAGE, REFUSAL, RIGHTS

RUN = "one"
CROSS_USES = [
    (step, who)
    for step in STEPS
    for who in RIGHTS
    if any(
        not set(rights) <= set(RIGHTS[who].get(part, ()))
        for part, rights in RIGHTS[step].items()
        if part != "refusal"  # who may not take it away plans all the same
    )
]
"""Steps as somebody who lacks some of the rights that the step needs."""


@pytest.fixture(scope="module")
def buckets(running_proxy: Proxy):
    """The URI of each part of a run."""
    source = f"em-{secrets.token_hex(4)}"
    uris = {"source": f"gs://{source}"}
    uris |= {part: part_uri(f"gs://{source}_*_{RUN}", part) for part in PARTS}
    for uri in uris.values():
        new_bucket(uri.split("/")[2])
    return uris


@pytest.fixture(scope="module")
def privileged_run(buckets, running_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory):
    """A run and a second one of steps that have their rights alone; what they leave, and their logs."""
    place = Place(buckets["source"], f"{buckets['source']}_*_{RUN}", {})
    place.write_slices()
    folder = tmp_path_factory.mktemp("privileged")
    states, logs = [], []
    for turn in ("first", "second"):
        running_proxy.set_rules(rights=rights_in(buckets))
        driver = Driver(folder / turn, running_proxy.environment)
        states.append(place.run(driver))
        logs.append(running_proxy.log())
        assert not driver.failed, driver.log
    return place, states, logs


def rights_in(buckets):
    prefixes = {part: [f"{uri}/"] for part, uri in buckets.items()}
    prefixes["page"] = [f"{buckets['process']}/{key}" for key in PAGE]
    prefixes["refusal"] = [f"{buckets['process']}/{REFUSAL}"]
    return {
        who: [
            (prefix.removeprefix("gs://"), list(rights))
            for part, rights in parts.items()
            for prefix in prefixes[part]
        ]
        for who, parts in RIGHTS.items()
    }


def test_every_step_passes_with_its_own_rights(privileged_run, figure: Callable[..., None]) -> None:
    _, (first, second), logs = privileged_run
    assert first == second
    denied_first, denied_second = ([e for e in log if e["status"] == 403] for log in logs)
    assert {entry["who"] for entry in logs[0]} == set(STEPS)
    # Two workers may find the array's metadata missing: the second takes the same content for written.
    assert [e for e in denied_first if not e["key"].endswith("/zarr.json")] == []
    # What is there is not replaced: the same content is taken for written.
    assert {entry["operation"] for entry in denied_second} == {"create"}
    figure("least privilege, each step as itself: denied requests", f"0 of {len(logs[0])}")
    figure("least privilege, a step as another: refused with 403", f"{len(CROSS_USES)} of {len(CROSS_USES)}")


def test_a_report_takes_the_place_of_that_of_a_failed_run(
    privileged_run, buckets, running_proxy: Proxy, tmp_path: Path
) -> None:
    place, _, _ = privileged_run
    open_store(buckets["process"]).delete("run.json")  # over a finished run's, a failure would write nothing
    running_proxy.set_rules(rights=rights_in(buckets))
    for status in ("Failed", "Succeeded"):
        call = Call("report", {"output": place.output, "status": status})
        program = start(call, running_proxy.environment("report"), tmp_path / "log.txt")
        program.join()
        assert program.exitcode == 0, (tmp_path / "log.txt").read_text()


def test_a_plan_takes_the_refusal_of_another_run_away(
    privileged_run, buckets, running_proxy: Proxy, tmp_path: Path
) -> None:
    place, _, _ = privileged_run
    process = open_store(buckets["process"])
    running_proxy.set_rules(rights=rights_in(buckets))
    call = call_of_unit("plan", place.source, place.output, process.uri, tmp_path, **tiny_stack.CONFIG)
    for maxz, exit_code in ((99, 65), (98, 65), (tiny_stack.CONFIG["maxz"], 0)):
        changed = Call("plan", {**call.flags, "maxz": maxz})
        program = start(changed, running_proxy.environment("plan"), tmp_path / "log.txt")
        program.join()
        assert program.exitcode == exit_code, (tmp_path / "log.txt").read_text()
        assert (process.stat(REFUSAL) is not None) == (exit_code == 65)
        assert exit_code == 0 or f"to {maxz}" in process.read(REFUSAL).decode()


@pytest.fixture(scope="module")
def unfinished_run(privileged_run, buckets, running_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory):
    """The run, a unit of each step to be done anew, with the tiles in place."""
    place, _, _ = privileged_run
    folder = tmp_path_factory.mktemp("unfinished")
    driver = Driver(folder, lambda _: running_proxy.environment())
    process = open_store(buckets["process"])
    process.delete(RECORDS_OF_UNITS["pyramid"])
    # What is there with the same content is taken for written, so a shard must be missing too.
    open_store(buckets["neuroglancer"]).delete("jpeg/8x8x8/3.shard")
    process.delete(RECORDS_OF_UNITS["tile"])
    for slabs in ("0-0", "1-1"):
        driver.step([Call("tile", {"process_uri": buckets["process"], "slabs": slabs})])
    return place


@pytest.mark.parametrize(("step", "who"), CROSS_USES)
def test_a_step_as_another_is_refused(
    unfinished_run, buckets, running_proxy: Proxy, tmp_path: Path, step, who
) -> None:
    place = unfinished_run
    process = open_store(buckets["process"])
    record = RECORDS_OF_UNITS.get(step, "")
    sealed = process.read(record) if record and process.stat(record) else None
    if record:
        process.delete(record)  # so that there is something to do
    before = place.state()
    running_proxy.set_rules(rights=rights_in(buckets))

    call = call_of_unit(step, place.source, place.output, process.uri, tmp_path, **tiny_stack.CONFIG)
    program = start(call, running_proxy.environment(who), tmp_path / "log.txt")
    program.join()

    said = (tmp_path / "log.txt").read_text()
    assert program.exitcode == 65, said
    assert "permission denied. Grant" in said
    assert any(entry["status"] == 403 for entry in running_proxy.log())
    changed = {name for name, value in place.state().items() if before.get(name) != value}
    assert not {name for name in changed if "/records/" in name}
    if sealed:
        process.write(record, sealed)


@pytest.mark.parametrize("who", RIGHTS)
def test_nobody_may_do_more_to_an_object_than_its_rights_say(
    privileged_run, buckets, running_proxy: Proxy, monkeypatch: pytest.MonkeyPatch, who
) -> None:
    running_proxy.set_rules(rights=rights_in(buckets))
    for uri in buckets.values():
        open_store(uri).write("probe", b"stored")
    for name, value in running_proxy.environment(who).items():
        monkeypatch.setenv(name, value)
    n_refused = 0
    for part, uri in buckets.items():
        store = open_store(uri)
        uses = {
            "get": lambda store=store: store.read("probe"),
            "list": lambda store=store: list(store.list()),
            "create": lambda store=store: store.write(f"new-{who}", b"x"),
            "replace": lambda store=store: store.write("probe", b"other"),
            "delete": lambda store=store: store.delete("probe"),
        }
        for right, use in uses.items():
            if right in RIGHTS[who].get(part, ()):
                use()
                continue
            with pytest.raises(UserError, match="permission denied"):
                use()
            n_refused += 1
    assert n_refused > 10
