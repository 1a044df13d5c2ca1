#!/usr/bin/env python3
"""A desktop that has the entry opens culvert: links with it: it registers, it is found for
the scheme, and xdg-open, as on a desktop that has no opener of its own, runs the entry's
command with the link as one argument, whatever stands in it.

    test_desktop.py CULVERT ENTRY"""
import json
import os
import pathlib
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import unittest

CULVERT, ENTRY = (pathlib.Path(arg).resolve() for arg in sys.argv[1:3])
SCHEME = "x-scheme-handler/culvert"
# What Debian's desktops promise of their terminal: it runs what stands behind -e.
TERMINAL = """#!/bin/sh
test "$1" = -e && shift && exec "$@"
"""
# Says what it was called with, and that it was called once.
STANDS_IN = """#!/usr/bin/python3
import json, os, sys
with open(os.environ["SAID"], "a") as said:
    print(json.dumps(sys.argv[1:]), file=said)
"""


class Desktop(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        self.bin, self.said = self.home / "bin", self.home / "said"
        self.applications = self.home / "share" / "applications"
        for made in (self.bin, self.applications, self.home / "config"):
            made.mkdir(parents=True)
        shutil.copy(ENTRY, self.applications)
        self.program("x-terminal-emulator", TERMINAL)
        # Nothing of this machine's own desktop, and nobody else who could open anything.
        keep = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")
                and key not in ("DESKTOP_SESSION", "KDE_FULL_SESSION", "GNOME_DESKTOP_SESSION_ID",
                               "DBUS_SESSION_BUS_ADDRESS", "MATE_DESKTOP_SESSION_ID",
                               "LXQT_SESSION_CONFIG", "DESKTOP", "TERMINAL")}
        self.env = {**keep, "HOME": str(self.home), "XDG_DATA_HOME": str(self.home / "share"),
                    "XDG_DATA_DIRS": str(self.home / "share"), "DISPLAY": ":99",
                    "XDG_CONFIG_HOME": str(self.home / "config"), "BROWSER": "false",
                    "XDG_CONFIG_DIRS": str(self.home / "config"), "SAID": str(self.said),
                    "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def start(self, *command):
        return subprocess.run(command, check=False, capture_output=True, text=True, env=self.env,
                              cwd=self.home, timeout=240)

    def succeeds(self, *command):
        done = self.start(*command)
        self.assertEqual(done.returncode, 0, (command, done))
        return done.stdout.strip()

    def program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def opened(self, link):
        """What was called when a desktop was asked to open this."""
        self.said.unlink(missing_ok=True)
        done = self.start("xdg-open", link)
        self.assertTrue(self.said.exists(), done)
        self.assertEqual(done.returncode, 0, done)
        return [json.loads(line) for line in self.said.read_text().splitlines()]

    def test_is_found_for_the_scheme(self):
        self.succeeds("update-desktop-database", str(self.applications))
        self.assertIn(f"{SCHEME}=culvert.desktop;\n",
                      (self.applications / "mimeinfo.cache").read_text())
        self.succeeds("xdg-mime", "default", "culvert.desktop", SCHEME)
        self.assertEqual(self.succeeds("xdg-mime", "query", "default", SCHEME), "culvert.desktop")

    def test_a_link_is_one_argument(self):
        self.program("culvert", STANDS_IN)
        self.succeeds("xdg-mime", "default", "culvert.desktop", SCHEME)
        # What links have in them, and what only somebody writes who wants more than a film.
        for link in ("culvert:?x=aeaq&n=A%20film%20%28%C3%A9%29.mp4&l=1234&b=192.0.2.1:6881&c=zz",
                     "culvert:?x=a;touch pwned", "culvert:?x=$(touch pwned)`touch pwned`",
                     "culvert:?x='a\"b\\c", "culvert:?x=* %u %f --listen", "culvert:?x=a|touch pwned&"):
            with self.subTest(link):
                self.assertEqual(self.opened(link), [["play", "--hold", link]])
        self.assertFalse((self.home / "pwned").exists())

    def test_the_program_itself_is_run(self):
        (self.bin / "culvert").symlink_to(CULVERT)
        self.succeeds("xdg-mime", "default", "culvert.desktop", SCHEME)
        done = self.start("xdg-open", "culvert:?x=nonsense")
        self.assertIn("culvert: bad link: ", done.stdout + done.stderr)

    def on_terminal(self, *args):
        """The entry's command on a terminal, with what it prints there."""
        command = next(line for line in ENTRY.read_text().splitlines() if line.startswith("Exec="))
        words = command.removeprefix("Exec=").split()
        self.assertEqual(words[0], "culvert")
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        program = subprocess.Popen([CULVERT, *words[1:-1], *args], stdin=theirs, stdout=theirs,
                                   stderr=theirs, env=self.env, cwd=self.home)
        os.close(theirs)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program, ours

    def reads(self, terminal, wanted=None):
        """What is on the terminal once this is, or at the end."""
        said = b""
        while wanted is None or wanted not in said:
            try:
                self.assertTrue(select.select([terminal], [], [], 240)[0], said)
                said += os.read(terminal, 4096)
            except OSError:  # everybody has closed it
                break
        return said.decode()

    def test_what_is_wrong_stays_to_be_read(self):
        for args, wrong in ((["culvert:?x=nonsense"], "culvert: bad link: "),
                            (["--no-such", "culvert:?x=a"], "--no-such")):
            program, terminal = self.on_terminal(*args)
            said = self.reads(terminal, b"Press Enter to close.")
            self.assertIn(wrong, said)
            self.assertIn("Press Enter to close.", said)
            self.assertIsNone(program.poll(), said)
            os.write(terminal, b"\n")
            self.reads(terminal)
            self.assertEqual(program.wait(240), 2)
        # Nothing is wrong, and nobody is there to press a key.
        program, terminal = self.on_terminal("--help")
        self.assertNotIn("Press Enter", self.reads(terminal))
        self.assertEqual(program.wait(240), 0)
        done = subprocess.run([CULVERT, "play", "--hold", "culvert:?x=nonsense"], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, env=self.env)
        self.assertEqual((done.returncode, b"Press" in done.stderr), (2, False))


if __name__ == "__main__":
    del sys.argv[1:3]
    unittest.main()
