#!/usr/bin/env python3
"""Nodes of IPv4 only and of IPv6 only meet through relays that have both, in a network namespace
with addresses that look public: on loopback all of IPv6 is one network.

    test_dual_stack.py CULVERT CULVERT-DHT
"""
import json
import subprocess
import sys
import time

import programs

RELAYS = range(1, 7)
FOUR, SIX = "5.{}.0.1", "2a10:{}::1"  # a /16 and a /32 each
SEEDER, VIEWER, DHT_NODE = 50, 51, 60


def address(number):
    for command in (["addr", "add", FOUR.format(number) + "/32", "dev", "lo"],
                    ["-6", "addr", "add", SIX.format(number) + "/128", "dev", "lo", "nodad"]):
        subprocess.run(["ip", *command], check=True)


def at(number, family, port=7000):
    return f"{FOUR.format(number)}:{port}" if family == 4 else f"[{SIX.format(number)}]:{port}"


class DualStack(programs.Case):
    def options(self, name, *listen):
        return ["--state", self.folder / name, "--network", "e2e", "--quick-start", "--json",
                *(word for one in listen for word in ("--listen", one)),
                *(word for one in self.contacts for word in ("--bootstrap", one))]

    def dht(self, family):
        node = subprocess.Popen([DHT, "serve", "--listen", at(DHT_NODE, family, 0), "--json"],
                                stdout=subprocess.PIPE, text=True)
        self.addCleanup(node.stdout.close)
        self.addCleanup(node.wait, 30)
        self.addCleanup(node.terminate)
        return json.loads(node.stdout.readline())["address"]

    def status(self, name):
        status, out, err = programs.run("status", "--json", "--state", self.folder / name)
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)

    def eventually(self, what):
        limit = time.monotonic() + programs.SECONDS
        while not what():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.5)

    def test_a_film_from_one_family_to_the_other(self):
        self.contacts = [self.dht(4), self.dht(6)]
        relays = [self.start("relay", "--workers", "2",
                             *self.options(f"relay{i}", at(i, 6), at(i, 4)))
                  for i in RELAYS]
        for i, relay in zip(RELAYS, relays):
            said = relay.wait_for("listening")
            self.assertEqual((said["address"], said["address_too"]), (at(i, 4), at(i, 6)))
            relay.wait_for("relay_ready")
        seeder = self.start("share", *self.options("seeder", at(SEEDER, 6, 0)), self.film(1 << 20))
        uri = seeder.wait_for("shared")["uri"]
        viewer = self.start("get", "-o", self.folder / "copy",
                            *self.options("viewer", at(VIEWER, 4, 0)), uri)
        self.assertEqual(viewer.process.wait(programs.SECONDS), 0)
        self.assertEqual((self.folder / "copy").read_bytes(),
                         (self.folder / "film.bin").read_bytes())

        # Every relay is reached at both addresses, and says so.
        for i in RELAYS:
            self.eventually(lambda i=i: all(a["by"] for a in self.status(f"relay{i}")["reach"]))
        state = self.status("relay1")
        self.assertEqual([a["address"] for a in state["reach"]], [at(1, 4), at(1, 6)])
        for end, family in (("main", 4), ("main_too", 6)):
            self.assertEqual(state["sockets"][end]["address"], at(1, family))
            for way in ("datagrams_in", "datagrams_out"):
                self.assertGreater(state["sockets"][end][way], 0, end)
        self.assertEqual(state["workers"], 2)
        status, out, err = programs.run("doctor", "--json", "--state", self.folder / "relay1")
        found = json.loads(out)
        said = [row["text"] for row in found if row["check"] == "reach"]
        self.assertEqual(len(said), 2, found)
        for family, text in zip((4, 6), said):
            self.assertIn(at(1, family), text)
        ports = " ".join(row["text"] for row in found if row["check"] == "ports")
        self.assertIn(at(1, 4), ports)
        self.assertIn(at(1, 6), ports)
        self.assertEqual({row["result"] for row in found if row["check"] in ("reach", "leaks")},
                         {"ok"}, found)
        status, out, err = programs.run("status", "--state", self.folder / "relay1")
        self.assertIn(f"Reach     {at(1, 6)}: ", out)

    def test_the_configuration_file_names_both(self):
        self.contacts = []
        file = self.folder / "culvert.conf"
        file.write_text(f"[node]\nlisten = {at(1, 6)}\nlisten = {at(1, 4)}\n")
        said = self.start("node", "--config", file, *self.options("n")).wait_for("listening")
        self.assertEqual((said["address"], said["address_too"]), (at(1, 4), at(1, 6)))
        # What the command line says is instead of it.
        said = self.start("node", "--config", file, *self.options("m", at(2, 6, 0)))
        self.assertNotIn("address_too", said.wait_for("listening"))

    def test_what_is_refused(self):
        self.contacts = []
        rows = [
            ("relay", (at(3, 4), at(1, 4)), f"listen '{at(1, 4)}': is one too many: a node has one "
             "address of IPv4 and one of IPv6"),
            ("relay", (at(3, 4), at(3, 6, 7001)), "relay: the two addresses of --listen need the "
             "same port: others find one port for both"),
            ("relay", (at(3, 4), "[::1]:7000"), "--listen: one address is of this machine only and "
             "the other is not; a node on loopback speaks to loopback only"),
            ("relay", (at(3, 4), "[fd00::1]:7000"), "relay: --listen must name the public address "
             "others reach this relay at; 0.0.0.0, one behind a router and one of documentation "
             "(198.51.100.7) are none"),
            ("node", (at(3, 4), at(3, 6), "--direct"), "--direct: what is shared directly has one "
             "address; give --listen once"),
        ]
        for verb, listen, why in rows:
            with self.subTest(why):
                flags = [word for word in listen if word.startswith("--")]
                listen = [word for word in listen if not word.startswith("--")]
                status, _, err = programs.run(verb, *self.options("x", *listen), *flags)
                self.assertEqual((status, err), (2, f"culvert: {why}\n"))


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.alone()
    for each in (*RELAYS, SEEDER, VIEWER, DHT_NODE):
        address(each)
    programs.main()
