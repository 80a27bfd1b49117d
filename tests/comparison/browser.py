"""A headless Chromium, driven over the pipe of its DevTools protocol: no package and no port is needed.

Commands go to the browser's file descriptor 3 and come back on 4, as JSON that ends with a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage"),
)
_ON_3_AND_4 = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execvp(sys.argv[3], sys.argv[3:])"


def find_browser() -> str | None:
    """The path of a Chromium or Chrome, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """The newest page of a browser. ``requests`` are the addresses it asked for, ``errors`` what went wrong inside."""

    def __init__(self, to: int, back: int, seconds: float) -> None:
        self._to, self._back, self._seconds = to, back, seconds
        self._number, self._unread = 0, b""
        self._session: str | None = None
        self._look: dict[str, Any] = {}
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._new_page()

    def _new_page(self) -> None:
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.look(**self._look)
        self.requests.clear()
        self.errors.clear()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        """The next message; those that nobody asked for are noted."""
        end = time.monotonic() + self._seconds
        while b"\0" not in self._unread:
            if not select.select([self._back], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {self._seconds} s")
            piece = os.read(self._back, 1 << 20)
            if not piece:
                raise RuntimeError("the browser ended")
            self._unread += piece
        text, self._unread = self._unread.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, params: Mapping[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            self.requests += [address] * (not address.startswith(("data:", "blob:")))  # those are in the page itself
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def look(self, width: int = 1280, height: int = 800, *, dark: bool = False, phone: bool = False) -> None:
        """The size of the window, and the colours the user prefers; of pages that are opened later too."""
        self._look = {"width": width, "height": height, "dark": dark, "phone": phone}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def open(self, address: str, until: str = "document.readyState === 'complete'") -> float:
        """``address`` in a new page. Waits until an expression is true; returns the seconds since the navigation began."""
        self._new_page()
        start = time.monotonic()
        self.call("Page.navigate", url=address)
        self.wait(until)
        return time.monotonic() - start

    def wait(self, until: str) -> None:
        """Until an expression is true; ``TimeoutError`` if it never is."""
        end = time.monotonic() + self._seconds
        while not self.run(f"!!({until})"):
            if time.monotonic() > end:
                raise TimeoutError(f"not true within {self._seconds} s: {until}; errors: {self.errors}")
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """The left button, pressed and released at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        options: dict[str, Any] = {"captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))


@contextmanager
def browser(seconds: float = 60.0, flags: tuple[str, ...] = ()) -> Iterator[Browser]:
    """A browser with an empty profile, which ends with the block. No answer may take longer than ``seconds``."""
    name = find_browser()
    assert name is not None, "ask find_browser() first"
    from_us, to_us = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [name, *FLAGS, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_3_AND_4, str(from_us[0]), str(to_us[1]), *command],
            pass_fds=(from_us[0], to_us[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us[0])
        os.close(to_us[1])
        try:
            yield Browser(from_us[1], to_us[0], seconds)
        finally:
            os.close(from_us[1])
            os.close(to_us[0])
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
