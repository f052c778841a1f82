"""Ends a program with SIGKILL at each point where it changes storage, one after the other.

`explore` runs in a process that has imported the program and has no threads: it forks a child for each point,
which runs the program and dies there.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib
import multiprocessing
import os
import pathlib
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.reliability.programs import Call, start


@dataclass
class CrashPoints:
    """Counts the points that a program passes, and ends it at one of them."""

    at: int | None
    """The first is 1; None passes them all."""
    passed: int = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A point before the function and one behind it."""

        @functools.wraps(function)
        def with_points(*args: Any, **kwargs: Any) -> Any:
            self.point()
            result = function(*args, **kwargs)
            self.point()
            return result

        return with_points

    def install(self) -> None:
        """Put points around everything that changes a folder or a bucket."""
        for name in ("mkdir", "replace", "rename", "link", "unlink", "fsync"):
            setattr(os, name, self.around(getattr(os, name)))
        self._install_in_files()
        self._install_in_requests()

    def _install_in_files(self) -> None:
        really_open = pathlib.Path.open

        def open_file(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode == "r" or mode == "rb":
                return really_open(path, mode, *args, **kwargs)
            self.point()
            file = really_open(path, mode, *args, **kwargs)
            self.point()
            return _File(file, self)

        pathlib.Path.open = open_file  # type: ignore[assignment]

    def _install_in_requests(self) -> None:
        connection = http.client.HTTPConnection
        putrequest, send, getresponse = connection.putrequest, connection.send, connection.getresponse

        def note_method(self: Any, method: str, *args: Any, **kwargs: Any) -> None:
            self.changes_storage = method != "GET"
            putrequest(self, method, *args, **kwargs)

        def send_in_halves(connection: Any, data: Any) -> None:
            if not connection.changes_storage or not isinstance(data, bytes):
                send(connection, data)
                return
            self.point()
            send(connection, data[: len(data) // 2])
            self.point()
            send(connection, data[len(data) // 2 :])
            self.point()

        def note_answer(connection: Any) -> Any:
            answer = getresponse(connection)
            if connection.changes_storage:
                self.point()
            return answer

        http.client.HTTPConnection.putrequest = note_method  # type: ignore[method-assign]
        http.client.HTTPConnection.send = send_in_halves  # type: ignore[method-assign]
        http.client.HTTPConnection.getresponse = note_answer  # type: ignore[method-assign]


class _File:
    """A file that is written in two halves, the first of which reaches the disk."""

    def __init__(self, file: Any, points: CrashPoints) -> None:
        self._file, self._points = file, points

    def write(self, data: Any) -> None:
        whole = bytes(data)
        self._file.write(whole[: len(whole) // 2])
        self._file.flush()
        self._points.point()
        self._file.write(whole[len(whole) // 2 :])
        self._points.point()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def flush(self) -> None:
        self._file.flush()
        self._points.point()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._points.point()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def explore(call: Call, ask: Connection, memory: Path) -> None:
    """Do what the other end of a pipe asks for, until it sends None: run the program up to a point.

    What it sends is a point, or 0 to pass them all; it gets the number of points that were passed (None
    where the program was killed) and the exit code.
    """
    remember_evidence(memory)
    program = importlib.import_module(f"components.{call.step}.main").main
    while (at := ask.recv()) is not None:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                points = CrashPoints(at or None)
                points.install()
                code = program(call.argv, standalone_mode=False) or 0
                os.write(write_end, str(points.passed).encode())
            finally:
                os._exit(code)
        os.close(write_end)
        _, status = os.waitpid(child, 0)
        passed = os.read(read_end, 20)
        os.close(read_end)
        ask.send((int(passed) if passed else None, os.waitstatus_to_exitcode(status)))


def remember_evidence(memory: Path) -> None:
    """Have `align` compute what it finds once, and take it from a file from then on."""
    from components.align import main as align

    really_examine = align.examine_chunk

    def examine(*args: Any) -> Any:
        if not memory.exists():
            memory.write_bytes(pickle.dumps(really_examine(*args)))
        return pickle.loads(memory.read_bytes())

    align.examine_chunk = examine


@contextlib.contextmanager
def exploration(
    call: Call, environment: dict[str, str], folder: Path
) -> Iterator[Callable[[int], int | None]]:
    """A function that runs a program up to a point, the first is 1, or with 0 to its end.

    It returns the number of points that were passed, or None where the program was killed.
    """
    here, there = multiprocessing.Pipe()
    run = functools.partial(explore, ask=there, memory=folder / "evidence")
    process = start(call, environment, folder / "log.txt", run=run)
    there.close()

    def run_to(point: int) -> int | None:
        here.send(point)
        assert here.poll(60), "the program must end within 60 s"
        passed, exit_code = here.recv()
        assert exit_code == (-signal.SIGKILL if passed is None else 0), (folder / "log.txt").read_text()[
            -2000:
        ]
        return passed

    try:
        yield run_to
    finally:
        here.send(None)
        process.join()
        here.close()
