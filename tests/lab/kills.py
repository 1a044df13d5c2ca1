#!/usr/bin/python3
"""Relays are killed, one after the other, while somebody watches: real programs, each
in a network namespace of its own.

    kills.py [--kills N] [--pause SECONDS] CULVERT CULVERT-DHT

A seeder gives 1.2 times the bitrate of the film, a player reads at the bitrate from a
buffer of five seconds; what came faster it skips. Every PAUSE seconds one relay of
a way in use is killed (-9): guards, second relays and rendezvous points of the viewer,
guards, second and third relays of the seeder, and the introduction point through which
the two met last, in turn; it comes back with its folder before the next one goes. Prints
for each kill the longest time in which nothing new came to a player that had room for it,
and for how long the picture stood still, and at the end the longest of each kind and of
all. What does not come for longer than the buffer holds makes the picture stand still:
that it never does is the test.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from scene import SECONDS, Failed, perform  # noqa: E402

RELAYS = 12
BITRATE = 125_000  # octets a second
BUFFER = 5
INTRODUCTION = -1  # instead of a hop
KINDS = [("the viewer's guard", "viewer", 0), ("the viewer's second relay", "viewer", 1),
         ("the rendezvous point", "viewer", 2), ("the seeder's guard", "seeder", 0),
         ("the seeder's second relay", "seeder", 1), ("the seeder's third relay", "seeder", 2),
         ("the introduction point", "seeder", INTRODUCTION)]


class Introductions:
    """A seeder's trace, which alone says through which point somebody came."""

    def __init__(self, path):
        self.path, self.read, self.point = path, 0, None

    def last(self):
        with open(self.path, "rb") as f:
            f.seek(self.read)
            lines = f.read().split(b"\n")
        for line in lines[:-1]:  # the last may still be written
            self.read += len(line) + 1
            if b'"introduced"' in line:
                self.point = str(json.loads(line)["point"])
        return self.point


class Player(threading.Thread):
    """Reads at the bitrate; says for how long nothing came, and nothing was left to be played."""

    def __init__(self, host, url):
        super().__init__(daemon=True)
        # the link is on the loopback of that namespace
        self.source = subprocess.Popen(host.command("curl", "-sSNf", url), stdout=subprocess.PIPE)
        self.got, self.ended, self.wrong = 0, False, None
        self.played, self.seen, self.begun = 0.0, 0, None
        self.without, self.stood = 0.0, 0.0  # just now: since something came, since it was played
        self.longest, self.still = 0.0, 0.0  # since forget(): the longest of each

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
            self.begun = time.monotonic()
        hungry = self.got == self.seen and self.ahead() < BUFFER and not self.ended
        self.seen = self.got
        self.without = self.without + passed if hungry else 0.0
        self.longest = max(self.longest, self.without)
        step = passed if self.ended else min(passed, max(0.0, self.ahead()))
        self.played += step
        self.stood = self.stood + passed - step if step < passed else 0.0
        self.still = max(self.still, self.stood)

    def forget(self):
        self.longest = self.still = 0.0

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
            if self.without > SECONDS:
                raise Failed(f"nothing came for {self.without:.0f} s")


def run(lab, args):
    lab.bring_up(RELAYS, "seeder", "viewer")
    film = lab.folder / "film.bin"
    with open(film, "wb") as f:
        for _ in range((args.kills + 2) * (args.pause + 10) * BITRATE * 2 >> 20):
            f.write(os.urandom(1 << 20))
    url = lab.watch(lab.share("seeder", film, BITRATE * 6 // 5, "--trace",
                              lab.folder / "trace"))
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
    longest, still, killed = {}, 0.0, 0
    introductions = Introductions(lab.folder / "trace")
    while killed < args.kills:
        player.play(args.pause)
        player.keep_up(lab.here() / BITRATE)
        player.play(SECONDS, lambda: player.ahead() >= BUFFER)
        kind, way, hop = KINDS[killed % len(KINDS)]
        relay = lab.identity.get(introductions.last()) if hop == INTRODUCTION else \
            lab.on_way(way, hop)
        if not relay:
            continue
        ahead = lab.here() / BITRATE - player.played
        still = max(still, player.still)  # between two kills
        player.forget()
        lab.programs[relay].stop()
        player.play(15)
        longest[kind] = max(longest.get(kind, 0.0), player.longest)
        still = max(still, player.still)
        killed += 1
        print(f"  kill {killed:2}: {kind}, {relay}, {ahead:.1f} s ahead: nothing came for "
              f"{player.longest:.2f} s, stood still for {player.still:.2f} s", flush=True)
        lab.start(relay, "relay", 7000).wait_for("relay_ready")
    for kind, waited in longest.items():
        print(f"  {kind}: longest wait {waited:.2f} s")
    print(f"{killed} kills, longest wait {max(longest.values(), default=0.0):.2f} s of the "
          f"{BUFFER} in the buffer; the picture stood still for {still:.2f} s")
    if still > 0:
        raise Failed(f"the picture stood still for {still:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pause", type=int, default=5)
    parser.add_argument("culvert")
    parser.add_argument("dht")
    args = parser.parse_args()
    perform("kills", lambda lab: run(lab, args), args.culvert, args.dht)


if __name__ == "__main__":
    main()
