"""`fibstack` at a terminal, where Ctrl-C is pressed when a step is in the midst of its work."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from components.shared.storage.folder import FolderStore
from tests.reliability.programs import FORKS

SLICES_PER_UNIT = 4
"""Two chunks and two slabs of a tiny stack."""


def fibstack(words: Sequence[str], held: str, folder: Path) -> tuple[int, str]:
    """Run `fibstack` to its end, or press Ctrl-C when the step `held` has written something.

    Returns:
        Its exit code, and what it showed.
    """
    ours, theirs = os.openpty()
    reached = folder / "reached"
    reached.unlink(missing_ok=True)
    shown = bytearray()
    reader = threading.Thread(target=_read, args=(ours, shown))
    process = FORKS.Process(target=_run, args=(words, os.ttyname(theirs), held, reached))
    process.start()
    reader.start()
    try:
        while held and process.is_alive() and not reached.exists():
            time.sleep(0.01)
        if held:
            os.write(ours, b"\x03")
        process.join(60)
    finally:
        process.kill()
        process.join()
        os.close(theirs)
        reader.join()
        os.close(ours)
    return process.exitcode, shown.decode()


def _read(terminal: int, shown: bytearray) -> None:
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # nobody has it open any more
            return
        if not some:
            return
        shown += some


def _run(words: Sequence[str], terminal: str, held: str, reached: Path) -> None:
    """What the process does that gets a terminal."""
    os.setsid()
    for descriptor in (0, 1, 2):  # what a session opens first is the terminal whose Ctrl-C it gets
        os.dup2(os.open(terminal, os.O_RDWR), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {"TERM": "xterm", "COLUMNS": "400"}
    from commands.main import main
    from components.plan import work
    from components.shared import grid
    from pipeline.here import processes

    work.CUT = replace(work.CUT, shortest_chunk=SLICES_PER_UNIT)
    grid.MAX_SLAB_DEPTH = SLICES_PER_UNIT

    def start(argv: Sequence[str], **options: object) -> SimpleNamespace:
        return _fork(argv, options["stdout"].fileno(), held, reached)

    processes.subprocess = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    main(words, prog_name="fibstack")


def _fork(argv: Sequence[str], log: int, held: str, reached: Path) -> SimpleNamespace:
    """Start the program of a step, `python -m MODULE ...`, in a tenth of the time that `subprocess` takes."""
    pid = os.fork()
    if pid:
        return SimpleNamespace(pid=pid)
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        _, _, module, *flags = argv
        if module.split(".")[1] == held:
            _hold_after_a_write(reached)
        importlib.import_module(module).main(flags)
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _hold_after_a_write(reached: Path) -> None:
    """Have this process stand still when it has written something, until it is told to end."""
    really_write = FolderStore.write

    def write(store: FolderStore, key: str, *parts: bytes) -> None:
        really_write(store, key, *parts)
        reached.touch()
        time.sleep(60)

    FolderStore.write = write
