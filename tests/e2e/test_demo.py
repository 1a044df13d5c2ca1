#!/usr/bin/env python3
"""scripts/demo as a person runs it: everything holds, the link answers until Ctrl-C, and then
nothing is left; and it says so when something does not hold.

With --whole also what takes a run of its own: an end in the middle, a viewer that dies."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 600  # until something counts as never happening, on the slowest machine
BUILD = None  # set by main()
WHOLE = False
KEYS = {"ok": True, "viewer_hops": 3, "seeder_hops": 3, "path_ms": int, "first_frame_ms": int,
        "seek_ms": int, "seek_was_missing": True, "goodput_mb_s": float, "sha256_equal": True,
        "second_viewer_from_viewer": True}


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-e2e-demo-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *args):
        """scripts/demo.py; what it makes lies in our folder."""
        demo = subprocess.Popen([sys.executable, ROOT / "scripts/demo.py", "--build", BUILD, *args],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd=self.folder, env=dict(os.environ, TMPDIR=str(self.folder)),
                                start_new_session=True)
        self.addCleanup(demo.stdout.close)
        self.addCleanup(demo.stderr.close)
        self.addCleanup(self.end, demo)
        timer = threading.Timer(SECONDS, demo.kill)
        timer.start()
        self.addCleanup(timer.cancel)
        self.said = ""
        return demo

    def end(self, demo):
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        for pid in self.processes() + self.players():  # of a demo that did not clean up
            os.kill(pid, signal.SIGKILL)

    def wait_for_line(self, demo, beginning):
        for line in demo.stderr:
            self.said += line
            if line.startswith(beginning):
                return line
        self.fail(f"no '{beginning}':\n{self.said}")

    def processes(self, word=""):
        """Those whose command names our folder, and this word."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:  # it is none, or went meanwhile
                continue
            if str(self.folder) in command and word in command:
                found.append(int(entry.name))
        return found

    def players(self):
        """They know a link only; but what they complain of comes to our folder."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "fd/2").startswith(str(self.folder)) and \
                        (entry / "comm").read_text().strip() == "ffmpeg":
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def nothing_is_left(self):
        self.assertEqual(self.processes(), [])
        self.assertEqual(self.players(), [])
        self.assertEqual(list(self.folder.glob("culvert-demo-*")), [])

    def rest(self, demo):
        """Its status and what it printed."""
        self.said += demo.stderr.read()
        out = demo.stdout.read()
        return demo.wait(), out


class Demo(Case):
    def test_keeps_running_until_ctrl_c(self):
        demo = self.start("--keep", "--json")
        link = self.wait_for_line(demo, "Still running: ").split()[-1]
        parts = urllib.parse.urlsplit(link)
        viewer = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
        viewer.request("GET", f"{parts.path}?{parts.query}", headers={"Range": "bytes=0-99999"})
        answer = viewer.getresponse()
        self.assertEqual(answer.status, 206)
        film = next(self.folder.glob("culvert-demo-*/film.mp4")).read_bytes()
        self.assertEqual(answer.read(), film[:100000])
        viewer.close()
        self.assertTrue(self.processes())
        demo.send_signal(signal.SIGINT)
        status, out = self.rest(demo)
        self.assertEqual(status, 0, self.said)
        self.assertIn("All of it held.", self.said)
        summary = json.loads(out)
        for key, want in KEYS.items():
            if isinstance(want, type):
                self.assertIs(type(summary[key]), want, key)
            else:
                self.assertIs(summary[key], want, key)
        self.assertLess(summary["unread_by_player"], len(film) * 0.05)
        self.nothing_is_left()

    def refused(self, line, *args):
        demo = self.start("--json", *args)
        status, out = self.rest(demo)
        self.assertEqual(status, 1)
        self.assertEqual(self.said.strip(), f"FAILED: {line}")
        self.assertEqual(json.loads(out), {"ok": False, "failed": line})
        self.nothing_is_left()

    def test_films_that_are_none(self):
        for name, octets in (("noise.mp4", os.urandom(50000)), ("empty.mp4", b"")):
            path = self.folder / name
            path.write_bytes(octets)
            # A name is relative to where the person is.
            self.refused(f"{path}: ffprobe finds no film of a known length in it; give another one",
                         "--from", str(self.folder), name)
            self.said = ""
        self.refused("/nowhere/film.mp4: no such file", "/nowhere/film.mp4")

    def test_ctrl_c_while_it_plays(self):
        if not WHOLE:
            self.skipTest("suite slow")
        demo = self.start("--json")
        self.wait_for_line(demo, "Seek: ")
        limit = time.monotonic() + SECONDS
        while not self.players() and time.monotonic() < limit:
            time.sleep(0.01)
        self.assertTrue(self.players())
        for pid in self.players():
            os.kill(pid, signal.SIGSTOP)  # or it would end by itself, as nobody reads what it shows
        demo.send_signal(signal.SIGINT)
        time.sleep(0.05)
        demo.send_signal(signal.SIGINT)  # somebody is impatient
        status, out = self.rest(demo)
        self.assertEqual(status, 130, self.said)
        self.assertIs(json.loads(out)["ok"], False)
        self.nothing_is_left()

    def test_a_viewer_that_dies(self):
        if not WHOLE:
            self.skipTest("suite slow")
        demo = self.start("--json")
        self.wait_for_line(demo, "Seek: ")
        viewer, = self.processes("/viewer.mp4")
        os.kill(viewer, signal.SIGKILL)
        status, out = self.rest(demo)
        self.assertEqual(status, 1, self.said)
        self.assertIs(json.loads(out)["ok"], False)
        self.assertRegex(self.said, r"(?m)^FAILED: (the player |octets |viewer )")
        self.assertNotIn("Traceback", self.said)
        self.nothing_is_left()


class Script(Case):
    """The shell script in front of it, with programs that only say what they were told."""

    def setUp(self):
        super().setUp()
        self.root = self.folder / "root"
        for name in ("scripts", "bin", "elsewhere"):
            (self.root / name).mkdir(parents=True)
        shutil.copy(ROOT / "scripts/demo", self.root / "scripts/demo")
        for name in ("bootstrap", "npm-package"):
            self.program(self.root / "scripts" / name, "true")
        (self.root / "scripts/demo.py").write_text("import sys; print(*sys.argv[1:])")
        self.program(self.root / "bin/ninja", "true")
        self.program(self.root / "bin/meson", """
if [ "$1" = setup ]; then
    mkdir -p "$2" && touch "$2/build.ninja" && echo '[{"name": "buildtype", "value": "release"}]' >"$2/told"
else
    cat "$3/told"
fi""")

    def program(self, path, does):
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)

    def built(self, name, **options):
        (self.root / name).mkdir()
        (self.root / name / "build.ninja").touch()
        (self.root / name / "told").write_text(
            json.dumps([{"name": n, "value": v} for n, v in options.items()]))

    def run_script(self):
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return subprocess.run([self.root / "scripts/demo", "--json", "a film.mp4"], check=False, text=True,
                              capture_output=True, cwd=self.root / "elsewhere",
                              env=dict(os.environ, PATH=path))

    def uses(self, folder):
        done = self.run_script()
        self.assertEqual(done.stdout.strip(), f"--build {folder} --from {self.root / 'elsewhere'} "
                         "--json a film.mp4", done.stderr)
        return done.stderr

    def test_a_fresh_clone(self):
        self.assertEqual(self.uses("build"), "")

    def test_a_release_that_is_there(self):
        self.built("build", buildtype="release", b_sanitize="none", b_coverage=False)
        self.assertEqual(self.uses("build"), "")

    def test_other_builds_are_left_alone(self):
        self.built("build", buildtype="debugoptimized", b_sanitize="address,undefined")
        said = self.uses("build-release")
        self.assertIn("demo: build/ is somebody's other build "
                      "(buildtype=debugoptimized b_sanitize=address,undefined)", said)
        shutil.rmtree(self.root / "build-release")
        self.built("build-release", buildtype="debug")
        done = self.run_script()
        self.assertEqual(done.returncode, 1)
        self.assertIn("remove build/ or build-release/", done.stderr)


def main():
    global BUILD, WHOLE
    BUILD = os.path.abspath(sys.argv.pop(1))
    if "--whole" in sys.argv:
        sys.argv.remove("--whole")
        WHOLE = True
    unittest.main()


if __name__ == "__main__":
    main()
