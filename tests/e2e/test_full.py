#!/usr/bin/env python3
"""A full disk pauses and resumes, whatever is under way: a small file system is
mounted, filled, and given room again. Needs root."""
import json
import os
import signal
import socket
import subprocess
import time
import unittest

import programs
from test_live import Source


class Full(Source):
    def setUp(self):
        super().setUp()
        self.small = self.folder / "small"
        self.small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "none", self.small],
                       check=True)

    def release(self):
        subprocess.run(["umount", "-l", self.small], check=False)

    def give_room(self):
        subprocess.run(["mount", "-o", "remount,size=64m", self.small], check=True)

    def assert_full(self, program, where):
        """It says which file found no room, and why."""
        why = program.wait_for("disk_full")["why"]
        self.assertTrue(why.startswith(where), why)
        self.assertTrue(why.endswith(": No space left on device"), why)

    def share(self, what):
        seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"), what)
        return seeder.wait_for("shared")

    def test_play(self):
        big = self.film(12_000_000)
        shared = self.share(big)
        viewer = self.start("play", "--no-player", "--direct", "--peer", shared["address"],
                            *programs.options(self.small, "viewer"), "--cache-limit", "1G",
                            shared["uri"])
        self.assert_full(viewer, f"{self.small}/viewer/content-")
        self.give_room()
        viewer.wait_for("complete")
        data, = self.small.glob("viewer/content-*/data")
        self.assertEqual(data.read_bytes(), big.read_bytes())

    def test_get_of_a_folder(self):
        top = self.folder / "films"
        top.mkdir()
        for i in range(6):
            (top / str(i)).write_bytes(os.urandom(2_000_000))
        shared = self.share(top)
        viewer = self.start("get", "--direct", "--peer", shared["address"],
                            *programs.options(self.folder, "viewer"), "-o", self.small / "out",
                            shared["uri"])
        self.assert_full(viewer, f"{self.small}/out/")
        self.assertIsNone(viewer.process.poll())
        self.give_room()
        viewer.wait_for("complete")
        self.assertEqual(viewer.process.wait(programs.SECONDS), 0)
        done = subprocess.run(["diff", "-r", top, self.small / "out"], check=False)
        self.assertEqual(done.returncode, 0)

    def wait_until_full(self, path):
        limit = time.monotonic() + 60
        while os.statvfs(self.small).f_bavail and time.monotonic() < limit:
            time.sleep(0.05)
        self.assertLessEqual(path.stat().st_size, 6 << 20)

    def test_a_viewer_of_a_broadcast(self):
        """What is broadcast meanwhile is in the window, so that nothing is lost."""
        program, pipe = self.source("source")
        live = program.wait_for("live")
        out = self.small / "out"
        viewer = self.start("get", "--direct", "--peer", live["address"], "-o", out,
                            *programs.options(self.folder, "viewer"), live["uri"])
        said = self.say(pipe, 64 * 1024, 4)
        viewer.wait_for("tuned")
        said += self.say(pipe, 8 << 20, 40)
        limit = time.monotonic() + programs.SECONDS
        while not viewer.hears("disk_full", 5) and time.monotonic() < limit:
            said += self.say(pipe, 1 << 20, 5)  # it skipped some, on a machine that stands still
        self.assert_full(viewer, str(out))
        skipped = len(viewer.said("dropped"))
        self.wait_until_full(out)
        self.give_room()
        said += self.say(pipe, 100_000, 2)
        pipe.close()
        viewer.wait_for("complete")
        self.assertEqual(viewer.process.wait(programs.SECONDS), 0)
        self.assertGreater(self.watched_of(viewer, out.read_bytes(), said), 8 << 20)
        self.assertEqual(len(viewer.said("dropped")), skipped)

    def test_a_recording(self):
        """The broadcast waits for its recording; its input waits in the pipe."""
        record = self.small / "record"
        program, pipe = self.source("source", "--record", record)
        program.wait_for("live")
        data = os.urandom(8 << 20)
        child = os.fork()
        if child == 0:
            try:
                pipe.write(data)
            finally:
                os._exit(0)
        pipe.close()
        self.assert_full(program, str(record))
        self.wait_until_full(record)
        self.assertIsNone(program.process.poll())
        self.give_room()
        ended, recorded = program.wait_for("ended"), program.wait_for("recorded")
        os.waitpid(child, 0)
        self.assertEqual(record.read_bytes(), data)
        self.assertEqual(ended["root"], recorded["root"])

    def used_of(self, octets):
        """Sent to the relay, which then counted more than that."""
        host, port = self.at.rsplit(":", 1)
        limit, wanted = time.monotonic() + programs.SECONDS, self.used + octets
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to:
            while self.used < wanted:
                self.assertLess(time.monotonic(), limit)
                to.sendto(bytes(1000), (host, int(port)))
                status, out, err = programs.run("status", "--state", self.small / "relay", "--json")
                self.assertEqual(status, 0, err)
                self.used = json.loads(out)["data_cap"]["used"]

    def test_the_count_of_a_data_cap(self):
        """It goes on, and says once that a restart would forget it."""
        args = ["relay", *programs.options(self.small, "relay"), "--data-cap", "2k/month"]
        relay = self.start(*args)
        self.at, self.used = relay.wait_for("listening")["address"], 0
        filler = self.small / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
        for _ in range(3):  # each is more than what is let pass without being written down
            self.used_of(4000)
        relay.wait_for("data_cap_used")
        filler.unlink()
        self.used_of(4000)
        relay.process.send_signal(signal.SIGTERM)
        self.assertEqual(relay.end(0), (0, f"culvert: {self.small}/relay/quota: No space left on device; make room; "
                                        "until then a restart forgets what is used of the data cap\n"))
        relay = self.start(*args)
        self.assertGreaterEqual(relay.wait_for("data_cap_used")["used"], self.used)
        relay.wait_for("listening")
        # No room to begin with.
        relay.end()
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
        status, _, err = programs.run(*args)
        self.assertEqual((status, err), (5, f"culvert: {self.small}/relay/ledger.db: No space left on device; make room\n"))

    def test_a_window_that_cannot_be_kept(self):
        """A ring is allocated at once: it is refused, and never full later."""
        status, _, err = programs.run(
            "live", "--direct", *programs.options(self.small, "source"), "--window", "16M",
            "/dev/null")
        self.assertEqual(status, 5, err)
        lines = [text for text in err.splitlines() if "--direct hides nothing" not in text]
        self.assertEqual(len(lines), 1, err)
        self.assertIn("No space left on device", lines[0])


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise SystemExit("needs root: a small file system is mounted")
    programs.main()
