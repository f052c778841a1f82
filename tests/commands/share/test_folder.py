"""`fibstack share --to`: the folder holds true copies, its server answers ranges, a browser shows it."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from neuroglancer.url_state import parse_url
from PIL import Image

from commands.share import folder as share_folder
from commands.share import notices, serve
from commands.share.main import main as share
from commands.share.serve import Handler, Server
from commands.view import link
from components.shared.storage.registry import open_store
from components.shared.web import ask
from tests.builders import invoke
from tests.components.pyramid.pyramid_builders import AlignedStack, textured
from tests.web_page import CHROMIUM, NO_CHROMIUM, web_page

FIRST_Z = 17
LIMIT_S = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> AlignedStack:
    stack = AlignedStack(tmp_path_factory.mktemp("run") / "out", textured((6, 200, 300)), minz=FIRST_Z)
    stack.write_blocks()
    stack.write_info()
    stack.process.write("report/index.html", b"<title>report</title>")
    return stack


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with Server(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def fetched(address: str, asked: str = "") -> tuple[int, bytes, str]:
    request = urllib.request.Request(address, headers={"Range": asked} if asked else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers.get("Content-Range", "")
    except urllib.error.HTTPError as error:
        return error.code, b"", error.headers.get("Content-Range", "")


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_folder_holds_the_volume_the_report_a_viewer_and_what_it_takes_to_serve_it(
    stack: AlignedStack, tmp_path: Path
) -> None:
    output, to = stack.plan.config.output, tmp_path / "to"
    done = invoke(share, output, "--to", to)
    assert done.exit_code == 0, done.output
    assert re.search(r"Copies \d+ files, .* to ", done.output)
    assert f"python3 {to}/serve.py" in done.output
    files = files_of(to)
    volume = {key.removeprefix("volume/jpeg/"): data for key, data in files.items() if key.startswith("vol")}
    assert volume == files_of(Path(output) / "neuroglancer/jpeg")
    assert files["report/index.html"] == b"<title>report</title>"
    assert b"Apache License" in files["v/neuroglancer/LICENSE"]
    assert not [key for key in files if key.endswith(".map")]
    told = files["README.txt"].decode()
    assert f'alias "{to}/";' in told
    assert f'root * "{to}"' in told
    assert f"In the files of the volume slice n lies at z = n - {FIRST_Z}." in told
    assert "right for looking, not for measuring" in told
    assert "right for looking, not for measuring" in files["index.html"].decode()
    assert str(tmp_path) not in files["state.json"].decode(), "the folder may be moved"


def test_the_viewer_comes_with_the_notices_of_all_that_is_in_it(stack: AlignedStack, tmp_path: Path) -> None:
    to = tmp_path / "to"
    invoke(share, stack.plan.config.output, "--to", to)
    told = (to / "v/neuroglancer/NOTICES.txt").read_text()
    assert "npmjs.com" not in told, "the licence of each library must be known here"
    for library, (licence, copyright_line) in notices.LIBRARIES.items():
        assert f"{library}, {licence}\n  {copyright_line}\n" in told, "it must still be in the viewer"
    for said in ("Google Inc.", "Howard Hughes Medical Institute", "Mozilla Foundation", "Gregg Tavares"):
        assert said in told
    assert told.count("Permission is hereby granted") >= 5
    compiled = sorted(path.name for path in (to / "v/neuroglancer").glob("*.wasm"))
    assert compiled
    assert all(f"  {name}\n" in told for name in compiled)
    assert "NOTICES.txt names the libraries in it" in (to / "README.txt").read_text()


def test_a_library_that_is_new_to_the_viewer_is_named(tmp_path: Path) -> None:
    source_map = {
        "sources": ["webpack://x/./node_modules/@new/lib/a.js", "webpack://x/./src/b.ts"],
        "sourcesContent": [None, "/* Copyright 2030 B.\n * MIT */\n// Copyright 2031 C, Apache License\n"],
    }
    (tmp_path / "a.js.map").write_text(json.dumps(source_map))
    found = notices.values_of(open_store(str(tmp_path)))
    assert (found["others"], found["libraries"]) == (["@new/lib"], [])
    assert (found["notices"], found["holders"]) == (
        ["Copyright 2030 B.\nMIT"],
        ["Copyright 2031 C, Apache License"],
    )


def test_the_lossless_volume_comes_along_on_request(stack: AlignedStack, tmp_path: Path) -> None:
    to = tmp_path / "to"
    done = invoke(share, stack.plan.config.output, "--to", to, "--lossless")
    assert done.exit_code == 0, done.output
    spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{to}/volume/raw/"}
    voxels = ts.open(spec, read=True).result()[..., 0].read().result()
    np.testing.assert_array_equal(voxels.T, stack.voxels)
    assert stack.plan.lossless_grey_levels in (to / "README.txt").read_text()


def test_a_second_time_copies_what_is_missing_or_damaged_and_removes_what_is_not_of_the_volume(
    stack: AlignedStack, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    invoke(share, stack.plan.config.output, "--to", to)
    before = files_of(to)
    shards = sorted((to / "volume/jpeg").rglob("*.shard"))
    kept = shards[0].stat().st_mtime_ns
    shards[1].write_bytes(b"?" * shards[1].stat().st_size)
    (to / "volume/jpeg/8x8x8/ff.shard").write_bytes(b"of another volume")
    assert invoke(share, stack.plan.config.output, "--to", to).exit_code == 0
    assert files_of(to) == before
    assert shards[0].stat().st_mtime_ns == kept


def test_a_damaged_volume_is_not_handed_over(stack: AlignedStack, tmp_path: Path) -> None:
    output = tmp_path / "moved"
    shutil.copytree(stack.plan.config.output, output)
    shard = next((output / "neuroglancer/jpeg").rglob("*.shard"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = invoke(share, str(output), "--to", tmp_path / "to")
    assert done.exit_code == 65
    assert shard.name in done.output
    assert not (tmp_path / "to/volume/jpeg/info").exists(), "no viewer may find it"


def test_an_output_that_was_moved_is_shared_from_where_it_lies(stack: AlignedStack, tmp_path: Path) -> None:
    shutil.copytree(stack.plan.config.output, tmp_path / "moved")
    done = invoke(share, str(tmp_path / "moved"), "--to", tmp_path / "to")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "to/volume/jpeg/info").exists()


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--to", "{output}/process/shared"], 65, "--to must lie beside the output"),
        (["--to", "{output}"], 65, "--to must name a new folder"),
        (["--to", "{tmp}/new", "--undo"], 78, "--undo must be given without --to"),
        (["--lossless"], 78, "--lossless must be given with --to"),
        ([], 65, "share {output} --to FOLDER"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    flags: list[str], code: int, said: str, stack: AlignedStack, tmp_path: Path
) -> None:
    output = stack.plan.config.output
    done = invoke(share, output, *(flag.format(output=output, tmp=tmp_path) for flag in flags))
    assert done.exit_code == code, done.output
    assert said.format(output=output) in done.output


def test_a_disk_without_room_is_told_before_anything_is_written(
    stack: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(share_folder.shutil, "disk_usage", lambda _: full)
    done = invoke(share, stack.plan.config.output, "--to", tmp_path / "to")
    assert done.exit_code == 65
    assert "the disk must have room for the copies" in done.output
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("asked", "status", "data", "place"),
    [
        ("", 200, b"0123456789", ""),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-12", 416, b"", "bytes */10"),
        ("bytes=-", 200, b"0123456789", ""),
    ],
)
def test_the_server_answers_ranges(asked: str, status: int, data: bytes, place: str, tmp_path: Path) -> None:
    (tmp_path / "a.shard").write_bytes(b"0123456789")
    with served(tmp_path) as address:
        assert fetched(f"{address}a.shard", asked) == (status, data, place)
        assert fetched(f"{address}b.shard", asked)[0] == 404


def test_the_server_runs_by_itself(stack: AlignedStack, tmp_path: Path) -> None:
    invoke(share, stack.plan.config.output, "--to", tmp_path / "to")
    command = [sys.executable, "-I", str(tmp_path / "to/serve.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        status, page, _ = fetched(address)
        server.terminate()
    assert address.startswith("http://127.0.0.1:")
    assert status == 200
    assert b"Look at the volume" in page


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-I", serve.__file__, "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the address must be free; got 127.0.0.1:")
    assert done.stderr.endswith("Use: python3 serve.py --port 0\n")


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_a_browser_shows_the_volume_and_keeps_the_state_in_its_address(
    stack: AlignedStack, tmp_path: Path
) -> None:
    to = tmp_path / "www/cell_7"
    invoke(share, stack.plan.config.output, "--to", to)
    with served(tmp_path / "www") as address, web_page(f"{address}cell_7/v/neuroglancer/") as page:
        drawn = "window.viewer?.isReady() && viewer.layerManager.managedLayers.map(l => l.name).join()"
        deadline = time.monotonic() + LIMIT_S
        while not str(page.evaluate(drawn)).startswith("jpeg") and time.monotonic() < deadline:
            time.sleep(0.3)
        assert str(page.evaluate(drawn)).startswith("jpeg")
        state = page.evaluate("JSON.stringify(viewer.state.toJSON())")
        assert json.loads(state)["position"][2] == FIRST_Z + 3, "z is the number in a slice's name"
        page.picture(tmp_path / "look.png")
        section = np.asarray(Image.open(tmp_path / "look.png").convert("L"))[80:380, 120:500]
        assert section.std() > 20, "the middle of the section must show the texture"
        page.evaluate("viewer.navigationState.position.value = Float32Array.of(10, 20, 19.5)")
        while "19.5" not in page.evaluate("location.hash") and time.monotonic() < deadline:
            time.sleep(0.3)
        assert f"{address}cell_7/volume/jpeg" in page.evaluate("decodeURIComponent(location.hash)")
        assert page.complaints == []
        assert all(asked.startswith(address) for asked in page.requests), "nothing is loaded from elsewhere"
        assert "Python server" not in page.evaluate("document.body.innerText")


@pytest.fixture
def web(stack: AlignedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server that has a shared folder, cell_7; what is asked of it is https."""
    invoke(share, stack.plan.config.output, "--to", tmp_path / "www/cell_7")
    with served(tmp_path / "www") as address:
        monkeypatch.setattr(
            link, "ask", lambda method, asked, **more: ask(method, asked.replace("https", "http"), **more)
        )
        yield address.replace("http", "https").rstrip("/")


def test_a_link_to_a_web_server_shows_a_shared_folder_and_a_volume(web: str) -> None:
    done = invoke(link.main, f"{web}/cell_7/")
    assert done.exit_code == 0, done.output
    state = parse_url(done.output.strip()).to_json()
    assert state["layers"][0]["source"][0]["url"] == f"precomputed://{web}/cell_7/volume/jpeg"
    assert state["position"][2] == FIRST_Z + 3, "z is the number in a slice's name"
    done = invoke(link.main, f"{web}/cell_7/volume/jpeg")
    state = parse_url(done.stdout.strip()).to_json()
    assert [layer["source"] for layer in state["layers"]] == [
        [{"url": f"precomputed://{web}/cell_7/volume/jpeg"}]
    ]
    assert "no transforms.json beside it tells the numbers" in done.stderr


@pytest.mark.parametrize("part", ["neuroglancer/jpeg", "chunk"])
def test_a_link_to_a_volume_of_an_output_on_a_web_server_counts_slices(
    web: str, stack: AlignedStack, tmp_path: Path, part: str
) -> None:
    shutil.copytree(stack.plan.config.output, tmp_path / "www/output")
    done = invoke(link.main, f"{web}/output/{part}")
    assert (done.exit_code, done.stderr) == (0, "")
    assert parse_url(done.output.strip()).to_json()["position"][2] == FIRST_Z + 3


def test_a_link_to_an_output_on_a_web_server_finds_the_volume_in_it(
    web: str, stack: AlignedStack, tmp_path: Path
) -> None:
    output = shutil.copytree(stack.plan.config.output, tmp_path / "www/aligned")
    done = invoke(link.main, f"{web}/aligned/")
    assert done.exit_code == 0, done.output
    state = parse_url(done.output.strip()).to_json()
    sources = [layer["source"][0]["url"] for layer in state["layers"] if layer["type"] == "image"]
    assert sources == [f"precomputed://{web}/aligned/neuroglancer/{name}" for name in ("jpeg", "raw")]
    assert state["position"][2] == FIRST_Z + 3, "z is the number in a slice's name, which transforms tell"
    # Without the records of its run, the volume's own count of voxels must do.
    shutil.rmtree(output / "process")
    done = invoke(link.main, f"{web}/aligned")
    assert "Its z counts the voxels of the volume" in done.stderr
    state = parse_url(done.stdout.strip()).to_json()
    assert state["layers"][0]["source"][0]["url"].endswith("/aligned/neuroglancer/jpeg")


def test_a_link_to_a_web_server_is_refused_where_no_page_can_read(
    web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = invoke(link.main, f"{web}/none")
    assert refused.exit_code == 65
    assert "got none of neuroglancer/jpeg/info, state.json and info at" in refused.output
    assert "must be given an https:// address" in invoke(link.main, "http://lab.org/cell_7").output
    monkeypatch.setattr(Handler, "end_headers", SimpleHTTPRequestHandler.end_headers)
    done = invoke(link.main, f"{web}/cell_7")
    assert done.exit_code == 65
    assert "got no leave for pages of other origins (CORS)" in done.output


def test_a_server_without_ranges_has_no_link(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "send_head", SimpleHTTPRequestHandler.send_head)
    done = invoke(link.main, f"{web}/cell_7")
    assert done.exit_code == 65
    assert "got HTTP 200 where 206 was asked for" in done.output
