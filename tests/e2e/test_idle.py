#!/usr/bin/env python3
"""What a node that has nothing to do keeps in memory, once its circuits stand ready, and what
players that ask for a film and do not read it cost.

Sanitizers need a multiple of it: with them the release build of the same tree is asked,
build-release, where scripts/test makes one; without one the test is skipped."""
import json
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import programs
import village

KIB = 32 << 10  # resident, at most
SLOW, SLOW_KIB = 50, 8 << 10  # players that do not read; what they take together, at most
DHT = None


def peak(pid):
    """The most that was ever resident, in KiB."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def resident(pid):
    """What is resident now, in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def has_sanitizers(program):
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return "libasan" in linked or b"__asan_init" in pathlib.Path(program).read_bytes()


class Idle(programs.Case):
    def status(self, name):
        status, out, err = programs.run("status", "--state", self.folder / name, "--json")
        self.assertEqual(status, 0, err)
        return json.loads(out)

    def test_an_idle_node_is_small(self):
        people = village.Village(self, DHT, relays=4)
        node = people.start("node", "idle")
        node.wait_for("dht_ready")
        limit = time.monotonic() + programs.SECONDS
        while not (now := self.status("idle"))["circuits"] or not now["links"]:
            self.assertLess(time.monotonic(), limit, now)
            time.sleep(0.2)
        time.sleep(2)
        kib = {name: peak(program.process.pid) for name, program in
               zip(("relay", "node"), (self.running[0], node))}
        print(f"idle, with {now['circuits']} circuits: a node {kib['node']} KiB, a relay "
              f"{kib['relay']} KiB", flush=True)
        self.assertLessEqual(kib["node"], KIB)

    def test_slow_readers_cost_no_memory(self):
        octets = 16 << 20  # far more than the sockets between hold
        share = self.start("share", "--direct", *programs.options(self.folder, "seeder"),
                           self.film(octets))
        share.wait_for("shared")
        link = self.status("seeder")["swarms"][0]["link"]
        with urllib.request.urlopen(link, timeout=programs.SECONDS) as answer:  # warm
            self.assertEqual(len(answer.read()), octets)
        at = urllib.parse.urlsplit(link)
        before = resident(share.process.pid)
        readers = []
        for _ in range(SLOW):
            reader = socket.create_connection((at.hostname, at.port), timeout=programs.SECONDS)
            self.addCleanup(reader.close)
            reader.sendall(f"GET {at.path}?{at.query} HTTP/1.1\r\n"
                           f"Host: {at.netloc}\r\n\r\n".encode())
            readers.append(reader)
        for reader in readers:
            self.assertEqual(reader.recv(12, socket.MSG_PEEK), b"HTTP/1.1 200")
        most = 0
        for _ in range(10):  # as much as it likes to send
            most = max(most, resident(share.process.pid))
            time.sleep(0.1)
        print(f"{SLOW} slow readers: {most - before} KiB", flush=True)
        self.assertLessEqual(most - before, SLOW_KIB)


def main():
    global DHT
    root = pathlib.Path(sys.argv.pop(3))
    DHT = sys.argv.pop(2)
    release = root / "build-release/src/cli/culvert"
    if has_sanitizers(sys.argv[1]):
        if not release.is_file():
            print("skipped: no build without sanitizers is there")
            sys.exit(77)
        sys.argv[1] = str(release)
    programs.main()


if __name__ == "__main__":
    main()
