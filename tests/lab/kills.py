#!/usr/bin/python3
"""Relays are killed, one after the other, while somebody watches: real programs, each
in a network namespace of its own.

    kills.py [--kills N] [--pause SECONDS] CULVERT CULVERT-DHT

A seeder gives 1.2 times the bitrate of the film, a player reads at the bitrate from a
buffer of five seconds; what came faster it skips. Every PAUSE seconds one relay of
a way in use is killed (-9): guards, second relays and rendezvous points of the viewer,
guards, second and third relays of the seeder, in turn; it comes back with its folder
before the next one goes. Prints for each kill the longest time that the player had to
wait for, and at the end the longest of all. How long that is depends on the machine; a
player that is never served again fails the test.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from nacl.signing import SigningKey

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import network  # noqa: E402

RELAYS = 12
BITRATE = 125_000  # octets a second
BUFFER = 5
NAME = "lab"
SECONDS = 300  # until something counts as never happening
WAYS = [("viewer", 0), ("viewer", 1), ("viewer", 2), ("seeder", 0), ("seeder", 1), ("seeder", 2)]


class Failed(Exception):
    pass


class Program:
    """One of ours in a namespace; its events, one JSON object a line."""

    def __init__(self, host, folder, *args):
        self.host, self.args = host, args
        self.log = open(folder / f"{host.name}.log", "ab")
        self.process = subprocess.Popen(host.command(*args), stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.events, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()

    def wait_for(self, name):
        limit = time.monotonic() + SECONDS
        with self.changed:
            while not (found := [e for e in self.events if e.get("event") == name]):
                if not self.changed.wait(max(0, limit - time.monotonic())):
                    raise Failed(f"{self.host.name}: no '{name}': {self.events[-3:]}")
        return found[0]

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        self.log.close()


class Player(threading.Thread):
    """Reads at the bitrate; says how long it had to wait."""

    def __init__(self, host, url):
        super().__init__(daemon=True)
        # the link is on the loopback of that namespace
        self.source = subprocess.Popen(host.command("curl", "-sSNf", url), stdout=subprocess.PIPE)
        self.got, self.ended, self.wrong = 0, False, None
        self.played, self.waiting, self.waited, self.worst = 0.0, True, 0.0, 0.0
        self.begun = None

    def run(self):
        while data := self.source.stdout.read1(16384):
            self.got += len(data)
            # no further ahead than a player's buffer goes
            while self.got - self.played * BITRATE > (BUFFER + 1) * BITRATE:
                time.sleep(0.02)
        self.ended = True
        if self.source.wait():
            self.wrong = f"curl ended with {self.source.returncode}"

    def ahead(self):
        return self.got / BITRATE - self.played

    def tick(self, passed):
        """So much time passed."""
        if self.begun is None:
            if self.ahead() < BUFFER:
                return
            self.begun, self.waiting = time.monotonic(), False
        if self.ahead() >= passed or self.ended:
            self.played += passed
            self.waiting, self.waited = False, 0.0
            return
        self.waiting = True
        self.waited += passed
        self.worst = max(self.worst, self.waited)

    def keep_up(self, there):
        """What came faster than it was played is not to help with what follows."""
        self.played = max(self.played, there - BUFFER - 1)

    def play(self, seconds, until=lambda: False):
        """Lets time pass; raises when nothing more comes."""
        end = last = time.monotonic()
        end += seconds
        while time.monotonic() < end and not until():
            time.sleep(0.05)
            now = time.monotonic()
            self.tick(now - last)
            last = now
            if self.wrong:
                raise Failed(f"the link broke: {self.wrong}")
            if self.waited > SECONDS:
                raise Failed(f"nothing came for {self.waited:.0f} s")


class Lab:
    def __init__(self, net, folder, culvert, dht):
        self.net, self.folder, self.culvert, self.dht = net, folder, culvert, dht
        self.programs, self.identity = {}, {}

    def start(self, name, verb, port, *more):
        host = self.net.hosts[name]
        self.programs[name] = Program(
            host, self.folder, self.culvert, verb, "--state", self.folder / name, "--listen",
            host.at(port), "--bootstrap", self.net.hosts["bootstrap"].at(6881), "--network", NAME,
            "--quick-start", "--json", *more)
        return self.programs[name]

    def bring_up(self, octets):
        for number, name in enumerate(["bootstrap", *(f"relay{i}" for i in range(RELAYS)), "seeder",
                                       "viewer"]):
            self.net.add(name, 20 + number)
        host = self.net.hosts["bootstrap"]
        self.programs["bootstrap"] = Program(host, self.folder, self.dht, "serve", "--listen",
                                             host.at(6881), "--json")
        for i in range(RELAYS):
            self.start(f"relay{i}", "relay", 7000)
        for i in range(RELAYS):
            name = f"relay{i}"
            self.programs[name].wait_for("relay_ready")
            self.identity[self.own_name(name)] = name
        film = self.folder / "film.bin"
        with open(film, "wb") as f:
            for _ in range(octets >> 20):
                f.write(os.urandom(1 << 20))
        seeder = self.start("seeder", "share", 0, "--upload-limit", str(BITRATE * 6 // 5), film)
        uri = seeder.wait_for("shared")["uri"]
        viewer = self.start("viewer", "play", 0, "--no-player", "--no-share", uri)
        return viewer.wait_for("link")["url"]

    def own_name(self, relay):
        """What paths call it: the first octets of its public key."""
        seed = (self.folder / relay / "identity").read_bytes()
        return SigningKey(seed).verify_key.encode()[:4].hex()

    def ask(self, name, what):
        out = subprocess.run([self.culvert, what, "--state", str(self.folder / name), "--json"],
                             capture_output=True, check=False)
        return json.loads(out.stdout) if out.returncode == 0 else {}

    def here(self):
        """Octets from the beginning of the film on that the viewer's node has."""
        swarms = self.ask("viewer", "status").get("swarms") or [{"ranges": []}]
        return next((last + 1 for first, last in swarms[0]["ranges"] if first == 0), 0)

    def on_way(self, name, hop):
        """A relay at this place of a way that is in use; None: there is none just now."""
        for row in self.ask(name, "path") or []:
            if len(row["path"]) > hop and row["path"][hop] in self.identity:
                return self.identity[row["path"][hop]]
        return None


def run(lab, args):
    url = lab.bring_up((args.kills + 2) * (args.pause + 10) * BITRATE * 2)
    player = Player(lab.net.hosts["viewer"], url)
    player.start()
    try:
        kill(lab, args, player)
    finally:
        player.source.kill()


def kill(lab, args, player):
    player.play(SECONDS, lambda: player.begun)
    if not player.begun:
        raise Failed("the film never began")
    worst, killed = 0.0, 0
    while killed < args.kills:
        player.play(args.pause)
        player.keep_up(lab.here() / BITRATE)
        player.play(SECONDS, lambda: player.ahead() >= BUFFER - 0.5)
        way, hop = WAYS[killed % len(WAYS)]
        relay = lab.on_way(way, hop)
        if not relay:
            continue
        ahead, player.worst = lab.here() / BITRATE - player.played, 0.0
        lab.programs[relay].stop()
        player.play(15)
        worst = max(worst, player.worst)
        killed += 1
        print(f"  kill {killed:2}: {relay}, hop {hop + 1} of the {way}'s, {ahead:.1f} s ahead: waited "
              f"{player.worst:.2f} s", flush=True)
        lab.start(relay, "relay", 7000).wait_for("relay_ready")
    print(f"{killed} kills, longest wait {worst:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pause", type=int, default=5)
    parser.add_argument("culvert")
    parser.add_argument("dht")
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-kills-"))
    lab = None
    try:
        with network.Network(folder, "culvert-lab") as net:
            lab = Lab(net, folder, args.culvert, args.dht)
            try:
                run(lab, args)
            finally:
                for program in lab.programs.values():
                    if program.process.poll() is None:
                        program.stop()
    except Failed as error:
        print(f"kills: {error}; logs in {folder}", file=sys.stderr)
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
