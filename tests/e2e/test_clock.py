#!/usr/bin/env python3
"""A clock that is days off, on either side: the whole line, the exit status, and
that a command with the right clock is not talked into it by one wrong relay.

Debian's faketime moves the wall clock of one process; its monotonic clock stays."""
import datetime
import json
import select
import subprocess
import time
import unittest

import programs
from terminal import Terminal

RELAYS = 4
WAIT = 150  # seconds; a few on a machine with nothing else to do


def line(days):
    """What a machine says whose clock is so many days ahead. Read at once before
    and after a run: midnight may lie between."""
    right = datetime.datetime.now(datetime.timezone.utc).date()
    here = right + datetime.timedelta(days=days)
    far = f"{abs(days)} day{'s' if abs(days) != 1 else ''} {'fast' if days > 0 else 'slow'}"
    return (f"culvert: this machine's clock is {far}: it says {here}, the relays that answered "
            f"say {right} (UTC); set the clock")


class Clock(programs.Case):
    def setUp(self):
        super().setUp()
        self.first = None
        # From 21:00 UTC to 08:00 descriptors of two days serve side by side, and
        # a clock that is one day off is of no consequence.
        for i in range(RELAYS):
            relay = self.start("relay", *self.state(f"r{i}", 40 + i))
            at = relay.wait_for("listening")["address"]
            self.first = self.first or at
        for relay in self.running:
            relay.wait_for("relay_ready", WAIT)

    def state(self, name, net):
        boot = ["--bootstrap", self.first] if self.first else []
        return ["--state", str(self.folder / name), "--listen", f"127.{net}.0.1:0", "--network",
                "e2e", "--json", "--quick-start", *boot]

    def command(self, days, *args):
        return subprocess.Popen([programs.CULVERT, *map(str, args)], env=programs.days_off(days),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ends(self, days, *args):
        """Status and standard error of a command that ends by itself."""
        with self.command(days, *args) as process:
            self.addCleanup(process.kill)
            _, err = process.communicate(timeout=WAIT)
            return process.returncode, err

    def is_told(self, relay):
        """The first line on its standard error; the relay is ended after the test."""
        self.addCleanup(relay.communicate)
        self.addCleanup(relay.kill)
        ready, _, _ = select.select([relay.stderr], [], [], WAIT)
        self.assertTrue(ready, "no word about the clock")
        return relay.stderr.readline()

    def test_clocks(self):
        film = self.film(50_000)
        rows = [(-3, "get"), (2, "get"), (6, "share")]
        seeder = self.start("share", "--direct", "--state", self.folder / "d", "--listen",
                            "127.0.0.1:0", "--network", "e2e", "--json", film)
        uri = seeder.wait_for("shared")["uri"]
        for i, (days, verb) in enumerate(rows):
            with self.subTest(verb=verb, days=days):
                what = [uri, "-o", self.folder / f"copy{i}"] if verb == "get" else [film]
                args = [verb, *self.state(f"c{i}", 50 + i), *what]
                before = line(days)
                got = self.ends(days, *args)
                self.assertIn(got, [(4, before + "\n"), (4, line(days) + "\n")])

    def test_a_relay_says_so_and_stays(self):
        before = line(5)
        relay = self.command(5, "relay", *self.state("late", 60))
        self.assertIn(self.is_told(relay), [before + "\n", line(5) + "\n"])
        time.sleep(1)
        self.assertIsNone(relay.poll(), "a relay waits until its clock is set")
        relay.terminate()
        self.assertEqual(relay.wait(programs.SECONDS), 0)

    def test_a_clock_that_is_set_right(self):
        """Without a restart; status and doctor stop to complain with it."""
        clock = self.folder / "clock"
        clock.write_text("+5d")
        env = {**programs.days_off(0), "FAKETIME_TIMESTAMP_FILE": str(clock)}
        del env["FAKETIME"]
        relay = self.start("relay", *self.state("set", 64), env=env)
        self.assertEqual(relay.wait_for("clock_off", WAIT)["seconds"], -5 * 86400)
        self.assertEqual(self.clock_of("set"), (-5 * 86400, "bad"))
        clock.write_text("+0d")
        relay.wait_for("clock_right", 3 * WAIT)  # asked again within minutes
        # Then it asks for the relays of that day; until it knows one, doctor cannot say more.
        end = time.monotonic() + WAIT
        while self.clock_of("set") != (0, "ok"):
            self.assertEqual(self.clock_of("set")[0], 0)
            self.assertLess(time.monotonic(), end, "no relay is known after the clock was set right")
            time.sleep(1)
        relay.end()
        self.assertEqual([event["event"] for event in relay.events].count("clock_right"), 1)

    def clock_of(self, name):
        """What status and doctor say of it."""
        status, out, err = programs.run("status", "--state", self.folder / name, "--json")
        self.assertEqual(status, 0, err)
        _, found, err = programs.run("doctor", "--state", self.folder / name, "--json")
        result, = [row["result"] for row in json.loads(found) if row["check"] == "clock"]
        return json.loads(out)["clock_off"], result

    def test_on_a_terminal_it_is_said_once(self):
        args = self.state("seen", 63)
        args.remove("--json")
        clock = {name: value for name, value in programs.days_off(5).items()
                 if name.startswith(("FAKETIME", "LD_PRELOAD"))}
        seen = Terminal("relay", *args, columns=200, **clock)
        self.addCleanup(seen.process.kill)
        seen.wait_for("set the clock")
        self.assertEqual(seen.end(b"\3"), 0)
        self.assertEqual(seen.text.count("set the clock"), 1, seen.text)

    def test_one_wrong_relay_convinces_nobody(self):
        wrong = self.command(-3, "relay", *self.state("wrong", 61))
        self.is_told(wrong)
        node = self.start("node", *self.state("n", 62))
        node.wait_for("dht_ready", WAIT)
        time.sleep(8)
        status, err = node.end()
        self.running.remove(node)
        self.assertEqual((status, err), (0, ""))
        self.assertNotIn("clock_off", [event.get("event") for event in node.events])


if __name__ == "__main__":
    programs.main()
