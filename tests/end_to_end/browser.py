"""Headless Chromium, driven over the DevTools protocol: as much of it as a test of a page needs.

Protocol: https://chromedevtools.github.io/devtools-protocol/ (JSON over a WebSocket; Page, Runtime, Log, Network,
Emulation and Input domains).
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from websocket import create_connection

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_LIMIT_S = 60.0
_NAVIGATED = re.compile("navigated|context was destroyed|Cannot find .*context")
"""What Chromium answers to a question that the next page can no longer be asked for the last one."""
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""For the loopback, where the caller's proxy has no business."""


def find_browser() -> str | None:
    """Path of the Chromium of this machine; CHROMIUM names another. None where there is none."""
    return shutil.which(os.environ.get("CHROMIUM", "")) or next(filter(None, map(shutil.which, NAMES)), None)


class NavigatedError(Exception):
    """The page went to another address while it was asked."""


class Page:
    """One tab of a browser of its own."""

    def __init__(self, browser: str, folder: Path) -> None:
        """`folder` keeps the browser's profile and output."""
        log = folder / "chromium.txt"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    browser,
                    "--headless=new",
                    "--remote-debugging-port=0",
                    f"--user-data-dir={folder / 'chromium'}",
                    "--no-first-run",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--window-size=1500,1000",
                    # Chromium's own sandbox does not work for root, who CI usually is; only our pages are opened.
                    *(["--no-sandbox"] if os.getuid() == 0 else []),
                    "about:blank",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._ids = count(1)
        self._events: list[tuple[str, dict[str, Any]]] = []
        try:
            self._socket = create_connection(
                self._address(log), suppress_origin=True, http_no_proxy=["127.0.0.1"], timeout=60
            )
        except BaseException:
            self._process.kill()
            raise

    def _address(self, log: Path) -> str:
        """The WebSocket of the one tab."""
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            if listening := re.search(r"DevTools listening on ws://([^/]+)/", log.read_text(errors="replace")):
                with NO_PROXY.open(f"http://{listening[1]}/json/list") as answer:
                    pages = [target for target in json.load(answer) if target["type"] == "page"]
                if pages:
                    return str(pages[0]["webSocketDebuggerUrl"])
            time.sleep(0.05)
        raise AssertionError(f"Chromium did not start:\n{log.read_text(errors='replace')}")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers. Raises NavigatedError."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv())).get("id") != number:
            if "method" in message:
                self._events.append((message["method"], message["params"]))
        if _NAVIGATED.search(message.get("error", {}).get("message", "")):
            raise NavigatedError(message["error"]["message"])
        assert "error" not in message, message
        return dict(message["result"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def watch(self) -> None:
        """From now on remember what the page says on its console, throws and asks the network for."""
        for domain in ("Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def complaints(self) -> list[str]:
        """Console messages, uncaught exceptions and the browser's own entries since `watch`."""
        texts = {
            "Runtime.consoleAPICalled": lambda event: " ".join(str(one.get("value")) for one in event["args"]),
            "Runtime.exceptionThrown": lambda event: str(event["exceptionDetails"]),
            "Log.entryAdded": lambda event: f"{event['entry']['text']} {event['entry'].get('url', '')}",
        }
        return [texts[method](event) for method, event in self._events if method in texts]

    def requested(self) -> list[str]:
        """URLs that the page asked for since `watch`."""
        return [event["request"]["url"] for method, event in self._events if method == "Network.requestWillBeSent"]

    def show(self, width: int, scheme: str) -> None:
        """The page in a window of that width, in the `light` or `dark` scheme."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str, limit_s: float = 60.0) -> Any:
        """The value of the expression as soon as it is true."""
        end = time.monotonic() + limit_s
        while True:
            with suppress(NavigatedError):
                if value := self.evaluate(expression):
                    return value
            assert time.monotonic() < end, f"{expression} did not come true; the page:\n{self.text()}"
            time.sleep(0.05)

    def click(self, selector: str, text: str = "") -> None:
        """Click the first element of that CSS selector that has the text, once there is one."""
        element = f"""[...document.querySelectorAll({json.dumps(selector)})]
            .find((one) => one.textContent.includes({json.dumps(text)}))"""
        self.wait_for(f"!!({element})")
        self.evaluate(f"({element}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Replace what stands in an input field, as somebody who types does."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.wait_for(f"!!{element}")
        self.evaluate(f"{element}.focus(), {element}.select()")
        self.call("Input.insertText", text=text)

    def text(self) -> str:
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
