"""Headless Chromium that draws a volume with neuroglancer, as somebody who looks at it would see it."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from commands.view.main import serve
from tests.web_page import CHROMIUM, FLAGS

SIDE_PX = 256
"""Width and height of the pictures."""
LIMIT_S = 40.0
"""For one picture; it takes 1 to 4 s."""


@dataclass(frozen=True)
class View:
    """A look along z at a level: `SIDE_PX` voxels of it a side, one pixel each."""

    layer: str
    level: int
    first_xy: tuple[int, int]
    """Voxel of the level in the picture's upper left corner."""
    z: int
    """Plane of the level."""


@dataclass
class Browser:
    """A browser that shows the volumes of a run's output folder through `fibstack view`."""

    output: Path
    _viewer: Any = None
    _opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def draw(self, view: View) -> np.ndarray:
        """The pixels of a view, `[y, x]`; a browser that hangs is started anew, once.

        Raises:
            TimeoutError: nothing came within the limit, twice.
        """
        try:
            return self._draw(view)
        except TimeoutError:
            self.close()
            return self._draw(view)

    def close(self) -> None:
        """End the browser."""
        self._opened.close()
        self._viewer = None

    def _draw(self, view: View) -> np.ndarray:
        if self._viewer is None:
            self._viewer = serve(str(self.output))
            self._opened.enter_context(chromium(self._viewer.get_viewer_url()))
        with self._viewer.txn() as state:
            _look(state, view)
        # The screenshot is answered when everything in sight is drawn, and never if that does not happen.
        answer: Future = Future()
        Thread(target=lambda: answer.set_result(self._viewer.screenshot([SIDE_PX] * 2)), daemon=True).start()
        rgba = answer.result(LIMIT_S).screenshot.image_pixels
        assert (rgba[..., :3] == rgba[..., :1]).all(), "the picture must be grey"
        return rgba[..., 0]


def _look(state: Any, view: View) -> None:
    scale = 2**view.level
    state.layout = "xy"
    state.cross_section_scale = scale
    x, y = (first + SIDE_PX / 2 for first in view.first_xy)
    state.position = [x * scale, y * scale, (view.z + 0.5) * scale]
    state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
    for layer in state.layers:
        layer.visible = layer.name == view.layer


@contextlib.contextmanager
def chromium(address: str) -> Iterator[None]:
    """Chromium on a page, with a profile of its own, ended with all its children."""
    assert CHROMIUM
    profile = tempfile.mkdtemp(prefix="fibstack-chromium-")
    command = [CHROMIUM, *FLAGS, "--window-size=512,512", f"--user-data-dir={profile}", address]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)
