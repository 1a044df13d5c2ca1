#!/usr/bin/env python3
"""top on a terminal of its own: what it shows, that it follows the window and leaves
cleanly; and its lines for programs."""
import json
import subprocess
import unittest

import programs
from terminal import Terminal


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
