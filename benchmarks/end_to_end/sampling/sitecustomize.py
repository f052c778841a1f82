"""Samples where the CPU time of this process goes: Python loads it by its name before any program.

Every few milliseconds the CPU clock of each thread is read, and what it has advanced counts for the module
that the thread is at. So calls of libraries that let go of the interpreter's lock count too. CPU time of
threads that are not Python's, such as those of tensorstore, is what is left of the whole process's.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

SHARES = "FIBSTACK_BENCHMARK_SHARES"
"""Variable that names the folder in which each process leaves its figures."""
LOADING = "loading"
LIBRARIES = "libraries"
_PERIOD_S = 0.005
_ROOT = f"{Path(__file__).parents[3]}/"


def place_of(frame: FrameType | None) -> str:
    """The module of fibstack that a thread is in, such as `components/tile/warp.py`.

    `LOADING` while it imports a module, and before the program has begun; `LIBRARIES` in a thread that runs
    nothing of fibstack's.
    """
    found, name = "", ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return LOADING
        if not found and name.startswith(_ROOT) and "/site-packages/" not in name:
            found = name.removeprefix(_ROOT)
        frame = frame.f_back
    return found or (LIBRARIES if name == threading.__file__ else LOADING)


def _sample(seconds: defaultdict[str, float], ended: threading.Event) -> None:
    """Add up CPU seconds by module until the program ends."""
    own, last_s = threading.get_ident(), dict[int, float]()
    while not ended.wait(_PERIOD_S):
        for thread, frame in sys._current_frames().items():
            if thread == own:
                continue
            now_s = time.clock_gettime(time.pthread_getcpuclockid(thread))
            before_s = last_s.get(thread, 0.0)
            # A clock that goes back is that of a new thread with the number of one that has ended.
            seconds[place_of(frame)] += now_s - before_s if now_s >= before_s else now_s
            last_s[thread] = now_s
    seconds[""] = time.thread_time()


def _begin(folder: str) -> None:
    seconds, ended = defaultdict[str, float](float), threading.Event()
    sampler = threading.Thread(target=_sample, args=(seconds, ended), daemon=True)

    def leave() -> None:
        ended.set()
        sampler.join()
        rest_s = time.process_time() - sum(seconds.values())
        del seconds[""]
        program = sys.modules["__main__"].__spec__
        figures = {"program": program.name if program else "", "cpu_s": {**seconds, LIBRARIES: rest_s}}
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(figures))

    atexit.register(leave)
    sampler.start()


if SHARES in os.environ:
    _begin(os.environ[SHARES])
