"""A browser without a window, by the Chrome DevTools Protocol: visit, click, wait for a text, take a picture."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

from websockets.sync.client import connect

OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
]  # fmt: skip
WIDTH = 1400
PATIENCE = 120.0
# Pages fetch after they are drawn: once this long nothing on one has changed, it is ready.
STILL = 1.5
_TEXT = "document.body && [...document.images].every(image => image.complete) ? document.body.innerText : ''"


class Browser:
    """Chromium with one page.

    Args:
        profile: a folder for what it keeps.

    Raises:
        FileNotFoundError: there is no Chromium here.
    """

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            raise FileNotFoundError("chromium is not installed: apt-get install chromium")
        self._process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        where = profile / "DevToolsActivePort"
        while not (where.exists() and len(where.read_text().splitlines()) == 2):
            if time.monotonic() > deadline:
                raise TimeoutError("chromium does not start")
            time.sleep(0.1)
        port = where.read_text().splitlines()[0]
        with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")) as answer:
            page = json.load(answer)
        self._page = connect(page["webSocketDebuggerUrl"], max_size=None)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._page.close()
        self._process.terminate()
        self._process.wait(30)

    def visit(self, url: str, text: str) -> None:
        """Go to a page, and wait until it shows a text and has come to rest."""
        self._size(900)
        self._do("Page.navigate", url=url)
        self.wait_for(text)

    def wait_for(self, text: str) -> None:
        """Wait until the page shows a text, and has come to rest."""
        deadline, before, since = time.monotonic() + PATIENCE, "", time.monotonic()
        while True:
            # Pictures in the page are drawn late, too.
            now = str(self._ask(_TEXT))
            if now != before:
                before, since = now, time.monotonic()
            elif text in now and time.monotonic() - since > STILL:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page does not show {text!r}, but: {before[:2000]}")
            time.sleep(0.2)

    def click(self, words: str) -> None:
        """Click the first button, or item of an open menu, with these words on it."""
        found = self._ask(
            "(words => { const all = [...document.querySelectorAll('button, [role=menuitem]')];"
            " const one = all.find(e => e.innerText.trim() === words); if (!one) return false;"
            # Some answer to the press of a mouse only.
            " for (const kind of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'])"
            "  one.dispatchEvent(new MouseEvent(kind, {bubbles: true, button: 0}));"
            f" return true; }})({json.dumps(words)})"
        )
        if not found:
            raise LookupError(f"there is nothing to click with the words {words!r}")

    def shoot(self, file: Path, *, height: int = 0, scale: float = 1.0) -> None:
        """Take a picture of all of the page, or so much of it from its top; pixels of the page times scale."""
        full = int(self._ask("Math.max(...[...document.querySelectorAll('*')].map(e => e.scrollHeight))"))
        self._size(height or min(max(full, 400), 4_000), scale)
        time.sleep(1)  # what depends on the size is drawn anew
        picture = self._do("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        file.write_bytes(base64.b64decode(picture["data"]))
        print(file, flush=True)

    def _size(self, height: int, scale: float = 1.0) -> None:
        size = {"width": WIDTH, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)

    def _ask(self, script: str) -> Any:
        answer = self._do("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._page.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._page.recv(timeout=PATIENCE))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
