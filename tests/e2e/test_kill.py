#!/usr/bin/env python3
"""What kill -9 costs, counted on the wire: two processes in a network of their own,
one of which is killed again and again, and the octets that its loopback carried.

    test_kill.py CULVERT [MIB [KILLS]]

Between two kills no more may cross the wire than what is there afterwards and was not
before, with the overhead of an undisturbed run, and 16 MiB (IO_STORE_UNCOMMITTED_MAX of io, and what
ppsp stages). What a power cut costs is counted in src/io/tests/test_store_crash.c.
"""
import json
import os
import pathlib
import random
import select
import statistics
import subprocess
import sys
import time
import unittest

import programs

MIB, KILLS = 96, 3  # of the film; both may be given
LOST_MAX = 16 << 20
# A busy machine loses datagrams, which are asked for again: that is not the store's.
NOISE, ODDMENTS = 1.1, 6 << 20


def on_the_wire():
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "lo":
            return int(rest.split()[0])
    raise AssertionError("no loopback")


class Kill(programs.Case):
    def setUp(self):
        super().setUp()
        self.path = self.film(MIB << 20)
        self.seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"),
                                 self.path)
        self.shared = self.seeder.wait_for("shared", 600)

    def args(self, name):
        return ["get", "--direct", "--peer", self.shared["address"],
                *programs.options(self.folder, name), "-o", self.folder / f"copy-{name}",
                self.shared["uri"]]

    def run_until(self, viewer, octets):
        """Kills it when so many octets have crossed the wire; the event `opened`, and the
        time until it came. None: it was complete before that."""
        began, opened, ready = time.monotonic(), None, None

        def take(data):
            nonlocal opened, ready
            viewer.buffer += data
            *lines, viewer.buffer = viewer.buffer.split(b"\n")
            viewer.events += [json.loads(line) for line in lines]
            if opened is None:
                opened = next((e for e in viewer.events if e["event"] == "opened"), None)
                ready = time.monotonic() - began
        while on_the_wire() < octets:
            if select.select([viewer.process.stdout], [], [], 0.001)[0]:
                data = os.read(viewer.process.stdout.fileno(), 65536)
                if not data:
                    break
                take(data)
        viewer.process.kill()
        take(viewer.process.communicate()[0])  # all of it may have come while we stood still
        done = any(e["event"] == "complete" for e in viewer.events)
        return opened, ready, done

    def test_what_is_fetched_again(self):
        size = self.path.stat().st_size
        before = on_the_wire()
        status, _, err = programs.run(*self.args("once"), timeout=1200)
        self.assertEqual(status, 0, err)
        overhead = (on_the_wire() - before) / size
        self.assertGreater(overhead, 1, "the wire is not looked at")
        self.assertLess(overhead, 1.2)

        dice = random.Random(os.environ.get("CULVERT_SEED", "1"))
        start, have, readies, rows = on_the_wire(), 0, [], []
        for kill in range(KILLS):
            # The first time late enough for a store that forgets to be noticed.
            leg = dice.randrange(1 << 20, size // KILLS) if kill else size // KILLS
            at = on_the_wire() + leg
            opened, ready, done = self.run_until(programs.Program(*self.args("killed")), at)
            if done:
                break
            readies.append(ready)
            rows.append((opened["have"], on_the_wire() - start))
            start = on_the_wire()
        self.assertEqual(len(rows), KILLS, "it was not killed often enough")
        last = self.start(*self.args("killed"))
        opened = last.wait_for("opened", 60)
        last.wait_for("complete", 1200)
        rows.append((opened["have"], on_the_wire() - start))
        costs = []
        for (have, wire), (after, _) in zip(rows, rows[1:]):
            costs.append(wire - (after - have) * overhead)
            self.assertLessEqual(costs[-1], LOST_MAX * overhead * NOISE + ODDMENTS, rows)
        # And what was there when it was opened for the last time was not fetched again: half of it
        # would be too much, and more than a busy machine loses of the rest.
        have = rows[-1][0]
        self.assertLessEqual(rows[-1][1], (size - have) * overhead + have / 2 + ODDMENTS, rows)
        self.assertGreater(rows[-1][0], 0)
        self.assertEqual((self.folder / "copy-killed").read_bytes(), self.path.read_bytes())
        print(f"{MIB} MiB: overhead {overhead:.4f}, fetched again after each kill (MiB): "
              f"{[round(c / 2**20, 1) for c in costs]}, ready after (s): "
              f"{[round(r, 3) for r in readies]}", file=sys.stderr)
        if KILLS > 3:
            self.assertLessEqual(statistics.median(readies), 1)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        MIB = int(sys.argv.pop(2))
    if len(sys.argv) > 2:
        KILLS = int(sys.argv.pop(2))
        NOISE, ODDMENTS = 1, 1 << 20  # what was on its way to one that was killed
    programs.alone()
    programs.main()
