"""Common parts of the steps' click programs: errors as one sentence, logs, and KFP's output files."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from components.shared.errors import (
    ConfigError,
    FibstackError,
    TransientError,
    UserError,
    failure_of_files,
    failure_of_machine,
)
from components.shared.grid import Span

CLEAN_UP_S = 3
"""Seconds after SIGTERM at which a program that has not ended by itself is ended."""
_TERMINATED = 128 + signal.SIGTERM
TERMINATION_LOG = Path("/dev/termination-log")
"""File that says why a pod ended: Kubernetes shows its text, and Argo in the workflow. Absent elsewhere."""
REASON_BYTES = 512
"""Upper limit on that text. Argo keeps it for each try and each call, in an object of 1 MiB at most: 200 pods
that fail four times each take half of it, before Argo compresses them. Most sentences are shorter."""
_CUT = b" ... "
_BEGIN_BYTES = 128
"""Bytes of a longer text that stay before the cut: what is wrong. The remedy ends it, of up to 379 bytes."""


class EndingCommand(click.Command):
    """A command that ends with a sentence and an exit code of failure where the machine fails it.

    So it does where what it prints does not arrive, such as on a full disk.
    """

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 - click's signature
        result: Any = None
        ending: SystemExit | None = None
        try:
            result = super().main(*args, **settings)
        except SystemExit as error:
            ending = error
        except Exception as error:
            failure = failure_of_machine(error)
            if failure is None:
                raise
            ending = _told(failure)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            _drop_output()
            if ending is None or not ending.code:
                what = "cannot write the standard output"
                failure = failure_of_files(what, error) or TransientError(
                    f"{what}: {error.strerror}. Try again."
                )
                ending = _told(failure)
        except ValueError:  # it is closed
            pass
        if ending is not None:
            raise ending
        return result


def _told(failure: UserError | TransientError) -> SystemExit:
    """The end of a program, whose reason has been said as far as it can be."""
    _leave_reason(str(failure))
    with contextlib.suppress(OSError):
        click.echo(f"error: {failure}", err=True)
    return SystemExit(failure.exit_code)


def _leave_reason(reason: str) -> None:
    """Leave the reason of this program's end where Kubernetes looks for it, in a file that only pods have."""
    text = _shortened(" ".join(reason.split()).encode(errors="backslashreplace"))  # names may be no text
    with suppress(OSError):
        file = os.open(
            TERMINATION_LOG, os.O_WRONLY | os.O_TRUNC
        )  # never made: it is a mount, or there is none
        try:
            os.write(file, text)
        finally:
            os.close(file)


def _shortened(text: bytes) -> bytes:
    """A text within the limit, in whole characters: a longer one is cut in its value, not in its remedy."""
    if len(text) <= REASON_BYTES:
        return text
    end_bytes = REASON_BYTES - _BEGIN_BYTES - len(_CUT)
    parts = (text[:_BEGIN_BYTES], text[-end_bytes:])
    return _CUT.join(part.decode(errors="ignore").encode() for part in parts)


def _drop_output() -> None:
    """Say no more: what is left is said once more as Python ends, and would end it with 120."""
    sys.stdout = sys.__stdout__ = None  # type: ignore[misc]


class StepCommand(EndingCommand):
    """A click command that answers a `FibstackError` with its sentence and its exit code.

    In a pod, the reason of any failure is its termination message too.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - click's signature
        # As `fibstack` has it: click keeps the names that a command was first called with.
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **settings)

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().main(*args, **settings)
        except Exception as error:
            _leave_reason(f"a mistake of the program, {type(error).__name__}: {error}. Its log tells where.")
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _errors_as_sentences(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
        )
        _end_when_told()
        with _errors_as_sentences(ctx):
            return super().invoke(ctx)


@contextmanager
def _errors_as_sentences(ctx: click.Context) -> Iterator[None]:
    """End the program with the sentence and the exit code of a `FibstackError`."""
    try:
        yield
    except FibstackError as error:
        _leave_reason(str(error))
        with suppress(OSError):
            click.echo(f"error: {error}", err=True)
        ctx.exit(error.exit_code)
    except click.ClickException as error:
        _leave_reason(error.format_message())
        raise


class SpanType(click.ParamType):  # type: ignore[type-arg]  # generic in new releases alone
    """The type of an option that takes a range of slices, slabs or blocks, such as `0-15`.

    Args:
        refusal: Makes the error of a text that is none, given what is wrong with it.
    """

    name = "span"

    def __init__(self, refusal: Callable[[ValueError], ConfigError]) -> None:
        self._refusal = refusal

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:  # noqa: ANN401, ARG002 - click's signature
        try:
            return Span.parse(value)
        except ValueError as error:
            raise self._refusal(error) from None


@functools.cache  # once for a process
def _end_when_told() -> None:
    """Leave soon after SIGTERM, whatever the program is doing: a spot machine is taken away in seconds.

    The main thread is told first, so that it can clean up. But it may be in native code, or wait for threads
    that are; then the process ends all the same. What it was writing is not there, as after a power cut.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    threading.Thread(target=_end_after_sigterm, args=(reader,), daemon=True).start()


def _end_after_sigterm(signals: int) -> None:
    """End this process and its workers some time after a SIGTERM has come through a pipe."""
    while os.read(signals, 1) != bytes([signal.SIGTERM]):
        pass
    time.sleep(CLEAN_UP_S)
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(_TERMINATED)


def write_parameter(path: str, value: str | Sequence[str]) -> None:
    """Write an output parameter where KFP collects it: text without a final newline, lists as JSON.

    The path is local to the container, chosen by KFP; it is not a data path.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(list(value), separators=(",", ":")))
