"""How often a run asks storage: once to write a shard, as often as planned in all, and for no data again."""

from collections import Counter
from collections.abc import Callable

import pytest

from components.plan import storage_requests
from components.plan.source import SAMPLING
from components.plan.work import Work, expected_volume
from components.shared.documents.plan import plan_in
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.storage.pace import STALLED
from components.shared.storage.registry import open_store
from components.shared.storage.store import Vouches, with_checksums
from components.shared.volume.volume import volume_of
from tests.builders import plan_of
from tests.reliability import tiny_stack
from tests.reliability.conftest import Clean, Proxy
from tests.reliability.extent import IN_BUCKETS
from tests.reliability.programs import STEPS, Driver, cut_smaller

LOOPED = ("align", "tile", "pyramid")
TB_IN_SLICES = 40_000
"""Of 5,000 x 5,000 px."""


@pytest.fixture(scope="module")
def logs(clean_bucket: Clean, running_proxy: Proxy, tmp_path_factory: pytest.TempPathFactory):
    """The requests of a run and of a second one, each step as itself."""
    place = clean_bucket.place
    folder = tmp_path_factory.mktemp("budget")
    place.clear()
    found = []
    for turn in ("first", "second"):
        running_proxy.set_rules()
        # Nothing is asked for twice since it was slow, also where many tests share the machine.
        patient = Driver(folder / turn, lambda who: running_proxy.environment(who) | {STALLED: "30"})
        state = place.run(patient)
        assert without_cost(state) == without_cost(clean_bucket.state)
        found.append(running_proxy.log())
    return found


def without_cost(state):
    """A state without the document that names the server, of which each step has a port of its own."""
    return {uri: value for uri, value in state.items() if not uri.endswith("/cost.json")}


def is_shard(entry):
    return entry["key"].endswith(".shard") or "/tmp/aligned/c/" in entry["key"]


@IN_BUCKETS
def test_a_shard_is_written_once_and_never_read_by_its_writer(
    scheme: str, logs, figure: Callable[..., None]
) -> None:
    written = Counter(e["key"] for e in logs[0] if is_shard(e) and e["operation"] in ("create", "part"))
    assert set(written.values()) == {1}
    read_by_writers = [
        e
        for e in logs[0]
        if e["operation"] == "get"
        and is_shard(e)
        and (e["who"] == "tile" or (e["who"] == "pyramid" and e["key"].endswith(".shard")))
    ]
    assert read_by_writers == []
    figure(
        f"{scheme}://, PUTs of a shard; GETs of a shard while shards are written",
        f"1 for each of {len(written)}; 0",
    )


@IN_BUCKETS
def test_every_object_of_a_run_is_written_once(logs) -> None:
    written = Counter(e["key"] for e in logs[0] if e["operation"] == "create")
    del written["output/tmp/aligned/zarr.json"]  # each of the first pods to tile may find none
    assert {key: n for key, n in written.items() if n > 1} == {}


@IN_BUCKETS
def test_the_plan_knows_every_slice_from_one_listing(clean_bucket: Clean, logs) -> None:
    """Size and checksum of all: whoever reads a slice later can tell whether it is still the same."""
    source = open_store(clean_bucket.place.source)
    plan = plan_in(open_store(f"{clean_bucket.place.output}/process"))
    found = {(s.key, s.size_bytes, s.crc32c) for s in plan.slices}
    assert found == {(s.key, s.size_bytes, s.crc32c) for s in with_checksums(source, list(source.list()))}
    assert len(found) == tiny_stack.N_SLICES
    of_slices = [e["operation"] for e in logs[0] if e["who"] == "plan" and e["key"].startswith("source/")]
    # Whether there is a source; the listing, which on s3:// has no checksums; the headers, of which each is
    # read in part; the whole slices in which a data bar and fill values are looked for.
    n_looked_at = min(SAMPLING.n_slices, tiny_stack.N_SLICES)
    expected = {"list": 2, "get": tiny_stack.N_SLICES + n_looked_at}
    if source.vouches is Vouches.WHEN_ASKED:
        expected["stat"] = tiny_stack.N_SLICES
    assert Counter(of_slices) == expected


@IN_BUCKETS
def test_a_second_run_reads_no_data(scheme: str, logs, figure: Callable[..., None]) -> None:
    second = logs[1]
    assert {e["who"] for e in second} == {"plan", "compose", "report"}  # no unit is done again
    assert [e for e in second if is_data(e)] == []
    figure(f"{scheme}://, second run: units computed, bytes of slices, tiles and shards read", "0, 0")
    figure(
        f"{scheme}://, second run: bytes of documents and thumbnails read",
        sum(e["bytes"] for e in second if is_get(e)),
    )


def is_get(entry):
    return entry["operation"] == "get"


def is_data(entry):
    """Whether a read is of voxels, or of a slice, its header too."""
    key = entry["key"]
    return is_get(entry) and (is_shard(entry) or key.endswith(".raw") or key.startswith("source/"))


@IN_BUCKETS
def test_a_run_asks_as_often_as_the_plan_says(
    scheme: str, clean_bucket: Clean, logs, monkeypatch: pytest.MonkeyPatch, figure: Callable[..., None]
) -> None:
    process = open_store(f"{clean_bucket.place.output}/process")
    plan, transforms = (
        plan_in(process),
        read_document(process, TRANSFORMS_KEY, Transforms),
    )
    with monkeypatch.context() as patch:
        cut_smaller(patch.setattr)
        planned = requests_by_step(Work.of(plan, volume_of(plan, transforms)))
    counted = {step: Counter(e["billing"] for e in logs[0] if e["who"] == step) for step in STEPS}
    large = large_work(scheme)
    per_tb = requests_by_step(large)
    for kind, name in (("A", "class_a"), ("B", "class_b")):
        n_counted = sum(counted[step][kind] for step in STEPS)
        n_planned = sum(getattr(planned[step], name) for step in STEPS)
        scale = TB_IN_SLICES / len(large.plan.slices)
        n_per_tb = sum(
            getattr(per_tb[step], name) * counted[step][kind] / max(getattr(planned[step], name), 1) * scale
            for step in STEPS
        )
        print({step: (counted[step][kind], getattr(planned[step], name)) for step in STEPS})
        assert n_counted == pytest.approx(n_planned, rel=0.2)
        figure(
            f"{scheme}://, class {kind} operations of the small run: counted, planned; for a TB",
            f"{n_counted}, {n_planned}; {n_per_tb:,.0f}",
        )


def requests_by_step(work):
    passes = [storage_requests.pyramid_requests(work, index) for index in range(len(work.volume.passes))]
    by_name = {step: getattr(storage_requests, f"{step}_requests") for step in STEPS if step != "pyramid"}
    found = {step: requests(work) for step, requests in by_name.items()}
    return found | {"pyramid": sum(passes, storage_requests.Requests(0, 0))}


def large_work(scheme):
    """A thousand slices of 5k x 5k, one block deep, as a run cuts them by default."""
    plan = plan_of(
        0, 999, size_px=(5000, 5000), match_scale=0.25, thumbnail_scale=0.1, chunk_length=16,
        source=f"{scheme}://em", output=f"{scheme}://em/out", image=tiny_stack.CONFIG["image"],
    )  # fmt: skip
    return Work.of(plan, expected_volume(plan))
