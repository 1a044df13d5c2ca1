#!/usr/bin/env python3
"""doctor finds what is wrong, says what to do, and finds nothing wrong in a good node; link
says what a link says.

    test_doctor.py CULVERT CULVERT-DHT"""
import http.server
import json
import os
import socket
import socketserver
import sys
import threading
import time
import unittest

import programs
from village import Village


class Doctor(programs.Case):
    def doctor(self, *args):
        """Exit status, and (result, remedy) of every check by name."""
        status, out, err = programs.run("doctor", "--json", *args)
        self.assertIn(status, (0, 1), err)
        found = {}
        for row in json.loads(out):
            self.assertEqual("remedy" in row, row["result"] != "ok" and "remedy" in row)
            found.setdefault(row["check"], []).append(row)
        return status, found

    def results(self, found, check):
        return {row["result"] for row in found[check]}

    def test_a_node_that_runs_and_what_can_be_wrong_with_it(self):
        village = Village(self, DHT, relays=6)
        node = village.start("node", "node")
        node.wait_for("client_ready", 120)
        state = self.folder / "node"
        limit = time.monotonic() + programs.SECONDS
        while True:  # it goes on getting to know relays
            status, found = self.doctor("--state", state)
            if status == 0 and self.results(found, "relays") == {"ok"}:
                break
            self.assertLess(time.monotonic(), limit, found)
            time.sleep(1)
        for check in ("state", "keys", "dht", "relays", "clock", "ports", "leaks"):
            self.assertEqual(self.results(found, check), {"ok"}, found[check])
        # A key that others may read.
        (state / "identity").chmod(0o644)
        status, found = self.doctor("--state", state)
        self.assertEqual(status, 1)
        bad = [row for row in found["keys"] if row["result"] == "bad"]
        self.assertEqual(len(bad), 1)
        self.assertIn("chmod 600", bad[0]["remedy"])
        # For people: the same in words.
        status, out, _ = programs.run("doctor", "--state", state)
        self.assertEqual(status, 1)
        self.assertIn("-> chmod 600", out)
        self.assertIn("Something is bad", out)

    def test_without_a_node_one_is_run(self):
        # A contact where nobody answers.
        quiet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(quiet.close)
        quiet.bind(("127.0.0.1", 0))
        status, out, err = programs.run("doctor", "--state", self.folder / "new", "--listen",
                                        "127.0.0.1:0", "--bootstrap",
                                        "127.0.0.1:%d" % quiet.getsockname()[1])
        self.assertEqual(status, 1, err)
        rows = [line.split() for line in out.splitlines()]
        found = {(row[1], row[0]) for row in rows}
        self.assertLess({("dht", "bad"), ("leaks", "ok"), ("nat", "unknown")}, found)
        self.assertIn("--bootstrap", out)
        # It is the network that failed: nothing is said of routers, nor to wait.
        nat = out.splitlines().index("unknown  nat        the network failed: nobody answered who could "
                                     "say which address is seen")
        self.assertEqual(out.splitlines()[nat + 1].split("-> ")[1], "get it to work first")
        self.assertEqual(out.splitlines()[-1],
                         "It could not be found out: state, disk, relays, clock, nat.")

    def says(self, status):
        """What doctor finds where a node says this of itself."""
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(status if self.path == "/api/status" else []).encode())

            def log_message(self, *_):
                pass

        folder = self.folder / "said"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "api.sock").unlink(missing_ok=True)
        with socketserver.UnixStreamServer(str(folder / "api.sock"), Answer) as server:
            threading.Thread(target=server.serve_forever).start()
            try:
                return self.doctor("--state", folder)[1]
            finally:
                server.shutdown()

    def test_a_relay_that_nobody_reaches(self):
        """A new address is told of from 03:00 UTC on: that is said where somebody wonders."""
        relay = self.start("relay", *programs.options(self.folder, "r"))
        relay.wait_for("listening")
        code, out, err = programs.run("status", "--state", self.folder / "r", "--json")
        self.assertEqual(code, 0, err)
        status, one, two = json.loads(out), "198.51.100.7:7000", "[2001:db8::7]:7000"
        new = (" (a new address is told of from 03:00 UTC on, one since 21:00 a day later: wait till then)")
        port = "let UDP to its port through the router and the firewall"
        rows = [([(one, 0, 3)], [("bad", "3 relays had this one tried from outside, and nobody got through: "
                                  "they tell nobody of it", port + new)]),
                ([(one, 2, 0), (two, 0, 4)],
                 [("ok", f"2 relays had {one} tried from outside", None),
                  ("bad", f"4 relays had {two} tried from outside, and nobody got through: they tell nobody "
                   "of this relay, not of its other address either",
                   f"{port}, or start it without this address{new}")]),
                ([(one, 2, 1)], [("ok", "2 relays had this one tried from outside", None)]),
                ([(one, 0, 0)], [])]
        for reach, want in rows:
            with self.subTest(reach):
                status["reach"] = [{"address": a, "by": by, "not_by": not_by} for a, by, not_by in reach]
                found = self.says(status).get("reach", [])
                self.assertEqual([(row["result"], row["text"], row.get("remedy")) for row in found], want)

    def test_link(self):
        film = self.film(5000, "a film.bin")
        share = self.start("share", *programs.options(self.folder, "s"), "--direct", film)
        uri = share.wait_for("shared")["uri"]
        status, out, err = programs.run("link", "--json", uri)
        self.assertEqual(status, 0, err)
        said = json.loads(out)
        self.assertEqual((said["name"], said["kind"], said["length"], said["secret"]),
                         ("a film.bin", "file", 5000, False))
        status, out, _ = programs.run("link", "--qr", uri)
        self.assertEqual(status, 0)
        rows = [line for line in out.splitlines() if line and set(line) <= set(" ▀▄█")]
        self.assertEqual(len({len(row) for row in rows}), 1)
        self.assertEqual((len(rows[0]) + 1) // 2, len(rows))
        status, _, err = programs.run("link", uri[:-1])
        self.assertEqual(status, 2)
        self.assertIn("bad link", err)


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.main()
