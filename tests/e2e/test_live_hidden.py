#!/usr/bin/python3
"""A broadcast through circuits: camera (ffmpeg) -> culvert live -> relays -> two
viewers, one with a player (ffmpeg again) on its link and one that keeps it.
Nobody has an address of anybody.

    test_live_hidden.py CULVERT CULVERT-DHT
"""
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import programs
from village import Village


def camera(pipe):
    """An endless picture with a clock in it, as MPEG-TS, in real time."""
    return subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i",
         "testsrc2=size=320x180:rate=25", "-c:v", "libx264", "-preset", "ultrafast", "-tune",
         "zerolatency", "-g", "25", "-b:v", "600k", "-f", "mpegts", "-"],
        stdout=pipe, stderr=subprocess.DEVNULL)


class LiveHidden(programs.Case):
    def setUp(self):
        super().setUp()
        self.village = Village(self, DHT)

    def broadcast(self):
        """The source with its pipe, and its link."""
        read, write = os.pipe()
        program = programs.Program("live", *self.village.options("source"), "-", stdin=read)
        os.close(read)
        self.running.append(program)
        return write, program.wait_for("live", 120)["uri"]

    def frames(self, url, count):
        """A player opens the link and decodes that many frames."""
        done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", url, "-frames:v",
                               str(count), "-f", "framecrc", "-"], capture_output=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sum(not line.startswith(b"#") for line in done.stdout.splitlines()), count)

    def test_a_camera_is_watched_by_two(self):
        pipe, uri = self.broadcast()
        ffmpeg = camera(pipe)
        self.addCleanup(ffmpeg.wait)
        self.addCleanup(ffmpeg.kill)
        os.close(pipe)
        viewer = self.village.start("play", "viewer", "--no-player", uri)
        link = viewer.wait_for("link")["url"]
        self.assertEqual(len(viewer.wait_for("peer_up", 120)["path"]), 3)
        viewer.wait_for("tuned", 120)
        with urllib.request.urlopen(link, timeout=60) as answer:
            self.assertEqual(answer.headers["Content-Type"], "video/mp2t")
            self.assertIsNone(answer.headers["Content-Length"])
            head = answer.read(188 * 3)
            self.assertEqual([head[0], head[188], head[376]], [0x47] * 3)
        self.frames(link, 50)
        out = self.folder / "kept.ts"
        keeper = self.village.start("get", "keeper", "-o", out, uri)
        keeper.wait_for("tuned", 120)
        self.frames(link, 50)  # a second player at the first viewer
        ffmpeg.send_signal(signal.SIGTERM)
        keeper.wait_for("complete", 120)
        self.assertEqual(keeper.process.wait(30), 0)
        viewer.wait_for("complete", 120)
        self.frames(str(out), 25)
        # What is over still ends for a player, instead of keeping it waiting.
        with urllib.request.urlopen(link, timeout=60) as answer:
            self.assertGreater(len(answer.read()), 0)
        # Nobody gets in without the token.
        bare = urllib.parse.urlsplit(link)._replace(query="k=" + "0" * 32).geturl()
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(bare, timeout=60)

    def test_bad_input(self):
        _, uri = self.broadcast()
        rows = [
            (["play", *self.village.options("a"), "-o", self.folder / "x", uri], "leave out -o"),
            (["get", *self.village.options("b"), uri], "-o FILE"),
            (["get", *self.village.options("c"), "--at", "00" * 32, "-o", "-", uri], "--at"),
        ]
        for command, text in rows:
            status, _, err = programs.run(*command)
            self.assertEqual(status, 2, err)
            self.assertIn(text, err)


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.main()
