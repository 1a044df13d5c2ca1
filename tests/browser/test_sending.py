#!/usr/bin/python3
"""What a person gives away through the page: films dropped on it, and its camera, in a
real browser and with real programs; others in the village fetch and watch them.

    test_sending.py CULVERT CULVERT-DHT PACKAGES PICTURES
"""
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import programs  # noqa: E402
from village import Village  # noqa: E402
from webdriver import Browser  # noqa: E402

SCRIPTS = pathlib.Path(__file__).parent.parent.parent / "scripts"
WCAG = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"


class Sending(programs.Case):
    def setUp(self):
        super().setUp()
        self.village = Village(self, DHT)
        self.node = self.village.start("node", "node")
        self.node.wait_for("page")
        self.page = self.page_of(self.folder / "node")
        self.node.wait_for("client_ready", 120)
        self.axe = (PACKAGES / "axe-core" / "axe.min.js").read_text()

    def accessible(self, browser, what):
        found = browser.run(self.axe + f"; const r = await axe.run({{runOnly: {WCAG}}});"
                            "return r.violations.map((v) => v.id + ': ' + v.nodes[0].html);")
        self.assertEqual(found, [], what)

    def test_files_and_the_camera(self):
        with Browser() as browser:
            browser.go(self.page)
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            browser.run("location.hash = '#share';")
            browser.wait("!document.getElementById('drop').hidden")
            self.files(browser)
            self.a_path(browser)
            self.camera(browser)
            self.links(browser)
            self.assertEqual(browser.log(), [])

    def files(self, browser):
        film = self.film(700_000, "holiday.bin")
        browser.type("#chosen", str(film))
        browser.run("const files = new DataTransfer();"
                    "files.items.add(new File(['seen by all'], 'note <b>.txt'));"
                    "document.dispatchEvent(new DragEvent('dragover', {dataTransfer: files,"
                    " bubbles: true, cancelable: true}));"
                    "document.dispatchEvent(new DragEvent('drop', {dataTransfer: files,"
                    " bubbles: true, cancelable: true}));")
        names = ("[...document.querySelectorAll('#swarms li')].filter((e) => !e.querySelector("
                 "'.gone').hidden).map((e) => e.querySelector('strong').textContent).sort()")
        browser.wait(f"{names}.join() === 'holiday.bin,note <b>.txt'", 120)
        browser.wait("document.querySelectorAll('#drops li').length === 0")
        self.accessible(browser, "files")
        browser.picture(PICTURES / "files.png")
        # Somebody else gets it.
        uri = browser.run("return [...document.querySelectorAll('#swarms li')].length && "
                          "(await (await fetch('/api/drops', {headers: {Authorization: 'Bearer ' + "
                          "sessionStorage.getItem('token')}})).json()).find((d) => d.name === "
                          "'holiday.bin').uri;")
        copy = self.folder / "copy"
        self.village.start("get", "viewer", "-o", copy, uri).wait_for("complete", 120)
        self.assertEqual(copy.read_bytes(), film.read_bytes())
        browser.run("[...document.querySelectorAll('#swarms li')].find((e) => "
                    "e.textContent.includes('note')).querySelector('.gone').click();")
        browser.wait(f"{names}.join() === 'holiday.bin'")
        dropped = self.folder / "node" / "dropped"
        self.assertEqual([os.listdir(dropped / d) for d in os.listdir(dropped)], [["holiday.bin"]])

    def a_path(self, browser):
        """A file that was named, not copied: it is seen while it is made ready, can be stopped,
        and what was stopped leaves its place to others."""
        browser.type("#file", "one.bin\ue007")
        browser.wait("document.getElementById('trouble').textContent.includes('whole path')")
        for name in ("one.bin", "two.bin", "three.bin", "four.bin"):
            film = self.film(300_000, name)
            browser.run("window.ready = []; new MutationObserver(() => window.ready.push("
                        "document.getElementById('drops').innerText)).observe("
                        "document.getElementById('drops'), {subtree: true, childList: true});"
                        "document.getElementById('file').value = '';")
            browser.type("#file", f"{film}\ue007")
            end = f"#swarms button.end[aria-label='Stop: {name}']"
            browser.wait("document.querySelector(arguments[0])?.hidden === false", 120, end)
            self.assertIn(str(film), browser.run("return window.ready[0];"))
            browser.wait("document.querySelectorAll('#drops li').length === 0")
            self.accessible(browser, "a path")
            self.assertTrue(browser.run("return document.getElementById('trouble').hidden;"))
            browser.run("document.querySelector(arguments[0]).focus();", end)
            browser.keys("\ue007")
            browser.wait("document.querySelector(arguments[0]) === null", 60, end)
        self.assertEqual(browser.run("return [...document.querySelectorAll('#swarms strong')]"
                                     ".map((e) => e.textContent);"), ["holiday.bin"])

    def camera(self, browser):
        self.assertTrue(browser.run("return document.getElementById('camera_start').disabled;"))
        live = self.start("live", "--state", self.folder / "node", "--network", "village", "--json",
                          "camera:")
        uri = live.wait_for("live", 120)["uri"]
        out = self.folder / "seen.ts"
        watcher = self.village.start("get", "watcher", "-o", out, uri)
        browser.wait("!document.getElementById('camera_start').disabled")
        browser.run("document.getElementById('camera_start').focus();")
        browser.keys("\ue007")
        browser.wait("!document.getElementById('camera_stop').hidden")
        watcher.wait_for("tuned", 120)
        self.frames(out, 60)
        self.accessible(browser, "camera")
        browser.picture(PICTURES / "camera.png")
        # The command is killed and comes back: the page begins another recording by itself.
        live.end()
        browser.wait("!document.getElementById('trouble').hidden")
        again = self.start("live", "--state", self.folder / "node", "--network", "village",
                           "--json", "camera:")
        self.assertEqual(again.wait_for("live", 120)["uri"], uri)  # a channel keeps its link
        browser.wait("(await (await fetch('/api/status', {headers: {Authorization: 'Bearer ' + "
                     "sessionStorage.getItem('token')}})).json()).camera === 'records'", 120)
        browser.click("#camera_stop")
        browser.wait("document.getElementById('camera_stop').hidden")
        again.end()
        # What the browser says of answers that are no answers is expected here.
        self.assertTrue(all("/api/camera" in line for line in browser.log()))

    def frames(self, path, count):
        """So many pictures come out of what was received."""
        limit = time.monotonic() + programs.SECONDS
        while True:
            done = subprocess.run(
                ["ffprobe", "-v", "quiet", "-count_packets", "-select_streams", "v",
                 "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(path)],
                capture_output=True, text=True, check=False).stdout
            if int(re.match(r"\d*", done).group() or 0) >= count:
                return
            self.assertLess(time.monotonic(), limit, done)
            time.sleep(0.3)

    def links(self, browser):
        """A link that another page opened fills the field in, and plays nothing."""
        browser.run("location.hash = '#watch=' + encodeURIComponent('web+culvert:?x=somebody');")
        browser.wait("document.getElementById('link').value === 'culvert:?x=somebody'")
        self.assertEqual(browser.run("return document.activeElement.id;"), "link")
        self.assertTrue(browser.run("return document.getElementById('stage').hidden;"))
        # A tab that a link opened has no token of its own, and gets ours.
        browser.run("window.open('/#watch=' + encodeURIComponent('culvert:?x=other'));")
        handles = browser.call("GET", "/window/handles")
        browser.call("POST", "/window", {"handle": handles[-1]})
        browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
        browser.wait("document.getElementById('link').value === 'culvert:?x=other'")
        self.assertNotIn("t=", browser.run("return location.href;"))
        browser.call("DELETE", "/window")
        browser.call("POST", "/window", {"handle": handles[0]})


if __name__ == "__main__":
    sys.argv, rest = sys.argv[:2] + sys.argv[5:], sys.argv[2:5]
    DHT, PACKAGES, PICTURES = rest[0], pathlib.Path(rest[1]), pathlib.Path(rest[2])
    PICTURES.mkdir(exist_ok=True)
    done = subprocess.run([str(SCRIPTS / "npm-package"),
                           str(pathlib.Path(__file__).parent / "packages.lock"), str(PACKAGES)],
                          check=False)
    if done.returncode:
        sys.exit("the browser test's packages could not be fetched")
    programs.main()
