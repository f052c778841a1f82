"""A page in headless Chromium, watched through its debugging port: what it asks for, says and shows."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_CHROMIUM = "no browser to draw with; on Debian and Ubuntu: apt-get install chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root has none
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",  # WebGL 2 without a graphics card
    "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0",
)
START_LIMIT_S, ANSWER_LIMIT_S = 30, 60


@dataclass
class WebPage:
    """An open page."""

    _socket: websocket.WebSocket
    requests: list[str] = field(default_factory=list)
    """Addresses that it asked for, besides what the page holds itself."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings on its console, and exceptions."""
    _n_sent: int = 0
    _is_loaded: bool = False

    def open(self, address: str) -> None:
        """Go to an address and wait until everything has loaded."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")
        self._is_loaded = False
        self.ask("Page.navigate", url=address)
        while not self._is_loaded:
            self._receive()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the debugging protocol."""
        self._n_sent += 1
        self._socket.send(json.dumps({"id": self._n_sent, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == self._n_sent:
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, script: str) -> Any:
        """The value of an expression."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def prefer(self, scheme: str) -> None:
        """Show it to somebody who prefers `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", media="", features=[feature])

    def picture(self, path: Path) -> None:
        """A picture of the whole page."""
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print_to(self, path: Path) -> None:
        """The page as it is printed, a PDF."""
        path.write_bytes(base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"]))

    def _receive(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv())
        match message.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Network.requestWillBeSent":
                address = message["params"]["request"]["url"]
                self.requests += [address] * (not address.startswith("data:"))
            case "Log.entryAdded":
                self._complain(message["params"]["entry"])
            case "Runtime.consoleAPICalled" if message["params"]["type"] in ("error", "warning"):
                self._complain(message["params"])
            case "Runtime.exceptionThrown":
                self._complain(message["params"])
        return message

    def _complain(self, entry: dict[str, Any]) -> None:
        self.complaints.append(json.dumps(entry))


@contextlib.contextmanager
def web_page(address: str) -> Iterator[WebPage]:
    """A browser with a profile of its own that shows an address; ended with all its children."""
    assert CHROMIUM
    profile = Path(tempfile.mkdtemp(prefix="fibstack-page-"))
    browser = subprocess.Popen(
        [CHROMIUM, *FLAGS, "--window-size=1280,900", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        connected = websocket.create_connection(
            _debugging_address(profile), timeout=ANSWER_LIMIT_S, suppress_origin=True
        )
        with contextlib.closing(connected):
            page = WebPage(connected)
            page.open(address)
            yield page
            with contextlib.suppress(websocket.WebSocketException, OSError):
                page.ask("Browser.close")
    finally:
        browser.terminate()
        browser.wait(30)
        shutil.rmtree(profile, ignore_errors=True)


def _debugging_address(profile: Path) -> str:
    """The address of the first page's debugger: the browser writes its port to a file."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, StopIteration, ValueError, IndexError):
            port = int((profile / "DevToolsActivePort").read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                pages = json.load(answer)
            return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        time.sleep(0.05)
    raise TimeoutError(f"the browser must listen within {START_LIMIT_S} s")
