#!/usr/bin/env python3
"""Our own account over restarts: what was given and taken by own circuits, where that leaves us
and why; what is on disk of it, and what becomes of a damaged one.

    test_account.py CULVERT CULVERT-DHT
"""
import datetime
import json
import os
import signal
import sys
import time

import programs
from village import Village

MIB = 1 << 20


class Account(programs.Case):
    def ask(self, name, *how):
        status, out, err = programs.run("status", "--state", self.folder / name, *how)
        self.assertEqual((status, err), (0, ""))
        return out

    def status(self, name):
        return json.loads(self.ask(name, "--json", "--why"))

    def until(self, name, what):
        """The status for which `what` holds."""
        limit = time.monotonic() + programs.SECONDS
        while True:
            status = self.status(name)
            if what(status["own"]):
                return status
            self.assertLess(time.monotonic(), limit, status["own"])
            time.sleep(0.2)

    def again(self, options, how):
        """The node ends so, and begins again; nobody is there any more whom it could give to."""
        self.node.end(how)
        self.node = self.start("node", *options)
        self.node.wait_for("listening")

    def days(self):
        """Midnight may lie in between."""
        today = datetime.datetime.now(datetime.timezone.utc).date()
        return {str(today), str(today - datetime.timedelta(days=1))}

    def test_lasts(self):
        village = Village(self, DHT)
        options = village.options("node")
        self.node = self.start("node", *options)
        self.node.wait_for("client_ready")
        share = self.start("share", "--state", self.folder / "node", "--network", "village",
                           "--json", self.film(6 * MIB))
        uri = share.wait_for("shared")["uri"]
        viewer = village.start("play", "viewer", "--no-player", uri)
        viewer.wait_for("complete")
        # Who shares gives; who gets takes, and stands as anybody new.
        gave = self.until("node", lambda own: own["stands"] == "giver")
        took = self.until("viewer", lambda own: own["taken"] > 6 * MIB)
        self.assertEqual(took["own"]["stands"], "new")
        row = gave["why"][-1]
        self.assertEqual((row["about"], row["was"], row["became"], row["cause"]), ("own", "new", "giver", 1))
        self.assertIn(row["day"], self.days())
        self.assertEqual((row["given"] % MIB, row["taken"] % MIB), (0, 0))
        self.assertEqual(gave["own"]["since"], gave["why"][0]["day"])
        for program in (viewer, share):
            program.end()

        # An orderly end, and then kill -9: amounts and class do not fall, rows are the same.
        file = self.folder / "node" / "account"
        for how in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(how):
                before = self.status("node")
                self.again(options, how)
                after = self.status("node")
                self.assertGreaterEqual(after["own"]["given"], before["own"]["given"]
                                        if how == signal.SIGINT else gave["own"]["given"])
                self.assertEqual(after["own"]["stands"], "giver")
                self.assertEqual(after["why"], before["why"])
                self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        lines = self.ask("node", "--why").splitlines()
        at, = [i for i, line in enumerate(lines) if line.startswith("Why ")]
        self.assertRegex(lines[at - 2], r"^Given     .* and taken .* by our own circuits in all$")
        self.assertRegex(lines[at - 1], "^Stands    with first hops, as far as we can tell, before "
                                        r"newcomers: we .*; since \d{4}-\d\d-\d\d$")
        self.assertRegex(lines[at + len(after["why"])],
                         r"^          \d{4}-\d\d-\d\d our account: new -> giver, it gives at least "
                         r"what it takes \(given .*, taken .*\)$")
        plain = self.ask("node")
        self.assertNotIn("Why ", plain)
        self.assertEqual(sum(line.startswith(("Given", "Stands")) for line in plain.splitlines()), 2)

        # What is on disk is small, and of those alone who have an account.
        self.node.end()
        self.assertLess(file.stat().st_size, 2048)
        for relay in range(5):  # whose circuits name nobody
            self.assertFalse((self.folder / f"relay{relay}" / "account").exists())

        # Damaged or too new: it says so, begins anew, and a row says why.
        for octets, what in [(os.urandom(200), "damaged"), (b"", "damaged"),
                             (b"CVA9" + bytes(60), "written by another version of culvert")]:
            with self.subTest(what):
                file.write_bytes(octets)
                self.node = self.start("node", *options)
                self.assertEqual(self.node.wait_for("account_anew")["text"],
                                 f"{file}: {what}; what was given and taken is counted anew, first "
                                 "hops may still know it")
                self.node.wait_for("listening")
                anew = self.status("node")
                self.assertEqual((anew["own"]["stands"], anew["why"][0]["cause"]), ("new", 15))
                self.assertEqual(self.node.end(), (0, ""))
        # Another key: first hops know nothing of it.
        self.node = self.start("node", *options)
        self.node.wait_for("listening")
        self.node.end()
        (self.folder / "node" / "identity").write_bytes(os.urandom(32))
        self.node = self.start("node", *options)
        self.node.wait_for("listening")
        self.assertEqual(self.status("node")["why"][0]["cause"], 16)


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.main()
