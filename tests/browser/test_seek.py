#!/usr/bin/python3
"""A hidden film is looked at by players that are not ours, in random order: the number
burnt into the picture says whether they show what they were asked for. Parts that are not
there yet are waited for.

    test_seek.py CULVERT CULVERT-DHT PICTURES [firefox]
"""
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import bidi  # noqa: E402
import programs  # noqa: E402
import timecode  # noqa: E402
from village import Village  # noqa: E402
from webdriver import Browser  # noqa: E402

SECONDS, SEEKS, SEED = 40, 20, 7
ENOUGH = 500_000  # octets: play fetches both ends of a film first, 384 KiB
LAST = SECONDS * timecode.RATE - 1
NOBODY = 65534


class Seek(programs.Case):
    def setUp(self):
        super().setUp()
        self.village = Village(self, DHT)
        self.path = self.folder / "film.mp4"
        timecode.film(self.path, SECONDS)
        self.seeder = self.village.start("share", "seeder", "--upload-limit", "300k", self.path)
        self.uri = self.seeder.wait_for("shared", 120)["uri"]
        self.dice = random.Random(SEED)

    def test_everybody(self):
        with (bidi.Firefox if FIREFOX else Browser)() as browser:
            self.a_hole_that_fills_late(browser)
            self.seeks(browser)
            browser.picture(PICTURES / f"seek{'-firefox' * FIREFOX}.png")
        self.viewer.wait_for("complete")
        if not FIREFOX:
            self.ffmpeg()
            self.mpv()
            self.vlc()

    def begin(self):
        """Both ends are there, and little else; the seeder stands still then."""
        self.viewer = self.village.start("play", "viewer", "--no-player", self.uri)
        self.link = self.viewer.wait_for("link", 120)["url"]
        ticks = 0
        while self.have() < ENOUGH:
            ticks += 1
            self.viewer.wait_for("progress", 120, ticks)
        self.seeder.process.send_signal(signal.SIGSTOP)

    def have(self):
        said = [event["have"] for event in self.viewer.events if event["event"] == "progress"]
        return said[-1] if said else 0

    def open(self, browser):
        """The player link on a page of its own origin, so that its pictures may be read."""
        browser.go(urllib.parse.urljoin(self.link, "/"))
        browser.run("const v = document.createElement('video'); v.src = arguments[0];"
                    "v.muted = true; v.id = 'seen'; document.body.replaceChildren(v);"
                    "await v.play();", self.link)
        browser.wait("document.getElementById('seen').getVideoPlaybackQuality()"
                     ".totalVideoFrames >= 10", 120)
        browser.run("document.getElementById('seen').pause();")

    def a_hole(self):
        """The number of a picture of which nothing is there, as far as can be from what is."""
        status, out, err = programs.run("status", "--state", self.folder / "viewer", "--json")
        self.assertEqual(status, 0, err)
        swarm = json.loads(out)["swarms"][0]
        edges = [octet for part in swarm["ranges"] for octet in part]
        _, first, last = max((b - a, a, b) for a, b in zip(edges[1::2], edges[2::2]))
        return int((first + last) / 2 / swarm["length"] * SECONDS * timecode.RATE)

    def shown(self, browser):
        return browser.run("const v = document.getElementById('seen');" + timecode.READ)

    def begin_seek(self, browser, number):
        browser.run("const v = document.getElementById('seen'); const from = performance.now();"
                    "window.took = 0; v.addEventListener('seeked', () => "
                    "{ window.took = performance.now() - from; }, {once: true});"
                    "v.currentTime = arguments[0];", timecode.middle(number))

    def end_seek(self, browser, number):
        """Milliseconds it took."""
        took = browser.wait("window.took", 120)
        limit = time.monotonic() + programs.SECONDS  # the picture may be a frame later
        while self.shown(browser) != number and time.monotonic() < limit:
            time.sleep(0.02)
        self.assertEqual(self.shown(browser), number)
        self.assertIsNone(browser.run("return document.getElementById('seen').error;"))
        return took

    def a_hole_that_fills_late(self, browser):
        """A part that is not there, and nobody gives it: the player waits, then shows it."""
        self.begin()
        try:
            self.open(browser)
            number = self.a_hole()
            self.begin_seek(browser, number)
            time.sleep(3)
            self.assertTrue(browser.run("return document.getElementById('seen').seeking;"))
            self.assertEqual(browser.run("return window.took;"), 0)
        finally:
            self.seeder.process.send_signal(signal.SIGCONT)
        self.assertGreaterEqual(self.end_seek(browser, number), 3000)

    def seeks(self, browser):
        took = []
        for _ in range(SEEKS):
            number = self.dice.randint(0, LAST)
            self.begin_seek(browser, number)
            took.append(self.end_seek(browser, number))
        print(json.dumps({"seeks": SEEKS, "median_ms": round(statistics.median(took), 1),
                          "slowest_ms": round(max(took), 1)}), file=sys.stderr)

    def ffmpeg(self):
        for _ in range(5):
            number = self.dice.randint(1, LAST)
            picture = subprocess.run(
                ["ffmpeg", "-v", "error", "-ss", str(timecode.middle(number - 1)), "-i", self.link,
                 "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"], check=True,
                stdout=subprocess.PIPE, timeout=programs.SECONDS).stdout
            self.assertEqual(timecode.read(picture), number)

    def number(self, picture):
        """Of a picture in a file, whatever size its player made it."""
        return timecode.read(subprocess.run(
            ["ffmpeg", "-v", "error", "-i", picture, "-vf", f"scale={timecode.WIDTH}:"
             f"{timecode.HEIGHT}", "-f", "rawvideo", "-pix_fmt", "gray", "-"], check=True,
            stdout=subprocess.PIPE).stdout)

    def vlc(self):
        """The first picture after each jump. It does not work for root."""
        for _ in range(3):
            number = self.dice.randint(1, LAST - timecode.RATE)
            folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-vlc-"))
            self.addCleanup(shutil.rmtree, folder)
            os.chown(folder, NOBODY, NOBODY)
            subprocess.run(
                ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env",
                 f"HOME={folder}", "cvlc", "--quiet", "--no-audio", "--vout=dummy",
                 "--video-filter=scene", "--scene-format=png", "--scene-ratio=1",
                 "--scene-prefix=s", f"--scene-path={folder}", "--run-time=1",
                 f"--start-time={timecode.middle(number)}", self.link, "vlc://quit"], check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=programs.SECONDS)
            self.assertEqual(self.number(folder / "s00001.png"), number)

    def mpv(self):
        plain = ["mpv", "--no-config", "--no-ytdl", "--really-quiet", "--ao=null"]
        for _ in range(3):
            number = self.dice.randint(1, LAST)
            subprocess.run([*plain, "--vo=image", "--vo-image-format=png",
                            f"--vo-image-outdir={self.folder / 'mpv'}", "--hr-seek=yes",
                            f"--start={timecode.middle(number - 1)}", "--frames=1", self.link],
                           check=True, timeout=programs.SECONDS)
            self.assertEqual(self.number(self.folder / "mpv" / "00000001.png"), number)
        # To its end, as fast as it goes: nothing is missing on the way.
        played = subprocess.run([*plain, "--vo=null", "--untimed", "--no-audio", "--term-status-msg=",
                                 "--msg-level=all=error", self.link], check=False,
                                capture_output=True, text=True, timeout=programs.SECONDS)
        self.assertEqual((played.returncode, played.stdout + played.stderr), (0, ""))


if __name__ == "__main__":
    sys.argv, rest = sys.argv[:2], sys.argv[2:]
    DHT, PICTURES, FIREFOX = rest[0], pathlib.Path(rest[1]), "firefox" in rest
    os.makedirs(PICTURES, exist_ok=True)
    programs.main()
