"""Storage that fails, memory that ends, and what strangers can send: one sentence, soon, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.documents.config import RunConfig, parse_config
from components.shared.documents.plan import SourceSlice
from components.shared.errors import ConfigError, UserError
from components.shared.pictures.slice_files import read_header, read_slice
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from tests.e2e import bad_input_cases as cases
from tests.e2e.bad_input_cases import BOMBS, Case, config, content
from tests.e2e.bad_input_run import answer_to

ROOT = Path(__file__).parents[2]


def in_new_mounts(script: str, *arguments: object) -> str:
    """What a Python script prints that may mount file systems, which end with it."""
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    if "unshare" in done.stderr or "mount: " in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MOUNTED = """
import subprocess, sys
from pathlib import Path
from tests.e2e import bad_input_cases as cases
from tests.e2e.steps import run_steps
folder = Path(sys.argv[1])
disk = folder / "disk"
disk.mkdir()
cases.write_stack(folder)
def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
def run(output, **config):
    try:
        run_steps(folder / "stack", output, image=cases.NAME, minz=1, maxz=5, **config)
        print("done")
    except AssertionError as error:
        print(*(line for line in str(error).splitlines() if line.startswith("error: ")))
def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
"""


def test_a_disk_that_is_full_and_one_that_is_read_only(tmp_path: Path) -> None:
    """Each is said; a run goes on when there is room, and what is read-only stays as it is."""
    script = """
mount("size=28k")
for size_kb in (28, 156, 228):
    mount(f"remount,size={size_kb}k")
    run(disk / "volume")
    assert not list(disk.rglob("info")), size_kb
mount("remount,size=64m")
run(disk / "volume")
run(folder / "clean")
written, clean = files(disk / "volume"), files(folder / "clean")
print([name for name in written if ".fibstack-tmp-" in name])
print([name for name in clean if not name.startswith("process/") and clean[name] != written.get(name)])
mount("remount,ro")
run(disk / "volume", clip_limit=0)
run(disk / "other")
print(files(disk / "volume") == written, len(written) > 10)
"""
    lines = in_new_mounts(MOUNTED + script, tmp_path).splitlines()
    *full, done, clean, left_over, different, again, other, same = lines
    for sentence, key in zip(
        full, ("process/align/1-5.npz", "tmp/aligned/c/0/0/0", "chunk/8x8x8/"), strict=True
    ):
        assert sentence.startswith(f"error: cannot write {tmp_path}/disk/volume/{key}"), full
        assert sentence.endswith(": the disk is full. Make free space and try again.")
    assert (done, clean, left_over, different) == ("done", "done", "[]", "[]")
    for sentence, name in ((again, "volume"), (other, "other")):
        assert sentence.startswith(f"error: cannot write {tmp_path}/disk/{name}/process/")
        assert sentence.endswith(": permission denied, since the disk is read-only. Choose another place.")
    assert same == "True True"


class Refusal(BaseHTTPRequestHandler):
    """Answers everything with one status."""

    status = 403
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"error": {"code": self.status, "message": "no"}}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server looks for these names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Refusal]]:
    """A server in place of Google Cloud Storage."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "test")
        Refusal.asked.clear()
        yield Refusal
        server.shutdown()


ASKED = {
    "read": lambda store: store.read("img.00001.png"),
    "read range": lambda store: store.read_range("img.00001.png", 0, 10),
    "look at": lambda store: store.stat("img.00001.png"),
    "write": lambda store: store.write("img.00001.png", b"data"),
    "list": lambda store: list(store.list("img.")),
}
ANSWERS = {
    401: (
        "the login is not accepted, or has expired",
        "Log in with 'gcloud auth application-default login'.",
    ),
    403: ("permission denied. Grant storage.objects.", ""),
    404: ("there is no bucket 'bucket'. Check its name", "there is no such object. Check the names"),
}


@pytest.mark.parametrize("status", ANSWERS)
def test_a_refusal_for_good_is_told_at_once(refusing_server: type[Refusal], status: int) -> None:
    refusing_server.status = status
    store, started = open_store("gs://bucket/stack"), time.monotonic()
    for what, ask in ASKED.items():
        if (status, what) == (404, "look at"):  # the answer is that there is none
            assert ask(store) is None
            continue
        with pytest.raises(UserError) as caught:
            ask(store)
        assert any(answer and answer in str(caught.value) for answer in ANSWERS[status]), (what, caught.value)
        if (status, what) == (403, "write"):
            assert "Grant storage.objects.create" in str(caught.value)
    assert time.monotonic() - started < 5
    assert len(refusing_server.asked) <= 2 * len(ASKED)


@pytest.mark.parametrize("place", ["source", "output"])
def test_a_run_on_a_forbidden_bucket_ends_at_once(
    refusing_server: type[Refusal], tmp_path: Path, place: str
) -> None:
    refusing_server.status = 403
    started = time.monotonic()
    spoil = config(**{place: "gs://bucket/em"})
    answer = answer_to(Case(group="storage", what="403", spoil=spoil), tmp_path)
    assert (answer.exit_code, len(answer.errors)) == (65, 1)
    assert "permission denied. Grant storage.objects." in answer.errors[0]
    assert time.monotonic() - started < 5
    # The look that is refused, perhaps once more, and one at the place where the reason would be left.
    assert len(refusing_server.asked) <= 3


def test_a_bucket_that_is_deleted_during_the_run(gcs_emulator: str, bucket: str, tmp_path: Path) -> None:
    from google.cloud import storage

    store = open_store(f"gs://{bucket}/em")
    for z in range(cases.FIRST, cases.LAST + 1):
        store.write(cases.NAME % z, cases.png(cases.slice_of(z)))
    started = []

    def delete(_: Path) -> None:
        started.append(time.monotonic())
        storage.Client(project="test").bucket(bucket).delete(force=True)

    case = Case(group="storage", what="", spoil=config(source=f"gs://{bucket}/em"), after_plan=delete)
    answer = answer_to(case, tmp_path)
    assert time.monotonic() - started[0] < 5
    assert answer.exit_code == 65
    (sentence,) = answer.errors
    assert sentence == (
        f"a slice must stay as it was planned; got no file any more in gs://{bucket}/em/img.00001.png. "
        "Run fibstack again, which plans anew."
    )


MEASURE = """
import resource, sys
from pathlib import Path
from tests.e2e.bad_input_cases import Case, config
from tests.e2e.bad_input_run import answer_to
def most_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def run(folder, source):
    return answer_to(Case(group="", what="", spoil=config(source=source)), folder).exit_code
folder = Path(sys.argv[1])
run(folder / "sound", folder / "sound/stack")
before = most_mb()
for bomb in sorted((folder / "bombs").iterdir()):
    code, name = run(folder / "runs" / bomb.name, bomb / "stack"), bomb.name
    print(code, most_mb() - before, name)
"""


def test_a_bomb_needs_no_more_memory_than_a_sound_slice(tmp_path: Path, figure: Any) -> None:
    for i, bomb in enumerate(BOMBS.values()):
        cases.write_stack(tmp_path / "bombs" / str(i))
        content(bomb)(tmp_path / "bombs" / str(i))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True, env=environment
    )
    measured = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert [code for code, _, _ in measured] == [65] * len(BOMBS)
    most_mb = max(mb for _, mb, _ in measured)
    figure(f"{len(BOMBS)} decompression bombs: refused, {most_mb} MB more memory than sound slices")
    assert most_mb < 16, measured


def check_sentence(error: Exception) -> None:
    assert "\n" not in str(error)
    assert str(error).endswith(".")
    assert len(str(error)) < 600


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.lists(st.floats() | st.text(max_size=5) | st.integers(), max_size=4)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(sorted(RunConfig.model_fields)), ANYTHING, max_size=4))
def test_any_value_of_any_key_is_taken_or_refused_in_a_sentence(values: dict[str, Any]) -> None:
    given_by_user = {"source": "s", "image": "%d.png", "minz": 0, "maxz": 9, "output": "o"}
    try:
        config = parse_config(given_by_user | values)
    except ConfigError as error:
        check_sentence(error)
    else:
        assert RunConfig.model_validate_json(config.model_dump_json()) == config


SOUND = [cases.png(cases.IMAGE), cases.DEFLATED, cases.bad.tiff(cases.IMAGE), cases.bad.jpeg(cases.IMAGE)]


@settings(max_examples=300)
@given(
    st.sampled_from(SOUND),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    st.floats(0.01, 1),
)
def test_any_damage_is_refused_in_a_sentence_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    damaged = bytearray(data)
    for place, value in changes:  # the fourth power: most of them in the header
        damaged[int(place**4 * len(damaged))] = value
    damaged = damaged[: max(1, int(len(damaged) * kept**0.1))]
    folder = tmp_path_factory.getbasetemp()
    (folder / "slice").write_bytes(damaged)
    store = FolderStore(folder)
    try:
        header = read_header(store, "slice", len(damaged))
        entry = SourceSlice(
            z=0,
            key="slice",
            size_bytes=len(damaged),
            width_px=header.width_px,
            height_px=header.height_px,
            n_channels=header.n_channels,
        )
        picture = read_slice(store, entry, header.pixel_type)
    except UserError as error:
        check_sentence(error)
    else:
        assert picture.shape == (header.height_px, header.width_px)
