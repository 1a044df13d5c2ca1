"""A browser, driven by the W3C WebDriver protocol: Debian's Chromium through its
chromedriver, with nothing but Python's own library."""
import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class BrowserError(Exception):
    pass


class Waiting:
    """What is the same for every browser that has run() and log()."""

    def wait(self, script, seconds=60, *args):
        """Until the expression is true; its value."""
        limit = time.monotonic() + seconds
        while True:
            value = self.run(f"return ({script});", *args)
            # What an element comes back as differs: from Firefox as nothing that is true.
            if isinstance(value, dict):
                raise BrowserError(f"an element or object is no answer, compare it with null: {script}")
            if value:
                return value
            if time.monotonic() > limit:
                raise BrowserError(f"not within {seconds} s: {script}; {self.log()[-5:]}")
            time.sleep(0.1)

    def log(self):
        """What it said by itself; not every browser tells."""
        return []


class Browser(Waiting):
    """One window. `with Browser() as b: b.go(url); b.run("return 1")`. With `requests` it
    remembers what it asked for."""

    def __init__(self, dark=False, requests=False):
        if not shutil.which("chromedriver"):
            raise BrowserError("chromedriver is missing: scripts/bootstrap apt-packages-test.txt")
        self.folder = tempfile.mkdtemp(prefix="culvert-browser-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                port = int(line.rstrip(". \n").split()[-1])
                self.base = f"http://127.0.0.1:{port}"
                break
        else:
            raise BrowserError("chromedriver did not start")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update",
                     "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
                     "--autoplay-policy=no-user-gesture-required", "--window-size=1280,1000",
                     "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                     "--lang=en", f"--user-data-dir={self.folder}"]
        if dark:
            arguments.append("--force-dark-mode")
        wanted = {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL", **({"performance": "ALL"} if requests else {})},
            "goog:chromeOptions": {"args": arguments, "prefs": {"intl.accept_languages": "en"}},
            "timeouts": {"script": 120000}}}}
        self.session = ""
        self.session = "/session/" + self.begun(wanted)["sessionId"]

    def begun(self, wanted):
        """A session. Chromium that does not come up is not our fault: that is said, and tried again."""
        for left in (2, 1, 0):
            try:
                return self.call("POST", "/session", wanted)
            except (BrowserError, OSError) as error:
                if not left:
                    self.end()
                    raise
                print(f"the browser did not start, once more: {error}", file=sys.stderr, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("DELETE", "")
        except (BrowserError, OSError):
            pass
        self.end()

    def end(self):
        self.driver.kill()
        self.driver.wait()
        self.driver.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, path, body=None):
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + self.session + path, data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=180) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise BrowserError(f"{value['error']}: {value['message']}") from None

    def go(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *args):
        """A script's value; it may await."""
        whole = ("const done = arguments[arguments.length - 1];"
                 f"(async function() {{ {script} }}).apply(null, arguments)"
                 ".then((v) => done({v}), (e) => done({e: String(e)}));")
        value = self.call("POST", "/execute/async", {"script": whole, "args": list(args)})
        if "e" in value:
            raise BrowserError(value["e"])
        return value.get("v")

    def keys(self, text):
        actions = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def find(self, css):
        return self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.call("POST", f"/element/{self.find(css)}/click")

    def type(self, css, text):
        self.call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def log(self):
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})
                if entry["level"] == "SEVERE"]

    def requests(self):
        """What it asked for since it was last asked, whether or not anybody answered."""
        told = (json.loads(entry["message"])["message"]
                for entry in self.call("POST", "/se/log", {"type": "performance"}))
        return [message["params"]["request"]["url"] for message in told
                if message["method"] == "Network.requestWillBeSent"]

    def devtools(self, command, **parameters):
        """What WebDriver has no word for."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.call("GET", "/screenshot")))
