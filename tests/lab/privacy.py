#!/usr/bin/python3
"""What real nodes show of who watches and who seeds: thirty of them, each in a network
namespace of its own.

    privacy.py [--streams N] [--records N] CULVERT CULVERT-DHT CULVERT-LEDGER CULVERT-SIM

Twelve relays, each with a node beside it on the same machine (a relay does nothing else),
and eighteen nodes without one. Each shares a hidden film and watches those of others. One
of the eighteen is the adversary's and shares a film of its own; outside there is one who pulls from
every seeder again and again, and is the adversary's too. This goes on until so many streams have been watched to their end and so many half-blocks signed; an
epoch of the ledgers is 42 seconds and called a week, so a quarter of a second is an hour.

Written down are: the circuits, by what both ends say of their ways; each half-block, when
its owner's ledger had it, and whether the ledgers that culvert-ledger exports and gossip brought
together have the same; and captures of every relay, of the adversary's seeder and of the puller. How
much of each of the adversary's own streams and pulls can have gone to, or come from, each neighbour of
a relay is what both wires carried in the same quarter of a second.

scripts/privacy-adversary learns from simulated networks how to weigh that, and judges this
run, in which each relay in turn is the adversary's. It must find no more than decision 0089 says,
and everything in a ledger that settles each circuit when it closes, made of the same circuits: viewers and
seeders also where both ends' half-blocks are planted as these ledgers would have been read, a little later and each
by itself, by what tells of the real rows that they show nobody.
"""
import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import network  # noqa: E402
import scene  # noqa: E402
from scene import Failed  # noqa: E402

RELAYS, OTHERS = 12, 18
OWN = RELAYS  # the adversary's seeder, among the nodes by number
PULLER = "puller"
PORT = 7000
OVERLAY = 1232
OCTETS = 384 << 10
RATE = 160 << 10  # of one film, octets a second
WEEK = 42  # seconds
HOUR = WEEK / 168
PART = 0.25  # seconds: how finely streams are known again on wires
TOGETHER = 3  # who watch at a time
SECONDS = 300  # until something counts as never happening
LONGEST = 5400  # of all
ACK_PART = 30  # what goes back, of what comes
HEARD = 0.5 + 0.1 / HOUR  # hours until a half-block is read: committed, and looked for


class Local(http.client.HTTPConnection):
    """A running node's socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self.path))


class Stream:
    """Somebody watched, or the adversary pulled: `viewer` is None then."""

    def __init__(self, viewer, seeder):
        self.viewer, self.seeder = viewer, seeder
        self.begun, self.over = 0.0, 0.0
        self.ways, self.theirs = set(), set()  # of viewer and seeder, as numbers of relays
        self.points = []  # introduction points that were used

    def chains(self):
        """Whole circuits, from the seeder to the viewer, or to the rendezvous of a pull."""
        for way in sorted(self.ways):
            for their in sorted(self.theirs):
                if their[-1] == way[-1]:
                    yield [self.seeder, *their, *(() if self.viewer is None else
                                                  (*way[-2::-1], self.viewer))]


def counted(path):
    """(from, to, part of a second): overlay datagrams of a capture. Ends are (address, is it a
    relay's port)."""
    cells = collections.Counter()
    for p in network.read_pcap(path):
        if p.kind == "udp" and p.size == OVERLAY:
            cells[(p.source, p.sport == PORT), (p.target, p.dport == PORT), int(p.time / PART)] += 1
    return cells


class Privacy:
    def __init__(self, lab, args):
        self.lab, self.args = lab, args
        self.relays = [f"relay{i}" for i in range(RELAYS)]
        self.nodes = [f"node{i}" for i in range(RELAYS + OTHERS)]  # the first ones beside relays
        self.hosts = self.relays + self.nodes[RELAYS:]
        self.shares, self.unknown = [], []
        self.dice = random.Random(int.from_bytes(os.urandom(4), "big"))
        self.uri, self.number, self.keys = [], {}, []
        self.streams, self.pulls = [], []
        self.busy, self.free = set(), threading.Condition()
        self.blocks = {}  # (owner, seq): (time, peer, given, taken)
        self.failed, self.ended = [], threading.Event()

    def state(self, name):
        return self.lab.folder / name

    # ---- the nodes

    def bring_up(self):
        lab = self.lab
        lab.bring_up(RELAYS, *self.hosts[RELAYS:], PULLER)
        for name, host in zip([*self.nodes, PULLER], [*self.hosts, PULLER]):
            lab.start(name, "node", 0, "--no-share", "--trace", lab.folder / f"{name}.trace", at=host)
        for name in [*self.nodes, PULLER]:
            lab.programs[name].wait_for("listening")
        self.number = {short: self.relays.index(name) for short, name in lab.identity.items()}
        self.keys = [lab.key(name) for name in self.relays]
        for number, name in enumerate(self.nodes):
            self.film(number).write_bytes(os.urandom(OCTETS))
            self.shares.append(scene.Program(
                lab.net.hosts[self.hosts[number]], lab.folder, lab.culvert, "share", "--state", self.state(name), "--json",
                "--upload-limit", str(RATE), self.film(number)))
        self.uri = [share.wait_for("shared")["uri"] for share in self.shares]

    def ways(self, name, film):
        """To whom this node exchanges that film with, as numbers of relays."""
        with contextlib.closing(Local(self.state(name) / "api.sock")) as node:
            node.request("GET", "/api/path")
            rows = json.load(node.getresponse())
        return {tuple(self.number[hop] for hop in row["path"]) for row in rows
                if row["name"] == film and row["path"]}

    def watch(self, s):
        name = PULLER if s.viewer is None else self.nodes[s.viewer]
        out = self.lab.folder / f"{name}.out"
        s.begun = time.time()
        get = subprocess.Popen([self.lab.culvert, "get", "--state", self.state(name), "--json", "--no-share",
                                "-o", out, self.uri[s.seeder]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        limit = time.monotonic() + SECONDS
        while get.poll() is None:
            s.ways |= self.ways(name, self.film(s.seeder).name)
            s.theirs |= self.ways(self.nodes[s.seeder], self.film(s.seeder).name)
            if time.monotonic() > limit:
                get.kill()
            time.sleep(0.1)
        s.over = time.time()
        _, err = get.communicate()
        if get.returncode or out.read_bytes() != self.film(s.seeder).read_bytes():
            raise Failed(f"{name} did not get {self.nodes[s.seeder]}'s film: {err.decode()}")
        out.unlink()

    def introductions(self):
        """By which points somebody came, as seeders tell in their traces when they have ended."""
        for name in self.nodes:
            self.lab.programs[name].stop(signal.SIGINT)
        ahead = time.time() - time.monotonic()  # of the clock in traces
        for number, name in enumerate(self.nodes):
            with open(self.lab.folder / f"{name}.trace", encoding="ascii") as f:
                told = [json.loads(line) for line in f if '"introduced"' in line]
            for s in (s for s in self.streams + self.pulls if s.seeder == number):
                s.points = [self.number[str(t["point"])] for t in told
                            if s.begun <= t["t"] / 1e6 + ahead <= s.over and str(t["point"]) in self.number]

    def film(self, seeder):
        return self.lab.folder / f"{self.nodes[seeder]}.film"

    # ---- who watches what, when

    def take(self, choose):
        """A stream whose two are free; both are taken."""
        with self.free:
            while not self.ended.is_set():
                s = choose()
                if s:
                    self.busy |= {s.viewer, s.seeder}
                    return s
                self.free.wait(5)
        return None

    def give_back(self, s):
        with self.free:
            self.busy -= {s.viewer, s.seeder}
            self.free.notify_all()

    def some_stream(self):
        """Every third is of the adversary's film, by whom it has been watched least."""
        free = [i for i in range(len(self.nodes)) if i not in self.busy and i != OWN]
        if OWN not in self.busy and free and self.dice.random() < 1 / 3:
            times = collections.Counter(s.viewer for s in self.streams if s.seeder == OWN)
            return Stream(min(free, key=lambda i: (times[i], self.dice.random())), OWN)
        return Stream(*self.dice.sample(free, 2)) if len(free) > 1 else None

    def some_pull(self):
        times = collections.Counter(p.seeder for p in self.pulls)
        free = [i for i in range(len(self.nodes)) if i not in self.busy and i != OWN]
        return Stream(None, min(free, key=lambda i: (times[i], self.dice.random()))) if free else None

    def go_on(self, choose, done):
        try:
            while s := self.take(choose):
                self.watch(s)
                done.append(s)
                self.give_back(s)
                time.sleep(self.dice.random())
        except Exception as e:  # pylint: disable=broad-except
            self.failed.append(e)
            self.ended.set()

    # ---- the ledgers

    def hear(self):
        """The half-blocks that a relay signed, from its own file, as soon as they are there."""
        try:
            with contextlib.ExitStack() as files:
                ledgers = [files.enter_context(contextlib.closing(sqlite3.connect(
                    f"file:{self.state(name) / 'ledger.db'}?mode=ro", uri=True, timeout=60))) for name in self.relays]
                newest = [0] * RELAYS
                while not self.ended.is_set():
                    for i, ledger in enumerate(ledgers):
                        for seq, peer, given, taken in ledger.execute(
                                "SELECT b.seq, p.pk, b.given, b.taken FROM block b JOIN peer o ON o.id = b.owner "
                                "JOIN peer p ON p.id = b.peer WHERE o.pk = ? AND b.seq > ? ORDER BY b.seq",
                                (self.keys[i], newest[i])):
                            self.blocks[i, seq] = (time.time(), self.keys.index(peer), given, taken)
                            newest[i] = seq
                    time.sleep(HOUR / 2)
        except Exception as e:  # pylint: disable=broad-except
            self.failed.append(e)
            self.ended.set()

    def exported(self, name):
        """(owner, seq): (peer, given, taken) of all half-blocks that a relay knows."""
        out = network.run(self.args.ledger, "--db", self.state(name) / "ledger.db", "export", "--format", "ndjson")
        blocks = {}
        for line in out.splitlines():
            if raw := bytes.fromhex(json.loads(line).get("record", "")):
                number = [int.from_bytes(raw[at:at + 8], "little") for at in (34, 146, 154)]
                blocks[self.keys.index(raw[2:34]), number[0]] = (self.keys.index(raw[42:74]), *number[1:])
        return blocks

    def look_at_ledgers(self):
        """Nobody in them is no relay (or it would have no number), what gossip brought is what was
        signed, and privacy-check has no complaint."""
        shares = []
        for name in self.relays:
            blocks = self.exported(name)
            for key, said in blocks.items():
                if key in self.blocks and self.blocks[key][1:] != said:
                    raise Failed(f"{name} knows another half-block {key} than was signed")
            own = {key for key in self.blocks if key[0] == self.relays.index(name)}
            if own - blocks.keys():
                raise Failed(f"{name} exports less than it signed")
            shares.append(len(self.blocks.keys() & blocks.keys()) / len(self.blocks))
            network.run(self.args.ledger, "--db", self.state(name) / "ledger.db", "privacy-check")
        print(f"  of {len(self.blocks)} half-blocks a relay had heard {min(shares):.0%} at least, "
              f"{sum(shares) / len(shares):.0%} in the mean", flush=True)
        if min(shares) < 0.5:
            raise Failed("gossip did not bring what was signed")

    # ---- the run

    def play(self):
        self.t0 = (time.time() // WEEK + 1) * WEEK  # a week begins
        while time.time() < self.t0:
            time.sleep(0.1)
        self.lab.net.start_captures("privacy", [*self.relays, self.nodes[OWN], PULLER], 64)
        threads = [threading.Thread(target=self.hear)]
        threads += [threading.Thread(target=self.go_on, args=(self.some_stream, self.streams))
                    for _ in range(TOGETHER)]
        threads.append(threading.Thread(target=self.go_on, args=(self.some_pull, self.pulls)))
        for thread in threads:
            thread.start()
        limit, told = time.monotonic() + LONGEST, 0
        while not self.ended.wait(1):
            if len(self.streams) >= self.args.streams and len(self.blocks) >= self.args.records:
                break
            if time.monotonic() > limit:
                self.failed.append(Failed(f"{len(self.streams)} streams and {len(self.blocks)} half-blocks "
                                          f"after {LONGEST} s"))
                break
            if time.time() - self.t0 > told * WEEK:
                told += 1
                print(f"  week {told}: {len(self.streams)} streams, {len(self.pulls)} pulls, "
                      f"{len(self.blocks)} half-blocks", flush=True)
        self.ended.set()
        with self.free:
            self.free.notify_all()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]
        self.end = time.time()
        self.look_at_ledgers()
        self.cells = self.lab.net.stop_captures(counted)
        self.introductions()
        self.unknown = [s for s in self.streams + self.pulls if not any(s.chains())]
        print(f"  {len(self.streams)} streams and {len(self.pulls)} pulls, of {len(self.unknown)} the circuits "
              f"are not known, {sum(len(list(s.chains())) for s in self.streams + self.pulls)} circuits, "
              f"{sum(len(s.points) for s in self.pulls)} points met at, "
              f"{sum(sum(c.values()) for c in self.cells.values())} datagrams", flush=True)

    # ---- what the adversary gets of it

    def hour(self, when):
        return (when - self.t0) / HOUR

    def end_of(self, number):
        return self.lab.net.hosts[self.hosts[number]].address

    def own_wire(self, s):
        """Part of a second: datagrams of the adversary's own stream or pull, on its own wire."""
        name, out = (PULLER, False) if s.viewer is None else (self.nodes[OWN], True)
        address = self.lab.net.hosts[name].address
        parts = collections.Counter()
        for (source, target, part), n in self.cells[name].items():
            if (source if out else target)[0] == address and s.begun <= (part + 1) * PART and part * PART <= s.over:
                parts[part] += n
        return parts

    def overlaps(self, spy, s, wire):
        """Of everybody: how much of that can have come from (pull), or gone to him (stream)."""
        me, fits = self.end_of(spy), collections.Counter()
        seen = self.by_part[spy]
        for part, n in wire.items():
            came = collections.Counter()
            for source, target, cells in seen.get(part, ()):
                here, there = (target, source) if s.viewer is None else (source, target)
                if here[0] == me:
                    came[there[0]] += cells
            for address, cells in came.items():
                fits[address] += min(n, cells)
        return {who: fits[self.end_of(who)] * OVERLAY for who in range(len(self.nodes))
                if fits[self.end_of(who)]}

    def worlds(self, f):
        """As scripts/privacy-adversary reads them; one for each relay."""
        own = [(i, s) for i, s in enumerate(self.streams) if s.seeder == OWN and s not in self.unknown]
        pulls = [p for p in self.pulls if p not in self.unknown]
        targets = sorted({p.seeder for p in pulls})
        wires = {s: self.own_wire(s) for s in pulls + [s for _, s in own]}
        octets = {s: sum(w.values()) * OVERLAY for s, w in wires.items()}
        # What the ledgers would have had, and when it would have been read, had both ends of each link
        # signed what a circuit carried when it closed.
        self.settled = [(self.hour(s.over) + self.dice.uniform(0, HEARD), *row) for s, part, a, b in self.links(octets)
                        for row in ((a, b, part, part // ACK_PART), (b, a, part // ACK_PART, part))]
        self.by_part = []
        for name in self.relays:
            by_part = collections.defaultdict(list)
            for (source, target, part), n in self.cells[name].items():
                by_part[part].append((source, target, n))
            self.by_part.append(by_part)
        for spy in range(RELAYS):
            self.world(f, spy, own, pulls, [t for t in targets if t != spy], wires, octets)

    def links(self, octets):
        """(stream or pull, octets, from, to) of each link of all circuits."""
        for s in self.streams + self.pulls:
            chains = list(s.chains())
            for chain in chains:
                for a, b in zip(chain, chain[1:]):
                    yield s, octets.get(s, OCTETS) // len(chains), a, b

    def world(self, f, spy, own, pulls, targets, wires, octets):
        def say(*fields):
            print(*fields, sep=",", file=f)
        say("world", spy, len(self.nodes), RELAYS, int(self.hour(self.end)) + 1)
        for i in range(RELAYS):
            say("relay", i, 1, int(i == spy))
        for i, target in enumerate(targets):
            say("truth", "seeder", i, target)
        for i, target in enumerate(targets):
            for guard in sorted({c[1] for s in self.streams + self.pulls if s.seeder == target for c in s.chains()}):
                say("truth", "guard", i, guard)
        for who in self.clients(spy):
            say("client", who)
        before = collections.defaultdict(lambda: (0, 0))
        for (owner, _), (when, peer, given, taken) in sorted(self.blocks.items()):
            gave, took = before[owner, peer]
            say("row", "culvert", f"{self.hour(when):.4f}", owner, peer, given - gave, taken - took)
            before[owner, peer] = (given, taken)
        for s, part, a, b in self.links(octets):
            say("row", "control", f"{self.hour(s.over):.4f}", a, b, part, part // ACK_PART)
        for when, *row in self.settled:
            say("row", "planted", f"{when:.4f}", *row)
        for i, s in own:
            if s.viewer == spy:
                continue
            say("stream", i, f"{self.hour(s.over):.4f}", octets[s], int(self.hour(s.begun)))
            say("truth", "viewer", i, s.viewer)
            self.beside(say, s, spy, "stream", i)
            for chain in s.chains():
                say("shown", "stream", i, "rendezvous", chain[4])
            for who, n in self.overlaps(spy, s, wires[s]).items():
                say("capture", int(self.hour(s.begun)), spy, -1, who, n // 2, "", 0, 0)
        for s in pulls:
            for who, n in self.overlaps(spy, s, wires[s]).items():
                say("capture", int(self.hour(s.begun)), spy, who, -1, n, "", 0, 0)
            if s.seeder not in targets:
                continue
            i = targets.index(s.seeder)
            say("pull", i, int(self.hour(s.begun)), octets[s], int(self.hour(s.over)))
            self.beside(say, s, spy, "pull", i)
            for chain in s.chains():
                if chain[-1] == spy:
                    say("shown", "pull", i, "third", chain[-2])
            for point in s.points:
                say("shown", "pull", i, "introduction", point)

    def beside(self, say, s, spy, of, number):
        for chain in s.chains():
            for i in range(1, len(chain)):
                if chain[i] == spy:
                    after = chain[i + 1] if i + 1 < len(chain) else -1
                    say("capture", int(self.hour(s.begun)), spy, chain[i - 1], after, 0, of, number,
                        len(chain) - 1 - i)

    def clients(self, spy):
        """Who begins circuits at this relay: nobody else comes from another port than a relay's. A
        few datagrams are questions, and what a new node has for its first contacts."""
        came = collections.Counter()
        for (source, target, _), n in self.cells[self.relays[spy]].items():
            if source[0] != self.end_of(spy) and not source[1] and target[1]:
                came[source[0]] += n
        return [who for who in range(len(self.nodes)) if who != OWN and came[self.end_of(who)] > OCTETS // OVERLAY // 4]

    def judge(self):
        path = self.lab.folder / "worlds.csv"
        with open(path, "w", encoding="ascii") as f:
            self.worlds(f)
        if self.args.keep:
            shutil.copy(path, self.args.keep)
        script = HERE.parents[1] / "scripts" / "privacy-adversary"
        status = subprocess.run([sys.executable, script, self.args.sim, "--worlds", "40", "--judge", path],
                                check=False).returncode
        if status:
            raise Failed("the adversary finds more than neighbours see, or too little where it is told all")

    def stop(self):
        self.ended.set()
        for share in self.shares:
            share.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--keep", metavar="FILE", help="what the adversary is told, for another look")
    for program in ("culvert", "dht", "ledger", "sim"):
        parser.add_argument(program)
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-privacy-"))
    try:
        with network.Network(folder) as net:
            lab = scene.Lab(net, folder, args.culvert, args.dht, "--epoch", f"{WEEK}s", "--epoch-minimum", "16K")
            run = Privacy(lab, args)
            try:
                run.bring_up()
                run.play()
            finally:
                run.stop()
                lab.end()
        run.judge()
    except Failed as error:
        print(f"privacy: {error}; logs in {folder}", file=sys.stderr)
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
