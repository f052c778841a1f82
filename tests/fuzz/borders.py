"""The four borders where strangers' bytes come in: text in YAML, pictures, storage, and web services.

Each has sound inputs and a function that reads one as fibstack does. It may return, or raise a
`FibstackError`, which a person sees as one sentence; everything else is a mistake of fibstack's.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import requests
import tifffile

from commands import clio
from commands.data.split import open_stack
from commands.doctor.cluster import check_kfp
from components.plan.overrides import parse_overrides
from components.report import telling
from components.report.words.notice import Notice
from components.shared.documents.cost import read_prices
from components.shared.documents.plan import Plan, Reading, SourceSlice
from components.shared.documents.read_document import read_document
from components.shared.errors import FibstackError
from components.shared.pictures.slice_files import read_channels, read_header
from components.shared.storage import gcs
from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from components.shared.storage.store import checksum
from pipeline.configuration import read_config
from pipeline.settings import read_settings
from pipeline.submit import vertex
from tests.builders import plan_of
from tests.dat_file import dat

MOST_PICTURE_BYTES = 16 << 20
"""Pictures that say that they are larger are not decoded, as a plan would refuse their sizes."""
Reader = Callable[[bytes, random.Random], None]


@dataclass(frozen=True)
class Border:
    """A place where bytes come in."""

    inputs: tuple[bytes, ...]
    """Sound inputs."""
    tokens: tuple[bytes, ...]
    """Words of their formats."""
    reader: Callable[[], contextlib.AbstractContextManager[Reader]]
    """Opens what the reading needs."""


CONFIG = b"""\
# the slices
source: gs://bucket/slices
image: "s%05d.png"
minz: 00017
maxz: 99
output: /data/out
resolution: [8, 4.5, 4.5]
clip_limit: 0.01
keep_bits: true
crop: [10, 20, 300, 400]
more_channels: ["a%05d.tif", 'b%05d.tif']
id: 2024-02-21
"""
OVERRIDES = b"""\
- {z: 00512, skip: true}
- {z: 18, matrix: [[1, 0, 3.5], [0, 1, -2], [0, 0, 1]]}
- z: 19
  replace: 21
  note: "folded \\u00b5"
- {z: 22, pin: [10.5, -3e2]}
"""
SETTINGS = b"""\
name = "x"
[images]
repository = "r"
[steps.align]
memory = "4G"
retries = 3
"""


@contextlib.contextmanager
def _text_reader() -> Iterator[Reader]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "given.yaml")
        store = FolderStore(Path(folder))

        def read(data: bytes, rng: random.Random) -> None:
            file.write_bytes(data)
            line = data.decode(errors="surrogateescape").replace("\0", "")
            readers: tuple[Callable[[], object], ...] = (
                lambda: read_config(file, {}, []),
                lambda: read_config(None, {}, [line]),
                lambda: read_config(None, {"id": line, "maxz": line}, [f"crop={line}", f"output={line}"]),
                lambda: parse_overrides(data, "given.yaml"),
                lambda: read_prices(file),
                lambda: read_settings(file),
                lambda: read_document(store, file.name, Plan),
            )
            rng.choice(readers)()

        yield read


TEXT = Border(
    inputs=(CONFIG, OVERRIDES, SETTINGS, plan_of(3, 5).to_json()),
    tokens=(
        *(
            b"[",
            b"{",
            b"&a ",
            b"*a",
            b"!!int ",
            b"!!python/object:os.system ",
            b"<<: ",
            b"---\n",
            b"? ",
            b": ",
        ),
        *(b"0o17", b"0x1F", b"1e400", b".nan", b"-.inf", b"2024-02-31", b"12:30:45", b"null", b"~", b"yes"),
        *(
            b"\t",
            b"\0",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            "\u2028".encode(),
            b"9" * 5000,
            b"|\n",
            b">-\n",
            b"\\x",
        ),
    ),
    reader=_text_reader,
)


def _pictures() -> Iterator[bytes]:
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 256, (24, 32), np.uint8)
    deep = rng.integers(0, 65536, (24, 32), np.uint16)
    colour = rng.integers(0, 256, (24, 32, 3), np.uint8)
    for picture in (grey, deep, colour):
        yield cv2.imencode(".png", picture)[1].tobytes()
    for picture, flags in ((grey, ()), (colour, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))):
        yield cv2.imencode(".jpg", picture, flags)[1].tobytes()
    options: tuple[Mapping[str, Any], ...] = (
        {},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": "jpeg"},
        {"tile": (16, 16)},
        {"bigtiff": True, "byteorder": ">"},
        {"photometric": "miniswhite"},
        {"imagej": True, "resolution": (100.0, 100.0), "metadata": {"unit": "um"}},
        {"photometric": "palette", "colormap": np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))},
    )
    for option in options:
        file = io.BytesIO()
        tifffile.imwrite(file, grey, **option)
        yield file.getvalue()
    for other in (deep, colour, grey.astype(np.float32), deep.astype(np.int16)):
        file = io.BytesIO()
        tifffile.imwrite(file, other)
        yield file.getvalue()
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([grey, grey]), metadata={"axes": "ZYX"})
    yield file.getvalue()
    yield dat(deep.astype(np.int16)[:, :, None])


@contextlib.contextmanager
def _picture_reader() -> Iterator[Reader]:
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))

        def read(data: bytes, _: random.Random) -> None:
            Path(folder, "slice").write_bytes(data)
            with contextlib.suppress(FibstackError):
                open_stack(f"{folder}/slice")
            header = read_header(store, "slice", len(data))
            if header.picture_bytes > MOST_PICTURE_BYTES:
                return
            entry = SourceSlice(
                z=1,
                key="slice",
                size_bytes=len(data),
                width_px=header.width_px,
                height_px=header.height_px,
                n_channels=header.n_channels,
            )
            for picture in read_channels(store, entry, header.pixel_type, Reading(values=((0.0, 255.0),))):
                assert picture.shape[:2] == (header.height_px, header.width_px)

        yield read


PICTURES = Border(
    inputs=tuple(_pictures()),
    tokens=(
        *(
            b"IHDR",
            b"IDAT",
            b"IEND",
            b"tRNS",
            b"PLTE",
            b"eXIf",
            b"\xff\xd8",
            b"\xff\xd9",
            b"\xff\xc0",
            b"\xff\xff",
        ),
        *(
            b"\xff\xc3",
            b"\xff\xc9",
            b"\xff\xdb",
            b"II*\0",
            b"MM\0*",
            b"II+\0",
            b"\x06\x01\x03\0",
            b"\x12\x01\x03\0",
        ),
        *(b"\x0a\x01\x03\0", b"\x1c\x01\x03\0", b"\x03\x01\x03\0", b"\x53\x01\x03\0", b"\xc4\xa3\xc8\x80"),
    ),
    reader=_picture_reader,
)


class _Server:
    """A server on loopback that says the same bytes to everybody, and hangs up."""

    says = b""
    greets = False
    """It speaks first, as mail servers do."""

    def __enter__(self) -> _Server:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(1)
            if not self.greets:
                connection.recv(65536)
            connection.sendall(self.says)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def _answer(
    body: bytes, *headers: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json"
) -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"Connection: close", b"", body])


_BYTES = b"0123456789" * 8
_OBJECT = (
    b'{"kind":"storage#object","name":"p/k","bucket":"bucket","size":"80","crc32c":"%s","generation":"7",'
    b'"updated":"2026-01-01T00:00:00.000Z"}'
)
_HTTP_TOKENS = (
    *(
        b"HTTP/1.1 ",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"gzip",
        b"\0",
    ),
    *(
        b"Location: http://127.0.0.1:1/\r\n",
        b"302",
        b"401",
        b"403",
        b"404",
        b"408",
        b"429",
        b"500",
        b"503",
        b"999",
    ),
    *(
        b"Retry-After: 1\r\n",
        b"null",
        b"[]",
        b"{}",
        b'"',
        b"<html>",
        b"-1",
        b"9" * 400,
        b"\xff",
        b'"nextPageToken":"x",',
    ),
    *(b"Content-Encoding: gzip\r\n", b"Content-Encoding: br\r\n", b"charset=utf-99", b"[" * 3000),
)


@contextlib.contextmanager
def _storage_reader() -> Iterator[Reader]:
    gcs.RETRY = gcs.RETRY.with_delay(initial=0.01, maximum=0.05, multiplier=2).with_timeout(0.2)
    gcs._READ_RETRIES = {"max_retries": 1, "initial_delay": "10ms", "max_delay": "20ms"}
    with _Server() as server:
        os.environ["STORAGE_EMULATOR_HOST"] = os.environ["TENSORSTORE_GCS_HTTP_URL"] = (
            f"http://{server.address}"
        )
        os.environ["GOOGLE_AUTH_TOKEN_FOR_TESTING"] = "emulator"
        store = open_store("gs://bucket/p")

        def read(data: bytes, rng: random.Random) -> None:
            server.says = data
            calls: tuple[Callable[[], object], ...] = (
                lambda: list(store.list()),
                lambda: store.stat("k"),
                lambda: store.read("k"),
                lambda: store.read("k", checksum(_BYTES)),
                lambda: store.read_range("k", 10, 20),
                lambda: store.write("k", _BYTES),
                lambda: store.delete("k"),
                store.exists,
                lambda: read_document(store, "k", Plan),
            )
            rng.choice(calls)()

        yield read


STORAGE = Border(
    inputs=(
        _answer(_OBJECT % b"AAAAAA=="),
        _answer(b'{"kind":"storage#objects","items":[%s,%s]}' % (_OBJECT % b"AAAAAA==", _OBJECT % b"x")),
        _answer(b'{"kind":"storage#objects"}'),
        _answer(
            _BYTES, b"x-goog-generation: 7", b"x-goog-hash: crc32c=AAAAAA==", kind=b"application/octet-stream"
        ),
        _answer(_BYTES[:10], b"Content-Range: bytes 10-19/80", status=b"206 Partial Content"),
        _answer(plan_of(3, 5).to_json(), b"x-goog-generation: 7"),
        _answer(
            b'{"error":{"code":403,"message":"no","errors":[{"reason":"forbidden"}]}}',
            status=b"403 Forbidden",
        ),
        _answer(b"", status=b"204 No Content"),
    ),
    tokens=(*_HTTP_TOKENS, b'"size":', b'"crc32c":', b'"updated":', b'"items":', b"x-goog-hash: "),
    reader=_storage_reader,
)


@contextlib.contextmanager
def _web_reader() -> Iterator[Reader]:
    with _Server() as server, requests.Session() as session:
        base = f"http://{server.address}"
        vertex.LOGGING_URL = base
        notice = Notice("fibstack: x is complete", "The volume is complete.", {"state": "complete"})
        environment = {
            telling.PRIVATE_WEBHOOKS_VARIABLE: "1",
            "FIBSTACK_SMTP_HOST": server.address.partition(":")[0],
            "FIBSTACK_SMTP_PORT": server.address.partition(":")[2],
            "FIBSTACK_SMTP_FROM": "em@lab.org",
            "FIBSTACK_SMTP_TLS": "none",
        }

        def read_log() -> None:
            with vertex._failures("cannot read logs of", "region"):
                vertex._read_log(session, "project", "job")

        def read(data: bytes, rng: random.Random) -> None:
            server.says = data
            server.greets = rng.random() < 0.2
            if server.greets:
                telling.tell(notice, "a@lab.org", "", environment)
                return
            calls: tuple[Callable[[], object], ...] = (
                lambda: clio.post({"x": {}}, base, "token"),
                partial(telling.tell, notice, "", base, environment),
                lambda: list(check_kfp(base)),
                read_log,
            )
            rng.choice(calls)()

        yield read


WEB = Border(
    inputs=(
        _answer(b'{"other":{"location":"gs://x"}}'),
        _answer(b'{"entries":[{"textPayload":"a"},{"jsonPayload":{"message":"b"}}]}'),
        _answer(b"", b"Location: /elsewhere", status=b"302 Found"),
        _answer(b"no", status=b"503 Service Unavailable", kind=b"text/html"),
        b"220 mail ESMTP\r\n250-mail\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n221 bye\r\n",
        b"554 no\r\n",
    ),
    tokens=(
        *_HTTP_TOKENS,
        b"250-",
        b"250 ",
        b"535 ",
        b"421 ",
        b"AUTH PLAIN\r\n",
        b'"entries":',
        b'"message":',
    ),
    reader=_web_reader,
)

BORDERS: Mapping[str, Border] = {"text": TEXT, "pictures": PICTURES, "storage": STORAGE, "web": WEB}
"""The borders by name."""
