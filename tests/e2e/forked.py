"""Tasks of `fibstack run` that start in a tenth of a second, for tests that run it many times."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.shared.steps import PROCESSES, STEPS
from pipeline.here.processes import Ended, Processes

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([f"components.{step}.main" for step in STEPS])


class ForkedProcesses(Processes):
    """Starts each program in a fork of a process that has imported all of them."""

    def run(self, argv: Sequence[str], folder: Path, log: Path) -> Ended:
        started = time.monotonic()
        environment = os.environ | {PROCESSES: "1"}
        process = FORKS.Process(target=_run, args=(list(argv), environment, folder, log))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Ended(process.exitcode, time.monotonic() - started)


def _run(argv: list[str], environment: Mapping[str, str], folder: Path, log: Path) -> None:
    """Run `python -m MODULE WORDS...` to its end, in this process."""
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    module = argv.index("-m") + 1
    importlib.import_module(argv[module]).main(argv[module + 1 :])
