"""Firefox, driven by WebDriver BiDi over a WebSocket of our own: Debian has no geckodriver,
and nothing but Python's own library is needed. As far as tests here use a browser the same
as `Browser` of webdriver.py."""
import base64
import itertools
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile

from webdriver import BrowserError, Waiting

SAYS = "WebDriver BiDi listening on ws://"
PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False, "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.auto": False, "app.normandy.enabled": False, "network.captive-portal-service.enabled":
    False, "network.connectivity-service.enabled": False, "browser.aboutwelcome.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False, "media.autoplay.default": 0,
    "services.settings.server": "data:,", "browser.safebrowsing.update.enabled": False,
    "media.gmp-manager.updateEnabled": False, "extensions.getAddons.cache.enabled": False,
}


class WebSocket:
    """RFC 6455, a client's half: text messages, whole."""

    def __init__(self, host, port, path):
        self.socket = socket.create_connection((host, port), 30)
        self.socket.settimeout(180)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             f"Sec-WebSocket-Key: {key}\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise BrowserError(head.decode(errors="replace"))

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise BrowserError("the browser has hung up")
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, data, kind=1):
        size, mask = len(data), os.urandom(4)
        head = bytes([0x80 | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        pad = (mask * (size // 4 + 1))[:size]
        mixed = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
        self.socket.sendall(head + mask + mixed)

    def receive(self):
        whole = b""
        while True:
            first, size = self.take(2)
            if size == 126:
                size = struct.unpack(">H", self.take(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.take(8))[0]
            data = self.take(size)
            kind = first & 15
            if kind == 9:
                self.send(data, 10)
            elif kind == 8:
                raise BrowserError("the browser ends the conversation")
            elif kind in (0, 1):
                whole += data
                if first & 0x80:
                    return whole.decode()


class Firefox(Waiting):
    """One window. `with Firefox() as b: b.go(url); b.run("return 1")`."""

    def __init__(self):
        program = shutil.which("firefox-esr") or shutil.which("firefox")
        if not program:
            raise BrowserError("Firefox is missing: scripts/bootstrap apt-packages-full.txt")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-firefox-"))
        (self.folder / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in PREFERENCES.items()))
        self.process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile",
             str(self.folder), "--width", "1280", "--height", "1000"], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, env=dict(os.environ, HOME=str(self.folder)))
        self.numbers = itertools.count(1)
        address = next((line.split(SAYS)[1].strip() for line in self.process.stderr if SAYS in line),
                       None)
        if not address:
            raise BrowserError("Firefox did not start")
        host, port = address.split("/")[0].rsplit(":", 1)
        self.wire = WebSocket(host, int(port), "/session")
        self.complaints = []
        self.call("session.new", {"capabilities": {}})
        self.call("session.subscribe", {"events": ["log.entryAdded"]})
        self.window = self.call("browsingContext.getTree", {})["contexts"][0]["context"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("browser.close", {})
            self.process.wait(20)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            pass
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.wire.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, params):
        number = next(self.numbers)
        self.wire.send(json.dumps({"id": number, "method": method, "params": params}).encode())
        while True:
            answer = json.loads(self.wire.receive())
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.complaints.append(answer["params"]["text"])
            if answer.get("id") != number:
                continue  # an event
            if answer["type"] != "success":
                raise BrowserError(f"{answer['error']}: {answer['message']}")
            return answer["result"]

    def go(self, url):
        self.call("browsingContext.navigate", {"context": self.window, "url": url,
                                               "wait": "complete"})

    def run(self, script, *args):
        """A script's value; it may await."""
        whole = (f"(async function() {{ {script} }}).apply(null, {json.dumps(args)})"
                 ".then((v) => JSON.stringify({v}))")
        done = self.call("script.evaluate", {"expression": whole, "awaitPromise": True,
                                             "target": {"context": self.window},
                                             "userActivation": True})
        if done["type"] != "success":
            raise BrowserError(done["exceptionDetails"]["text"])
        return json.loads(done["result"]["value"]).get("v")

    def act(self, kind, actions, **more):
        self.call("input.performActions", {"context": self.window, "actions": [
            {"type": kind, "id": kind, "actions": actions, **more}]})

    def keys(self, text):
        self.act("key", [{"type": part, "value": key} for key in text
                         for part in ("keyDown", "keyUp")])

    def type(self, css, text):
        self.run("document.querySelector(arguments[0]).focus();", css)
        self.keys(text)

    def click(self, css):
        at = self.run("const e = document.querySelector(arguments[0]); e.scrollIntoView({block: "
                      "'center', behavior: 'instant'}); const r = e.getBoundingClientRect();"
                      "return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)];", css)
        self.act("pointer", [{"type": "pointerMove", "x": at[0], "y": at[1]},
                             {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}],
                 parameters={"pointerType": "mouse"})

    def log(self):
        """What scripts and the browser complained of since it was last asked."""
        self.run("")
        said, self.complaints = self.complaints, []
        return said

    def picture(self, path):
        shot = self.call("browsingContext.captureScreenshot", {"context": self.window})
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))
