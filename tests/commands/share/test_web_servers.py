"""The lines that README.txt of a shared folder has for nginx and Caddy, in these servers themselves."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from commands.share.main import main as share
from commands.view import link
from components.shared.web import ask
from tests.builders import invoke
from tests.commands.share.test_folder import FIRST_Z, served
from tests.components.pyramid.pyramid_builders import AlignedStack, textured
from tests.web_page import CHROMIUM, NO_CHROMIUM, web_page

SITE = "cell_7"
LIMIT_S = 60
NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    server {{
        listen 127.0.0.1:{port};
        {site}
    }}
}}
"""
"""A server that compresses all that it may, as some are set up."""
CADDY = """\
{{
    admin off
    auto_https off
}}
{site}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> AlignedStack:
    stack = AlignedStack(tmp_path_factory.mktemp("run") / "out", textured((6, 200, 300)), minz=FIRST_Z)
    stack.write_blocks()
    stack.write_info()
    stack.process.write("report/index.html", b"<title>report</title>")
    return stack


@pytest.fixture(scope="module")
def shared(stack: AlignedStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("www") / "folder of mine"
    done = invoke(share, stack.plan.config.output, "--to", folder)
    assert done.exit_code == 0, done.output
    return folder


def lines_for(server: str, folder: Path) -> str:
    """The block of README.txt for a server, for the site of the test."""
    text = (folder / "README.txt").read_text()
    _, _, rest = text.partition(f"\n{server}, in ")
    block = re.match(r".*?\n\n((?:  .*\n|\n)+?)\n*(?=\n\S|\Z)", rest)
    assert block is not None, text
    return textwrap.dedent(block[1]).replace("NAME", SITE)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module", params=["nginx", "Caddy"])
def site(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server with these lines."""
    program = shutil.which(request.param.lower(), path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"no {request.param}; on Debian and Ubuntu: apt-get install {request.param.lower()}")
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    lines = lines_for(request.param, shared)
    if request.param == "nginx":
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, site=lines, user=user))
        command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    else:
        site = lines.replace("host.example.org", f"http://127.0.0.1:{port}")
        (folder / "Caddyfile").write_text(CADDY.format(site=site))
        command = [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **home})
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            assert server.poll() is None, (folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/{SITE}"
    finally:
        server.terminate()
        server.wait(LIMIT_S)


def asked(address: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """The answer of a server to a page of another origin."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=LIMIT_S)
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(
        method, parts.path or "/", headers={"Origin": "https://lab.org", "Accept-Encoding": "gzip", **given}
    )
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


def shard_of(folder: Path) -> Path:
    return max((folder / "volume/jpeg").rglob("*.shard"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("asked_range", ["bytes=0-15", "bytes=100-299", "bytes=-16"])
def test_a_range_of_a_shard_is_what_the_shard_holds_there(site: str, shared: Path, asked_range: str) -> None:
    shard = shard_of(shared)
    whole = shard.read_bytes()
    first, last = asked_range.removeprefix("bytes=").split("-")
    expected = whole[int(first) : int(last) + 1] if first else whole[-int(last) :]
    status, headers, data = asked(f"{site}/{shard.relative_to(shared)}", Range=asked_range)
    assert (status, data) == (206, expected)
    assert headers["Content-Range"].endswith(f"/{len(whole)}")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "content-range" in headers["Access-Control-Expose-Headers"].lower()
    assert "Content-Encoding" not in headers


def test_a_shard_is_sent_as_it_is(site: str, shared: Path) -> None:
    shard = shard_of(shared)
    status, headers, data = asked(f"{site}/{shard.relative_to(shared)}")
    assert (status, data) == (200, shard.read_bytes())
    assert "Content-Encoding" not in headers
    assert headers["Cache-Control"] == "no-cache"


def test_a_shard_that_is_not_there_is_told_to_pages_of_other_origins(site: str) -> None:
    """Shards that are black all over are not written; a viewer must be told so, and not shut out."""
    status, headers, _ = asked(f"{site}/volume/jpeg/8x8x8/ff.shard", Range="bytes=0-15")
    assert status == 404
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_a_browser_may_ask_before_it_asks_for_a_range(site: str) -> None:
    preflight = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}
    status, headers, _ = asked(f"{site}/volume/jpeg/info", "OPTIONS", **preflight)
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Headers"].lower() == "range"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("", "text/html"),
        ("report/", "text/html"),
        ("start.js", "text/javascript"),
        ("state.json", "application/json"),
        ("v/neuroglancer/", "text/html"),
        ("README.txt", "text/plain"),
    ],
)
def test_browsers_are_told_what_a_file_is(site: str, name: str, content_type: str) -> None:
    status, headers, _ = asked(f"{site}/{name}")
    assert (status, headers.get_content_type()) == (200, content_type)


def test_every_program_of_the_viewer_is_told_to_be_one(site: str, shared: Path) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
    files = [path for path in (shared / "v").rglob("*") if path.suffix in types]
    assert {path.suffix for path in files} >= {".js", ".css"}
    for path in files:
        status, headers, _ = asked(f"{site}/{path.relative_to(shared)}")
        assert (status, headers.get_content_type()) == (200, types[path.suffix]), path


def test_the_address_without_a_slash_leads_to_the_folder(site: str) -> None:
    status, headers, _ = asked(site)
    assert status in (301, 302, 308)
    assert headers["Location"].endswith(f"/{SITE}/")


def test_a_link_leads_to_it(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        link, "ask", lambda method, at, **more: ask(method, at.replace("https", "http"), **more)
    )
    done = invoke(link.main, site.replace("http", "https"))
    assert done.exit_code == 0, done.output


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["the folder's viewer", "a viewer elsewhere"])
def test_a_browser_shows_the_volume(site: str, shared: Path, tmp_path: Path, is_elsewhere: bool) -> None:
    """From its own page, and from a neuroglancer of another origin, which needs leave to read (CORS)."""
    state = (shared / "state.json").read_text().replace("precomputed://./", f"precomputed://{site}/")
    with served(shared) as other:
        viewer = f"{other if is_elsewhere else f'{site}/'}v/neuroglancer/"
        address = f"{viewer}#!{quote(state)}" if is_elsewhere else viewer
        with web_page(address) as page:
            drawn = "window.viewer?.isReady() && viewer.layerManager.managedLayers.map(l => l.name).join()"
            deadline = time.monotonic() + LIMIT_S
            while not str(page.evaluate(drawn)).startswith("jpeg") and time.monotonic() < deadline:
                time.sleep(0.3)
            found = json.loads(page.evaluate("JSON.stringify(viewer.state.toJSON())"))
            assert found["position"][2] == FIRST_Z + 3
            page.picture(tmp_path / "look.png")
            section = np.asarray(Image.open(tmp_path / "look.png").convert("L"))[80:380, 120:500]
            assert section.std() > 20, "the middle of the section must show the texture"
            assert page.complaints == []
