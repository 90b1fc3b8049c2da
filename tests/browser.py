"""A headless Chromium for tests of pages, driven over the DevTools protocol through a pipe; nothing is installed.

    with Browser() as browser:
        browser.open("file:///tmp/page.html")
        assert browser.evaluate("document.title") == "Walk"
        assert browser.problems == [] and browser.requests == ["file:///tmp/page.html"]

The protocol: https://chromedevtools.github.io/devtools-protocol. Messages are JSON, each ends with a NUL byte.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new --no-sandbox --disable-dev-shm-usage --hide-scrollbars --mute-audio --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions"
).split()
SOFTWARE_GL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NO_GL = ["--disable-gpu", "--disable-software-rasterizer", "--disable-3d-apis"]

# Chromium reads its pipe from file descriptor 3 and writes to 4; Popen cannot name descriptors
_TO_3_AND_4 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """The program: that of the environment variable CHROMIUM, else the first of `NAMES` on the path, else None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class BrowserError(Exception):
    """The page or the browser did not do what it was told."""


class Browser:
    """One browser with one tab. Everything it was asked for and complained about is kept until the next `open`.

    Attributes: `requests`, the URLs that the page asked for; `console`, lines (level, text) of the console and of the
    browser itself; `errors`, exceptions that nothing caught.
    """

    def __init__(self, *, webgl: bool = True, size: tuple[int, int] = (960, 720), wait: float = 120.0):
        self.wait = wait  # seconds for any answer: a busy machine is slow, but does not hang
        self.requests, self.console, self.errors = [], [], []
        self._count, self._buffer, self._session = 0, b"", None
        self._start([*FLAGS, *(SOFTWARE_GL if webgl else NO_GL), f"--window-size={size[0]},{size[1]}"])
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            self.resize(*size)
        except BrowserError:
            self.close()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def problems(self) -> list[str]:
        """Errors and warnings of the page, without those of the computer's graphics."""
        complaints = [text for level, text in self.console if level in ("error", "warning", "assert")]
        return self.errors + [text for text in complaints if "GPU stall due to ReadPixels" not in text]

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.requests, self.console, self.errors = [], [], []
        self._loaded = False
        failure = self.call("Page.navigate", url=url).get("errorText")
        if failure:
            raise BrowserError(f"{url}: {failure}")
        self._until(lambda: self._loaded, f"{url} to load")

    def evaluate(self, script: str):
        """The value of a JavaScript expression, of a promise once it is kept, as Python knows it from JSON."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(_what_was_thrown(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        self._until(lambda: self.evaluate(f"Boolean({condition})"), condition, pause=0.05)

    def press(self, key: str, shift: bool = False) -> None:
        """Press and let go of a key, by its DOM name: "a", " ", "ArrowLeft", "Tab"."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {" ": 32, "ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}
        common = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector: str) -> None:
        """Click with the mouse on the middle of the first element of a CSS selector."""
        box = self.evaluate(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        self.drag(box, box)

    def drag(self, start: list[float], end: list[float]) -> None:
        """Press the mouse at a point of the window, move to another, and let go."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, **features: str) -> None:
        """What the reader's system asks for, such as prefers_color_scheme="dark"."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=wanted)

    def screenshot(self, path: Path | str | None = None) -> bytes:
        """A PNG of what is seen, also written to `path`."""
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path:
            Path(path).write_bytes(png)
        return png

    def call(self, method: str, **params) -> dict:
        """Send one command of the protocol and wait for its answer; events that come before it are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answers = []
        self._until(lambda: answers, method, lambda event: answers.append(event) if event.get("id") else None)
        if "error" in answers[0]:
            raise BrowserError(f"{method}: {answers[0]['error']['message']}")
        return answers[0]["result"]

    def close(self) -> None:
        """End the browser, and delete its profile."""
        with contextlib.suppress(BrowserError, OSError, subprocess.TimeoutExpired):
            self._session = None
            self.call("Browser.close")
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the group is the browser's own: see `_start`
        self._process.wait()
        for fd in (self._to, self._from):
            os.close(fd)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _start(self, flags: list[str]) -> None:
        program = find_chromium()
        if program is None:
            raise BrowserError(f"no Chromium: none of {', '.join(NAMES)} is on the path; set CHROMIUM to its place")
        self._profile = tempfile.mkdtemp(prefix="browser-")
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        while answers <= 4:  # `dup2` to 3 must not overwrite it
            answers = os.dup(answers)
        command = [sys.executable, "-ISc", _TO_3_AND_4, str(commands), str(answers), shutil.which(program) or program]
        command += [*flags, f"--user-data-dir={self._profile}", "--remote-debugging-pipe", "about:blank"]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=(commands, answers), stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        os.close(commands)
        os.close(answers)

    def _until(self, done, what: str, take=None, pause: float | None = None) -> None:
        """Read messages until `done()`; BrowserError after `wait` seconds."""
        end = time.monotonic() + self.wait
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise BrowserError(f"waited {self.wait:.0f} s for {what}")
            for event in self._read(left if pause is None else pause):
                self._note(event)
                if take:
                    take(event)

    def _read(self, seconds: float) -> list[dict]:
        if not select.select([self._from], [], [], seconds)[0]:
            return []
        chunk = os.read(self._from, 1 << 20)
        if not chunk:
            raise BrowserError(f"the browser has ended (exit status {self._process.poll()})")
        *messages, self._buffer = (self._buffer + chunk).split(b"\0")
        return [json.loads(message) for message in messages]

    def _note(self, event: dict) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            words = [str(arg.get("value", arg.get("description", ""))) for arg in params["args"]]
            self.console.append((params["type"], " ".join(words)))
        elif method == "Runtime.exceptionThrown":
            self.errors.append(_what_was_thrown(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append((params["entry"]["level"], params["entry"]["text"]))


def _what_was_thrown(details: dict) -> str:
    what = details.get("exception", {}).get("description") or details["text"]
    return f"{what} (line {details['lineNumber'] + 1}, column {details['columnNumber'] + 1})"
