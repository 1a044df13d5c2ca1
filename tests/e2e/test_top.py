#!/usr/bin/env python3
"""top on a terminal of its own: what it shows, that it follows the window and leaves
cleanly; and its lines for programs."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unittest

import programs


class Terminal:
    """A program on a pseudo terminal; `text` is all that it wrote, without escape codes."""

    def __init__(self, *args, rows=24, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [programs.CULVERT, *map(str, args)], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8"))
        os.close(slave)
        self.raw = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self):
        plain = re.sub(rb"\x1b(\[[0-9;?]*[A-Za-z]|[()].|.)", b" ", self.raw)
        return plain.decode(errors="replace")

    def wait_for(self, word):
        limit = time.monotonic() + programs.SECONDS
        while word not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(limit - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"no '{word}' in {self.text[-2000:]}")
            try:
                self.raw += os.read(self.master, 65536)
            except OSError as end:  # the other side is closed
                raise AssertionError(f"no '{word}' in {self.text[-2000:]}") from end

    def end(self, keys):
        os.write(self.master, keys)
        try:
            while os.read(self.master, 65536):
                pass
        except OSError:
            pass
        os.close(self.master)
        return self.process.wait(programs.SECONDS)


class Top(programs.Case):
    def setUp(self):
        super().setUp()
        self.start("node", *programs.options(self.folder, "node"), "--direct").wait_for("listening")
        self.state = ["--state", self.folder / "node"]
        share = self.start("share", *self.state, "--network", "e2e", "--direct", "--json",
                           "--upload-limit", "20k", self.film(2_000_000, "a-film-of-ours.bin")).wait_for("shared")
        viewer = self.start("get", *programs.options(self.folder, "viewer"), "--direct", "--peer",
                            share["address"], "-o", self.folder / "copy", share["uri"])
        viewer.wait_for("peer_up")

    def test_on_a_terminal(self):
        top = Terminal("top", *self.state)
        for word in ("culvert", "DHT", "carried", "a-film-of-ours.bin", "DIRECT", "100 %",
                     "peer of", "127.0.0.1:"):
            top.wait_for(word)
        top.raw = b""
        top.resize(10, 60)
        top.process.send_signal(28)  # SIGWINCH
        top.wait_for("culvert")
        self.assertEqual(top.end(b"q"), 0)

    def test_for_programs_and_without_a_terminal(self):
        program = subprocess.Popen([programs.CULVERT, "top", "--json", *self.state],
                                   stdout=subprocess.PIPE)
        lines = [json.loads(program.stdout.readline()) for _ in range(2)]
        program.kill()
        program.wait()
        program.stdout.close()
        self.assertEqual([line["swarms"][0]["name"] for line in lines], ["a-film-of-ours.bin"] * 2)
        status, _, err = programs.run("top", *self.state)
        self.assertEqual(status, 2)
        self.assertIn("--json", err)
        status, _, err = programs.run("top", "--state", self.folder / "none")
        self.assertEqual(status, 3)
        self.assertIn("culvert node", err)


if __name__ == "__main__":
    programs.main()
