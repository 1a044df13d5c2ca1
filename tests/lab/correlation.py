"""Viewers, each with a hidden seeder of its own, all real programs in network namespaces, and the
tap of somebody who watches the line of every one of them (scripts/bench/correlation).

Every flow has a machine at either end: several films behind one seeder's line would hide each
other there, and the observer is to have it as easy as he can. A viewer plays, pauses and seeks
as its dice say, by its player link, from which its player reads two seconds ahead; the habits are
those of tests/scenarios/correlation.c. What is wanted comes first, but `culvert play` goes on
fetching while its player pauses. So a seeder's line carries 1.3 times what the film needs: without
a limit the film comes as fast as forty programs can on one machine, and then nothing does.

There are no delays but the machine's. One that does not keep up hides flows: so it is said which
part of its time was left, how long pictures stood still and what viewers sent of the constant rate.
"""
import contextlib
import http.client
import os
import random
import socket
import struct
import subprocess
import threading
import time
import urllib.parse

import network
import scene
from observer import BIN, Counts

RELAYS = 16
BITRATE = 62_500  # octets a second: half of a Mbit/s
LIMIT = BITRATE * 13 // 10  # octets a second that a seeder gives
LONGER = 120  # seconds by which a film is longer than what is watched: it comes all the time
MBIT = 2  # of the constant rate
BUFFER, STARTS = 2.0, 1.0  # seconds a player has ahead, and shows the first with
COMING = 10  # seconds in which viewers come
BEFORE = 20  # seconds until the middle begins, or longer, until everybody has met and
SETTLED = 5  # seconds have passed since
OVERLAY = 1232  # octets of payload
NOMINAL = MBIT * 1e6 / 8 / OVERLAY  # datagrams a second, each way
COOKED, COOKED_HEAD, HEADERS = 276, 20, 40  # captures of any device: link type, its header, and IP's with it
OUT = 4  # in such a header: sent by this machine


class Tap:
    """Every viewer's and seeder's line, in one capture at the router: eighty would be
    woken by every datagram. A datagram that passes the router is taken where it comes from or goes to
    one of them."""

    def __init__(self, net, path, viewers, seeders):
        self.path = path
        self.viewer = {socket.inet_aton(host.address): i for i, host in enumerate(viewers)}
        self.seeder = {socket.inet_aton(host.address): i for i, host in enumerate(seeders)}
        numbers = [int(host.address.split(".")[1]) for host in [*viewers, *seeders]]
        ends = [f"(ip[{at}] >= {numbers[0]} and ip[{at}] <= {last})"
                for at, last in ((13, numbers[-1]), (17, numbers[len(viewers) - 1]))]
        only = f"udp and ip[2:2] = {OVERLAY + 28} and ((inbound and {ends[0]}) or (outbound and {ends[1]}))"
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", net.router, "tcpdump", "-i", "any", "-y", "LINUX_SLL2", "-w", str(path),
             "-s", str(HEADERS), "-B", "65536", "-Z", "root", only], stderr=subprocess.PIPE)
        limit = time.monotonic() + 60
        while not path.exists() or path.stat().st_size < 24:
            if time.monotonic() > limit or self.process.poll() is not None:
                self.process.kill()
                raise scene.Failed(f"no capture: {self.process.communicate()[1].decode()}")
            time.sleep(0.02)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.path.unlink(missing_ok=True)

    def end(self):
        time.sleep(2)  # what it has not read by then would be lost
        self.process.terminate()
        _, err = self.process.communicate()
        lost = [line for line in err.decode().split("\n") if "dropped by kernel" in line]
        if not lost or not lost[0].startswith("0 "):
            raise scene.Failed(f"the capture is not whole: {err.decode()}")

    def datagrams(self):
        """(when, which viewer's line or None, which seeder's or None, was it given to them)"""
        data = self.path.read_bytes()
        magic, kind = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, 20)[0]
        if magic != 0xA1B2C3D4 or kind != COOKED:
            raise scene.Failed(f"another capture than was asked for: {magic:x}, {kind}")
        at, frame = 24, struct.Struct("<IIII10xB")
        while at + 16 + HEADERS <= len(data):
            seconds, part, length, _, way = frame.unpack_from(data, at)
            end = at + 16 + COOKED_HEAD + (16 if way == OUT else 12)
            address = data[end:end + 4]
            at += 16 + length
            yield seconds + part * 1e-6, self.viewer.get(address), self.seeder.get(address), way == OUT


class Viewer(threading.Thread):
    """Comes, then plays, pauses and seeks until it is told to end."""

    def __init__(self, lab, host, name, film, dice, more):
        super().__init__(daemon=True)
        self.lab, self.host, self.node, self.dice, self.more, self.film = lab, host, name, dice, more, film
        self.comes = dice.uniform(0, COMING)
        self.uri, self.program, self.wrong = None, None, None
        self.shown, self.stood = 0.0, 0.0  # seconds of pictures
        self.ended = threading.Event()

    def run(self):
        try:
            time.sleep(self.comes)
            self.program = self.lab.start(self.node, "play", 0, "--no-player", "--no-share", *self.more,
                                          self.uri, at=self.host.name)
            self.url = urllib.parse.urlsplit(self.program.wait_for("link")["url"])
            plays = False
            while not self.ended.is_set():
                plays = not plays or self.dice.random() < 0.5  # or seeks
                if plays:
                    self.play(time.monotonic() + self.dice.uniform(3, 12))
                else:
                    self.ended.wait(self.dice.uniform(2, 6))
        except Exception as error:  # pylint: disable=broad-except
            self.wrong = error

    def connection(self):
        """To the player link, which is on the loopback of that namespace."""
        link = http.client.HTTPConnection(self.url.hostname, self.url.port)
        with network.within(self.host.space):
            link.sock = socket.create_connection((self.url.hostname, self.url.port))
        return contextlib.closing(link)

    def play(self, until):
        """From a place of the dice's until then, when the player hangs up."""
        at = self.dice.randrange(int(self.film * 3 / 4)) * BITRATE
        with self.connection() as link:
            begun, ahead, last = False, 0.0, time.monotonic()
            try:
                for octets in self.read(link, at, until):
                    now = time.monotonic()
                    passed, last, there = now - last, now, octets / BITRATE
                    if begun:
                        self.shown += min(passed, ahead)
                        self.stood += max(0.0, passed - ahead)
                        ahead = max(0.0, ahead - passed)
                    ahead += there
                    begun = begun or ahead >= STARTS  # how long a jump takes is no standing still
                    self.ended.wait(max(0.0, min(ahead - BUFFER, until - now)))
            except TimeoutError:
                passed = until - last
                self.shown += min(passed, ahead) if begun else 0
                self.stood += max(0.0, passed - ahead) if begun else 0

    def read(self, link, at, until):
        """How many octets came, each time that some do."""
        self.limit(link, until)
        link.request("GET", f"{self.url.path}?{self.url.query}", headers={"Range": f"bytes={at}-"})
        answer = link.getresponse()
        if answer.status != 206:
            raise scene.Failed(f"{self.node}: the player link says {answer.status}")
        while time.monotonic() < until and not self.ended.is_set():
            self.limit(link, until)
            if not (data := answer.read1(BITRATE // 4)):
                raise scene.Failed(f"{self.node}: the player link ended early")
            yield len(data)

    @staticmethod
    def limit(link, until):
        link.sock.settimeout(max(0.001, until - time.monotonic()))


def busy():
    """Ticks of all processors: (idle, all)."""
    with open("/proc/stat", encoding="ascii") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


class Correlation:
    def __init__(self, lab, flows, seconds, seed):
        self.lab, self.flows, self.seconds, self.seed = lab, flows, seconds, seed
        self.film = (seconds + LONGER) * LIMIT // BITRATE  # seconds
        self.counts, self.said = {}, {}

    def run(self):
        viewers, seeders = ([f"{what}{i}" for i in range(self.flows)] for what in ("viewer", "seeder"))
        self.lab.bring_up(RELAYS, *viewers, *seeders)
        self.viewers, self.seeders = ([self.lab.net.hosts[name] for name in names] for names in (viewers, seeders))
        films = [self.lab.folder / f"{name}.film" for name in seeders]
        try:
            for film in films:
                film.write_bytes(os.urandom(BITRATE * self.film))
            self.watch("plain", films, [])
            self.watch("constant", films, ["--constant-rate", str(MBIT)])
        finally:  # so much is not to stay when something failed
            for film in films:
                film.unlink(missing_ok=True)

    def watch(self, mode, films, more):
        """Both ends of every flow from their beginning to their end, and the tap between."""
        lab = self.lab
        shares = [lab.start(f"{mode}-{host.name}", "share", 0, "--upload-limit", str(LIMIT), *more, film, at=host.name)
                  for host, film in zip(self.seeders, films)]
        viewers = [Viewer(lab, host, f"{mode}-{host.name}", self.film, random.Random(f"{self.seed} {i}"), more)
                   for i, host in enumerate(self.viewers)]
        for viewer, share in zip(viewers, shares):
            viewer.uri = share.wait_for("shared")["uri"]
        with contextlib.closing(Tap(lab.net, lab.folder / f"{mode}.pcap", self.viewers, self.seeders)) as tap:
            begun = time.time()
            for viewer in viewers:
                viewer.start()
            self.wait_until_met(viewers, begun)
            middle, before = time.time(), self.look(viewers)
            time.sleep(self.seconds)
            end, after = time.time(), self.look(viewers)
            have = self.still_there(viewers, shares)
            tap.end()
            for viewer in viewers:
                viewer.ended.set()
            for program in [*(v.program for v in viewers), *shares]:
                program.stop()
            for viewer in viewers:
                viewer.join()
            idle, ticks, shown, stood = (b - a for a, b in zip(before, after))
            self.said[mode] = {"idle": idle / ticks, "shown": shown, "stood": stood}
            self.count(mode, tap, (begun, middle, end), have)

    def wait_until_met(self, viewers, begun):
        while any(not v.program for v in viewers):
            self.wrong(viewers)
            time.sleep(0.1)
        for viewer in viewers:
            viewer.program.wait_for("peer_up")
        time.sleep(max(SETTLED, begun + BEFORE - time.time()))

    @staticmethod
    def look(viewers):
        """Ticks of all processors, idle ones and all; seconds of pictures shown, and standing still."""
        with open("/proc/stat", encoding="ascii") as f:
            ticks = [int(word) for word in f.readline().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks), sum(v.shown for v in viewers), sum(v.stood for v in viewers)

    @staticmethod
    def wrong(viewers):
        for viewer in viewers:
            if viewer.wrong:
                raise viewer.wrong

    def still_there(self, viewers, shares):
        """How much of its film each viewer has."""
        self.wrong(viewers)
        for program in [*(v.program for v in viewers), *shares]:
            if program.process.poll() is not None:
                raise scene.Failed(f"{program.host.name} has ended")
        return [sum(last + 1 - first for swarm in self.lab.ask(viewer.node, "status").get("swarms", [])
                    for first, last in swarm["ranges"]) for viewer in viewers]

    def count(self, mode, tap, times, have):
        begun, middle, end = times
        counts, bins = Counts(self.flows), int((end - begun) / BIN)
        counts.viewers = [[0] * bins for _ in range(self.flows)]
        counts.seeders = [[0] * bins for _ in range(self.flows)]
        counts.middle = int((middle - begun) / BIN)
        octets, sent = 0, [0] * self.flows
        for when, viewer, seeder, given in tap.datagrams():
            at = int((when - begun) / BIN)
            if not 0 <= at < bins:
                continue
            if given:
                counts.viewers[viewer][at] += 1
            elif seeder is not None:
                counts.seeders[seeder][at] += 1
                continue
            if at >= counts.middle:
                octets += OVERLAY
                sent[viewer] += not given
        for i, film in enumerate(have):
            least = OVERLAY * min(sum(counts.viewers[i]), sum(counts.seeders[i]))
            if not BITRATE <= film <= least:
                raise scene.Failed(f"viewer {i} has {film} octets of its film, by a capture of {least}: not all "
                                   "of it was captured, or nothing came")
        kept = [datagrams / ((end - middle) * NOMINAL) for datagrams in sent]
        self.counts[mode] = counts
        self.said[mode] |= {"octets": octets, "kept": sum(kept) / self.flows, "kept_least": min(kept)}


def watched(culvert, dht, flows, seconds, seed):
    """Counts of either mode, and what is to be said of the run."""
    seen = {}

    def play(lab):
        seen["lab"] = Correlation(lab, flows, seconds, seed)
        seen["lab"].run()
    scene.perform("correlation", play, culvert, dht)
    return seen["lab"].counts, seen["lab"].said
