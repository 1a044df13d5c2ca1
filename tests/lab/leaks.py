#!/usr/bin/env python3
"""The leak lab: the demo's topology in network namespaces, every wire captured.

    leaks.py [--six] [--whole] [--seed N] CULVERT CULVERT-DHT

- film: a hidden seeder, six relays and a DHT node; a viewer gets the film. Then every
  relay's memory, files and output are searched for what it carried, and for whom; over IPv4
  what relays count of each other is held against the wires.
- left: another viewer, whose node goes on, leaves the film: its keys are gone from its memory.
- reseeding: the seeder has gone, a second viewer gets the film from the first. The same
  claims, the same search. What viewers and seeders write down is searched, too, for each
  other's addresses.
- exit: somebody shares a film directly, on the Internet; a viewer gets it through a
  swarm exit. The same search; the exit sees the film, and writes down nothing of it.
- rate: seeder and viewer keep a constant rate while nobody reads, somebody does, and
  nobody does any more.
- closed: the first again while relays, the DHT node, seeder and viewer are killed and the
  links of a relay, seeder and viewer are cut: fail closed. Who and for how long is drawn.
- planted: for each reason for which a claim that was asked can be red, a leak is planted with
  real datagrams, in the memory of a process or in a file; it must turn it red.

With --six all addresses are of IPv6. By default IPv4 has film, left, exit and closed, and IPv6
has reseeding (after a film) and rate; with --whole either has all of it.
"""
import argparse
import base64
import contextlib
import copy
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import types

from nacl.signing import SigningKey

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import claims  # noqa: E402
import network  # noqa: E402
import search  # noqa: E402

RELAYS = 6
NAME = "lab"
MARKER = b"culvert-lab-mark"
OPEN_MARKER = b"culvert-lab-open"  # of what is shared directly: its exit may have it in memory
OCTETS = 6 * 1024 * 1024
SECONDS = 300  # until something counts as never happening, on the slowest machine


class Failed(Exception):
    pass


class Program:
    def __init__(self, host, folder, *args):
        self.name = host.name
        self.log = open(folder / f"{host.name}.log", "ab")
        self.process = subprocess.Popen(host.command(*args), stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.events = []
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                try:
                    self.events.append({**json.loads(line), "seen": time.time()})
                except ValueError:
                    continue
                self.changed.notify_all()

    def wait_for(self, name, seconds=SECONDS, count=1):
        """The event of this name, the last of the first `count`."""
        limit = time.monotonic() + seconds
        with self.changed:
            while True:
                found = [event for event in self.events if event.get("event") == name]
                if len(found) >= count:
                    return found[count - 1]
                if not self.changed.wait(max(0, limit - time.monotonic())):
                    raise Failed(f"{self.name}: no '{name}' within {seconds} s: "
                                 f"{self.events[-3:]}")

    def stop(self, how=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def described(uri):
    """The x= of a link, as it stands there: 17 octets and the swarm id, in base32."""
    return uri.split("x=")[1].split("&")[0]


def swarm_id(uri):
    text = described(uri).upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))[17:]


class Lab:
    def __init__(self, culvert, dht, six=False, seed=0):
        self.culvert, self.dht, self.six, self.seed = culvert, dht, six, seed
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-lab-"))
        self.film = self.make_film("film.bin", OCTETS)
        self.programs = {}
        self.printed = {}  # by whoever ran last under this name
        self.everything = {}  # forms that were looked for
        self.relays = [f"relay{i}" for i in range(1, RELAYS + 1)]
        self.hidden = ["seeder", "viewer", "viewer2"]
        self.exits = self.relays[-1:]
        self.elsewhere = "2a99:5::9" if six else "45.99.9.9"  # nobody's
        # Relay, hidden host, and the host's port, between whom a datagram went, ever; and the
        # same without the port.
        self.met = set()
        self.apart = 0  # pairs of a relay and a port it never met, that its memory was searched for
        self.worlds = {}  # claims that were asked: of which world
        self.seen = {}  # claim: reasons that planted leaks had it give
        # Over IPv6 the ledger releases what it counted. Over IPv4 nothing is, so that the exact
        # counts can be held against the wires: no epoch that is long ends within the hour.
        self.epoch = "60s" if six else next(
            f"{days}d" for days in (7, 6, 5) if time.time() % (days * 86400) < days * 86400 - 3600)

    def make_film(self, name, octets, marker=MARKER):
        path = self.folder / name
        filler = os.urandom(48 * 64)
        with open(path, "wb") as f:
            for i in range(octets // 64):
                at = (i * 7) % 3000
                f.write(marker + filler[at:at + 40] + i.to_bytes(8, "big"))
        return path

    def start(self, name, *args):
        host = self.net.hosts[name]
        state = self.folder / name
        program = Program(host, self.folder, self.culvert, *args[:1], "--state", state, "--listen",
                          host.at(args[1] if args[0] == "relay" else 0), "--bootstrap",
                          self.net.hosts["bootstrap"].at(6881), "--network", NAME,
                          "--quick-start", "--epoch", self.epoch, "--json", *args[2:])
        self.programs[name] = program
        self.printed.setdefault(name, []).append(program.events)
        return program

    def status(self, name, what="path"):
        # The control socket is a file: no need to be in the host's namespace. It may not be there
        # yet when the program was started a moment ago.
        limit = time.monotonic() + SECONDS
        while True:
            out = subprocess.run([self.culvert, what, "--state", str(self.folder / name), "--json"],
                                 capture_output=True, check=False)
            if out.returncode == 0:
                return json.loads(out.stdout)
            if time.monotonic() > limit or self.programs[name].process.poll() is not None:
                raise Failed(f"{name}: no {what}: {out.stderr.decode()}")
            time.sleep(0.1)

    def say_what_they_know(self):
        """When something did not happen: what those that still run say of themselves."""
        for name, program in self.programs.items():
            if name in self.relays + ["bootstrap"] or program.process.poll() is not None:
                continue
            for what in ("status", "peers", "path"):
                out = subprocess.run([self.culvert, what, "--state", str(self.folder / name),
                                      "--json"], capture_output=True, check=False, timeout=30)
                print(f"{name} {what}: {out.stdout.decode()}{out.stderr.decode()}",
                      file=sys.stderr)

    def first_hops(self, world, name):
        """By what the node says of its links; what the wires say must agree."""
        known = {row["address"].rsplit(":", 1)[0].strip("[]") for row in
                 self.status(name, "status")["first_hops"]}
        world.first_hops.setdefault(name, set()).update(world.name[a] for a in known)

    def end(self, name, how=signal.SIGKILL):
        """Ends a program, and notes when: a handshake of a moment ago may never be a link that it
        could tell of, and nobody receives what is sent to a relay that is gone."""
        if name in self.hidden:
            self.first_hops(self.world, name)
        before = time.time()
        self.programs.pop(name).stop(how)
        self.world.ended.setdefault(name, []).append(time.time())
        self.world.dead[name] = before

    def bring_up(self):
        numbers = {"bootstrap": 10, **{r: 20 + i for i, r in enumerate(self.relays)},
                   "seeder": 40, "viewer": 41, "viewer2": 42, "viewer3": 43,
                   "seeder2": 44, "viewer4": 45, "internet": 50}
        for name, number in numbers.items():
            self.net.add(name, number)
        self.drops = network.backlog_drops()
        self.net.start_captures("film")
        host = self.net.hosts["bootstrap"]
        self.programs["bootstrap"] = Program(host, self.folder, self.dht, "serve", "--listen",
                                             host.at(6881), "--json")
        for relay in self.relays:
            self.start(relay, "relay", "7000", *(["--exit"] if relay in self.exits else []))
        for relay in self.relays:
            self.programs[relay].wait_for("relay_ready")

    def share(self):
        seeder = self.start("seeder", "share", "", "--upload-limit", "4M", self.film)
        uri = seeder.wait_for("shared")["uri"]
        self.world = claims.World(NAME, self.net.hosts, self.hidden, self.relays, swarm_id(uri),
                                  MARKER)
        return uri

    def view(self, name, uri, *more):
        return self.start(name, "play", "", "--no-player", *more, uri)

    def view_whole(self, name, uri):
        viewer = self.view(name, uri, "-o", self.folder / f"{name}.bin")
        viewer.wait_for("complete")
        if (self.folder / f"{name}.bin").read_bytes() != self.film.read_bytes():
            raise Failed(f"{name} has another film than the seeder")

    def check(self, captures, part, of=claims.CLAIMS, world=None):
        failed, world = [], world or self.world
        for claim in of:
            self.worlds.setdefault(claim, world)
            bad = claim(world, captures)
            print(f"  {'ok  ' if not bad else 'FAIL'} {claim.__name__}", flush=True)
            for line in bad[:5]:
                print(f"       {line}")
            if bad:
                failed.append(claim.__name__)
        if failed:
            raise Failed(f"{part}: {', '.join(failed)}")

    def end_captures(self, octets=0):
        """What was captured, and who met whom in it; fails when it cannot be all."""
        captures = self.net.stop_captures()
        total = sum(len(p) for p in captures.values())
        print(f"  {total} packets on {len(captures)} wires", flush=True)
        if total < 4 * octets // 1000:
            raise Failed("the captures hold less than the film needed: they are not whole")
        at = self.world.address
        for name, packets in captures.items():
            relay_at = {at[relay]: relay for relay in self.relays}
            for p in packets:
                for relay, port in ((relay_at.get(p.source), p.dport), (relay_at.get(p.target), p.sport)):
                    if relay:
                        self.met |= {(relay, name), (relay, name, port)}
        return captures

    def end_those_of_before(self):
        for name in self.hidden:
            if name in self.programs:
                self.end(name, signal.SIGINT)

    def film_run(self):
        print("a film through the overlay", flush=True)
        self.uri = self.share()
        self.view_whole("viewer", self.uri)
        for name in ("seeder", "viewer"):
            self.first_hops(self.world, name)
        if not self.six:
            self.read_counts()
        captures = self.end_captures(OCTETS)
        for name in ("seeder", "viewer"):
            hops = ", ".join(sorted(self.world.first_hops[name]))
            print(f"  {name}: {len(captures[name])} packets, first hops {hops}")
        self.check(captures, "film")
        self.searched(captures, "film")
        if not self.six:
            self.check(captures, "counters", claims.COUNTED_CLAIMS)
            self.planted_counts(captures)

    def reseeding(self):
        print("a viewer gives what it has, the first seeder has gone", flush=True)
        self.end("seeder", signal.SIGINT)
        self.world.gone = ["seeder"]
        self.net.start_captures("reseeding")
        self.view_whole("viewer2", self.uri)
        for name in ("viewer", "viewer2"):
            self.end(name, signal.SIGINT)
        captures = self.end_captures(OCTETS)
        # Who knew whom before these captures began is not in them: but of the second viewer.
        self.check(captures, "reseeding", [c for c in claims.CLAIMS + claims.RESEEDING_CLAIMS
                                           if c is not claims.contacts_come_by_dht])
        self.check({"viewer2": captures["viewer2"]}, "reseeding", [claims.contacts_come_by_dht])
        self.searched(captures, "reseeding")
        self.world.gone = []

    # ---- what relays count

    def ledger_counts(self):
        """(relay, other): octets (given, taken), of all epochs that are not released yet."""
        seeds = {relay: (self.folder / relay / "identity").read_bytes() for relay in self.relays}
        name = {SigningKey(seed).verify_key.encode(): relay for relay, seed in seeds.items()}
        counts = {}
        for relay in self.relays:
            with contextlib.closing(sqlite3.connect(
                    f"file:{self.folder / relay / 'ledger.db'}?mode=ro", uri=True, timeout=60)) as db:
                for other, given, taken in db.execute(
                        "SELECT p.pk, sum(l.pending_out), sum(l.pending_in) FROM link l "
                        "JOIN peer p ON p.id = l.peer GROUP BY p.pk"):
                    counts[relay, name[other]] = (given, taken)
        return counts

    def read_counts(self):
        """When nothing much is on its way any more: the film is there, what was counted is written
        within two seconds, and those who are idle say some ten things a second."""
        limit, now = time.monotonic() + 60, self.ledger_counts()
        while time.monotonic() < limit:
            time.sleep(2)
            before, now = now, self.ledger_counts()
            new = sum(given - before.get(pair, (0, 0))[0] for pair, (given, _) in now.items())
            apart = max(abs(given - now.get((b, a), (0, 0))[1]) for (a, b), (given, _) in now.items())
            if new < claims.CONTROL // 2 * claims.OVERLAY and \
                    apart < claims.IN_FLIGHT // 2 * claims.OVERLAY:
                break
        self.world.counts, self.world.counted = now, time.time()
        self.world.backlog = network.backlog_drops() - self.drops
        for relay in self.relays:
            host = self.net.hosts[relay]
            names, values = [line.split() for line in
                             network.run(*host.command("cat", "/proc/net/snmp")).splitlines()
                             if line.startswith("Udp:")]
            self.world.dropped[relay] = int(values[names.index("RcvbufErrors")])
        print(f"  {sum(now[pair][0] for pair in now) // claims.OVERLAY} cells between relays by their own "
              f"counts; lost in kernels: {sum(self.world.dropped.values())} and {self.world.backlog}")
        if sum(given for given, _ in now.values()) < OCTETS:
            raise Failed(f"the relays' ledgers count less than the film: {now}")

    def planted_counts(self, captures):
        """Packets of a pair counted once too often on the wire, or by one of the two."""
        world = copy.copy(self.world)
        (a, b), (given, taken) = max(world.counts.items(), key=lambda row: row[1][0])
        there, back = world.counts[b, a]
        pair = [p for p in captures[a] if p.source == world.address[a] and p.target == world.address[b]]
        rows = [({**captures, a: captures[a] + pair}, {}), (captures, {(a, b): (2 * given, taken)}),
                (captures, {(b, a): (there, 2 * back)}), (captures, {(b, a): (there, back // 2)})]
        for seen, counts in rows:
            world.counts = {**self.world.counts, **counts}
            self.noticed(claims.counters_agree, [line for line in claims.counters_agree(world, seen)
                                                 if line.startswith(f"{a} -> {b}:")])

    # ---- constant rate

    def wait_for_datagrams(self, name):
        """Until it has sent so many as the rate has in two seconds; on a slow machine that takes
        longer, and without a rate for ever."""
        def sent():
            return self.status(name, "status")["sockets"]["own"]["datagrams_out"]
        first, limit = sent(), time.monotonic() + SECONDS
        while sent() < first + 2 * claims.NOMINAL:
            if time.monotonic() > limit:
                raise Failed(f"{name} keeps no rate while nobody reads")
            time.sleep(0.2)

    def constant_rate(self):
        print("a constant rate, with and without somebody who reads", flush=True)
        film = self.make_film("paced.bin", OCTETS * 3 // 8)
        self.end_those_of_before()
        self.net.start_captures("rate")
        seeder = self.start("seeder2", "share", "", "--constant-rate", claims.RATE, film)
        uri = seeder.wait_for("shared")["uri"]
        world = claims.World(NAME, self.net.hosts, ["seeder2", "viewer4"], self.relays,
                             swarm_id(uri), MARKER)
        viewer = self.view("viewer4", uri, "--no-share", "--constant-rate", claims.RATE)
        url = viewer.wait_for("link")["url"]
        viewer.wait_for("peer_up", count=2)
        time.sleep(1)  # both ways keep it by now
        turns = [time.time()]
        self.wait_for_datagrams("viewer4")
        turns.append(time.time())
        read = subprocess.run(self.net.hosts["viewer4"].command("curl", "-sS", url),
                              capture_output=True, check=False, timeout=SECONDS)
        turns.append(time.time())
        self.wait_for_datagrams("viewer4")
        turns.append(time.time())
        for name in world.hidden:
            self.first_hops(world, name)
            self.programs.pop(name).stop(signal.SIGKILL)
            world.ended[name] = [time.time()]
        if read.stdout != film.read_bytes():
            raise Failed("the player has another film than the seeder")
        world.phases = list(zip(("before", "reading", "after"), turns, turns[1:]))
        world.paced = world.hidden
        captures = self.end_captures(OCTETS * 3 // 8)
        self.check(captures, "rate", [c for c in claims.CLAIMS + claims.PACED_CLAIMS
                                      if c is not claims.contacts_come_by_dht], world)
        for what, begin, end in world.phases:
            sent = sum(begin <= p.time < end and claims.is_overlay(p) and
                       p.source == world.address["viewer4"] for p in captures["viewer4"])
            print(f"  {what}: {end - begin:.1f} s, {sent / (end - begin):.0f} datagrams a second sent")
        self.searched(captures, "rate", world)

    # ---- what relays keep

    def forms(self, world, captures, relay=None):
        """What was carried, and the keys of who knows it; and addresses of viewers and seeder: of
        all, or of those that `relay` never exchanged a datagram with; of the others the ports that it
        never met. Who asks the DHT is a neighbour, too, but by another port than that of circuits."""
        forms = {**search.of_content(world.swarm_id, world.marker), **world.member_keys}
        for name in world.hidden:
            mine = world.address[name]
            ports = {p.sport for p in captures.get(name, ()) if p.kind == "udp" and p.source == mine}
            strange = {port for port in ports if (relay, name, port) not in self.met}
            self.apart += len(strange) if relay else 0
            if (relay, name) not in self.met:
                forms.update(search.of_address(name, mine, ports))
            else:
                for port in strange:
                    forms.update(search.of_endpoint(name, mine, port))
        return forms

    def written(self, name, forms):
        """What a host's folder, log and output hold of it; and how many files there were."""
        places = [self.folder / name, self.folder / f"{name}.log"]
        bad = [f"{name}'s {file} holds {label}" for file, labels in
               search.in_files([p for p in places if p.exists()], forms).items() for label in labels]
        said = json.dumps(self.printed.get(name, [])).encode()
        bad += [f"{name} printed {label}" for label in search.found(said, forms)]
        return bad, 1 + sum(p.is_file() for p in places[0].rglob("*"))

    def relays_keep_nothing(self, world, captures, exits=()):
        """What is wrong with the memory of relays that run, and with the folders and the output of
        all; and how many octets and files that were. Exits may know what they carried, but not for
        whom, and write down nothing."""
        bad, octets, files = [], 0, 0
        everything = self.forms(world, captures)
        for relay in self.relays:
            forms = self.forms(world, captures, relay)
            if relay in exits:
                for label in search.of_content(world.swarm_id, world.marker):
                    del forms[label]
            if relay in self.programs:
                labels, read = search.in_memory(self.programs[relay].process.pid, forms)
                octets += read
                bad += [f"{relay}'s memory holds {label}" for label in labels]
            more, count = self.written(relay, everything)
            bad += more
            files += count
        return bad, octets, files

    def searched(self, captures, part, world=None, exits=(), ends=None):
        """Relays, and viewers and seeders of this world or of that of `ends`."""
        world = world or self.world
        self.apart = 0
        bad, octets, files = self.relays_keep_nothing(world, captures, exits)
        print(f"  {'ok  ' if not bad else 'FAIL'} relays_keep_nothing: {octets >> 20} MiB of memory, "
              f"{files} files, for {self.apart} ports that a relay never met", flush=True)
        if world.hidden and not self.apart:
            raise Failed(f"{part}: every relay met everybody; no memory was searched for an address")
        more, read, count = self.ends_keep_nothing(ends or world, captures)
        print(f"  {'ok  ' if not more else 'FAIL'} ends_keep_nothing: {read >> 20} MiB of memory, "
              f"{count} files", flush=True)
        bad += more
        if bad:
            raise Failed(f"{part}: " + "; ".join(bad[:5]))
        if octets < sum(relay in self.programs for relay in self.relays) << 20:
            raise Failed("the memory of the relays could not be read")
        self.everything.update(self.forms(world, captures))

    def ends_keep_nothing(self, world, captures):
        """The same of viewers and seeders: what they write down, and the memory of those that run,
        holds nobody's address who watches or shares, too."""
        bad, octets, files = [], 0, 0
        ends = [name for name in world.address if name not in (*self.relays, "bootstrap")]
        for name in world.hidden:
            forms = {}
            for other in ends:
                at = world.address[other]
                ports = {p.sport for p in captures.get(other, ())
                         if p.kind == "udp" and p.source == at}
                forms.update(search.of_address(other, at, ports) if other != name else {})
            if name in self.programs:
                labels, read = search.in_memory(self.programs[name].process.pid, forms)
                octets += read
                bad += [f"{name}'s memory holds {label}" for label in labels]
            more, count = self.written(name, forms)
            bad += more
            files += count
        return bad, octets, files

    # ---- who has left

    def keys_in_memory(self, name):
        """Those that members of the swarm have in common, and this node has."""
        return search.in_memory(self.programs[name].process.pid, self.world.member_keys)[0]

    def leaving(self):
        """A node that has some of a film or all of it leaves the swarm and goes on. Then its circuits
        are closed, and no relay's memory tells of it; he who left may still have octets of it and of
        its link in memory that he gave back, but none of its keys."""
        print("a viewer leaves the film, and its node goes on", flush=True)
        name = "viewer2"
        state = self.folder / name
        self.net.start_captures("left")
        self.start(name, "node", "").wait_for("listening")
        play = Program(self.net.hosts[name], self.folder, self.culvert, "play", "--state", state,
                       "--no-player", "--json", self.uri)
        self.printed[name].append(play.events)
        try:
            play.wait_for("first_chunk")
            self.wait_for_octets(name, OCTETS // 16)
            if claims.SECRET not in self.keys_in_memory(name):
                raise Failed(f"{name} watches, and its memory cannot be searched for keys")
            network.run(self.culvert, "rm", "--purge", "--yes", "--state", state, self.film.name)
        finally:
            play.stop()
        limit = time.monotonic() + SECONDS
        while self.status(name, "status")["swarms"] or self.status(name, "peers"):
            if time.monotonic() > limit:
                raise Failed(f"{name} has not left")
            time.sleep(0.1)
        kept = self.keys_in_memory(name)
        print(f"  {'ok  ' if not kept else 'FAIL'} keys_are_gone of who left", flush=True)
        if kept:
            raise Failed(f"{name} has left and its memory holds {', '.join(sorted(kept))}")
        for hidden in self.world.hidden:
            self.first_hops(self.world, hidden)
        captures = self.end_captures(OCTETS // 16)
        # Who knew whom before these captures began is not in them: but of who came.
        self.check(captures, "left", [c for c in claims.CLAIMS if c is not claims.contacts_come_by_dht])
        self.check({name: captures[name]}, "left", [claims.contacts_come_by_dht])
        came = copy.copy(self.world)
        came.hidden = [name]
        self.searched(captures, "left", came, ends=self.world)
        self.end(name, signal.SIGINT)
        shutil.rmtree(state)

    # ---- a direct swarm

    def through_an_exit(self):
        print("a direct swarm through a swarm exit", flush=True)
        self.net.start_captures("exit")
        film = self.make_film("direct.bin", OCTETS // 4, OPEN_MARKER)
        internet = self.start("internet", "share", "", "--direct", film)
        shared = internet.wait_for("shared")
        uri = shared["uri"]
        world = claims.World(NAME, self.net.hosts, ["viewer3"], self.relays, swarm_id(uri), OPEN_MARKER)
        world.exits, world.internet = self.exits, "internet"
        world.internet_port = int(shared["address"].rsplit(":", 1)[1])
        viewer = self.view("viewer3", uri, "-o", self.folder / "viewer3.bin")
        if len(viewer.wait_for("peer_up")["path"]) != 3:
            raise Failed("the path to an exit has not three hops")
        viewer.wait_for("complete")
        self.first_hops(world, "viewer3")
        for name in ("viewer3", "internet"):
            self.programs.pop(name).stop()
        captures = self.end_captures(OCTETS // 4)
        if (self.folder / "viewer3.bin").read_bytes() != film.read_bytes():
            raise Failed("viewer3 has another film than the one on the Internet")
        if sum(claims.is_outside(world, p) for p in captures["internet"]) < OCTETS // 4000:
            raise Failed("the film did not come from the Internet")
        # Relays know each other from before these captures.
        self.check(claims.without_outside(world, captures), "exit",
                   [c for c in claims.CLAIMS if c is not claims.contacts_come_by_dht], world)
        self.check(captures, "exit", claims.EXIT_CLAIMS, world)
        self.searched(captures, "exit", world, self.exits)

    # ---- fail closed

    def look(self):
        """What viewer and seeder say of their links now."""
        for name in ("viewer", "seeder"):
            self.first_hops(self.world, name)

    def cut_for_a_while(self, name, seconds):
        began = time.time()
        self.net.cut(name)
        time.sleep(seconds)
        self.net.cut(name, up=True)
        self.net.route(self.net.hosts[name])
        self.world.cuts.setdefault(name, []).append((began, time.time()))
        self.look()

    def wait_for_octets(self, name, octets):
        limit = time.monotonic() + SECONDS
        while sum(last + 1 - first for swarm in self.status(name, "status")["swarms"]
                  for first, last in swarm["ranges"]) < octets:
            if time.monotonic() > limit:
                raise Failed(f"{name} has not got {octets} octets")
            time.sleep(0.1)

    def fail_closed(self):
        dice = random.Random(self.seed)
        killed = dice.sample(self.relays, 3)
        cut = ["viewer", "seeder", dice.choice([r for r in self.relays if r not in killed])]
        dice.shuffle(cut)
        print(f"relays die and links are cut while a viewer gets the film (--seed {self.seed}): "
              f"{', '.join(killed)} die, {', '.join(cut)} are cut off", flush=True)
        self.end_those_of_before()
        self.net.start_captures("closed")
        seeder = self.start("seeder", "share", "", "--upload-limit", "500k", self.film)
        seeder.wait_for("shared")
        shutil.rmtree(self.folder / "viewer", ignore_errors=True)
        (self.folder / "viewer.bin").unlink()
        self.view("viewer", self.uri, "-o", self.folder / "viewer.bin")
        self.wait_for_octets("viewer", OCTETS // 16)
        self.look()
        for relay in killed:
            self.end(relay)
            time.sleep(dice.uniform(0.5, 1))
            self.look()
        for name in cut:
            self.cut_for_a_while(name, dice.uniform(0.5, 1.5))
        time.sleep(2)
        self.end("viewer")
        self.view("viewer", self.uri, "-o", self.folder / "viewer.bin")
        time.sleep(3)
        self.end("bootstrap")
        time.sleep(1)
        self.end("seeder")
        time.sleep(1)
        self.end("viewer")
        # Who knew whom before these captures began is not in them.
        captures = self.end_captures(OCTETS // 16)
        if silent := [n for n in ("viewer", "seeder", "bootstrap") if not captures[n]]:
            raise Failed(f"nothing was captured of {', '.join(silent)}")
        self.check(captures, "fail closed",
                   [c for c in claims.CLAIMS if c is not claims.contacts_come_by_dht])
        self.searched(captures, "fail closed")

    def plant(self, name, codes):
        """Runs pieces of Python on a host, each with a socket of its own: real datagrams on a real
        wire. Of each its port, and when it said that it was."""
        family = f"socket.AF_INET{'6' if self.six else ''}"
        program = ["import json, os, socket, time", "all = []"]
        for code in codes:
            program += [f"s, times = socket.socket({family}, socket.SOCK_DGRAM), []", code,
                        "all.append((s, times))"]
        program += ["print(json.dumps([(s.getsockname()[1], times) for s, times in all]))"]
        return json.loads(network.run(*self.net.hosts[name].command("python3", "-c", "\n".join(program))))

    def noticed(self, claim, bad):
        """What a planted leak had a claim say: something, and which of its reasons."""
        print(f"  {'ok  ' if bad else 'FAIL'} {claim.__name__}: "
              f"{bad[0] if bad else 'the planted leak went unnoticed'}", flush=True)
        if not bad:
            raise Failed(f"{claim.__name__} cannot fail")
        self.seen.setdefault(claim, set()).update(
            why for why in claims.reasons(claim) if any(line.endswith(why) for line in bad))

    def every_reason_was_given(self):
        for claim in self.worlds:
            missed = set(claims.reasons(claim)) - self.seen.get(claim, set())
            if self.six:  # nobody on the way splits a datagram of IPv6
                missed.discard("may be fragmented")
            if missed:
                raise Failed(f"{claim.__name__}: no planted leak had it say '{' or '.join(sorted(missed))}'")

    def planted_leaks(self):
        print("planted leaks turn every claim red", flush=True)
        for program in self.programs.values():
            program.stop(signal.SIGKILL)
        self.programs = {}
        at = self.world.address
        self.world.first_hops["viewer"].discard(self.relays[-1])
        for world in self.worlds.values():  # who died in this one would excuse what is planted
            world.dead, world.cuts, world.ended = {}, {}, {}
        rows = [row for row in self.plants() if row[0] in self.worlds]
        self.net.start_captures("planted")
        hosts = {name: [row for row in rows if row[1] == name] for _, name, _ in rows}
        planted = [(claim, name, *said) for name, its in hosts.items() for (claim, _, _), said in
                   zip(its, self.plant(name, [code for _, _, code in its]))]
        captures = self.net.stop_captures()
        for claim, name, port, times in planted:
            world = self.worlds[claim]
            own = {n: [p for p in packets if p.source in (at[name], self.elsewhere) and
                       (p.sport == port if p.kind == "udp" else claim is claims.nothing_else)]
                   for n, packets in captures.items()}
            if claim is claims.the_gone_give_nothing:
                world.gone = [name]
            if claim is claims.rate_tells_nothing:
                world.paced = [name]
                world.phases = list(zip(("before", "reading"), times, times[1:]))
            self.noticed(claim, claim(world, own))
        self.every_reason_was_given()
        self.planted_memory()
        self.planted_places("viewer", self.ends_keep_nothing)
        self.planted_places("relay1", self.relays_keep_nothing)

    def plants(self):
        """Claim, host, and the code that breaks the claim there."""
        at, world = self.world.address, self.world
        stranger, exit_ = self.relays[-1], self.exits[0]
        key = world.swarm_id[:20]
        relay_key = min(world.relay_keys)
        level = "socket.IPPROTO_IP" + "V6" * self.six

        def option(four, six, value):
            return f"s.setsockopt({level}, {six if self.six else four}, {value}); "

        def send(target, port, octets, before=""):
            return f"{before}s.sendto({octets}, ('{at.get(target, target)}', {port}))"

        def dht(says, asks=None, *more, info_hash=None):
            """A DHT message in Python, which may hold the socket's own port."""
            said = b"9:info_hash20:" + info_hash if info_hash else b""
            kind = b"1:q%d:%s" % (len(asks), asks) + b"".join(more) if asks else b""
            end = b"1:t1:x1:y1:%se" % (b"q" if asks else b"r")
            return f"{b'd1:ad2:id20:' + bytes(20) + said!r}+{says}+{b'e' + kind + end!r}"

        only = b"2:roi1e"
        own_port = "b'4:porti%de' % s.getsockname()[1]"
        # IP_MTU_DISCOVER, IP_TTL, IP_TOS and IP_TRANSPARENT, or their twins
        whole, split = option(10, 23, 2), option(10, 23, 0)
        cell, bound = f"os.urandom({claims.OVERLAY})", "s.bind(('', 0)); "
        question = os.urandom(claims.OVERLAY)
        question = question[:36] + claims.question_code(world, question) + question[52:]
        rows = [
            (claims.hidden_ones_only_read, "viewer", send("bootstrap", 7, dht("b''"))),
            (claims.hidden_ones_only_read, "viewer", send("bootstrap", 7, dht("b''", b"ping"))),
            (claims.hidden_ones_only_read, "viewer",
             send("bootstrap", 7, dht("b''", b"announce_peer", only))),
            (claims.hidden_ones_only_read, "viewer", send("bootstrap", 7, dht("b''", b"put", only))),
            (claims.relays_announce_themselves, "relay1",
             send("bootstrap", 7, dht("b''", b"get_peers", info_hash=key))),
            (claims.relays_announce_themselves, "bootstrap",
             send("relay1", 7, dht(own_port, b"announce_peer", info_hash=relay_key), bound)),
            (claims.relays_announce_themselves, "relay1",
             send("bootstrap", 7, dht("b'4:porti1e'", b"announce_peer", info_hash=relay_key))),
            (claims.strangers_never_meet, "viewer", send("seeder", 7, cell, whole)),
            (claims.strangers_never_meet, "bootstrap",
             send("viewer", 7, dht(repr(search.packed(at["seeder"]))))),
            (claims.only_first_hops, "viewer", send(stranger, 7000, cell, whole)),
            (claims.only_first_hops, "viewer",
             f"{whole}[{send(stranger, 7000, repr(question))} for _ in range({claims.QUESTIONS + 1})]"),
            (claims.only_first_hops, stranger, send("viewer", 7, cell, whole)),
            (claims.few_first_hops, "viewer",
             "; ".join(send(relay, 7000, cell, whole) for relay in self.relays[:claims.SAMPLE + 1])),
            (claims.no_content_key, "viewer", send("bootstrap", 7, dht("b''", b"get_peers", info_hash=key))),
            (claims.one_size, "relay1", send("relay2", 7, f"os.urandom({claims.OVERLAY - 1})", whole)),
            (claims.one_size, "relay1", send("relay2", 7, cell, whole + option(1, 67, 4))),
            (claims.one_size, "relay2", send("relay1", 7, cell, whole + option(2, 16, 63))),
            (claims.nothing_else, "viewer", send(self.elsewhere, 53, "os.urandom(40)")),
            (claims.nothing_else, "viewer", send("relay1", 53, "os.urandom(40)")),
            (claims.nothing_else, "relay2",
             send("relay1", 7000, cell, option(19, 75, 1) + f"s.bind(('{self.elsewhere}', 0)); ")),
            (claims.nothing_else, "relay3",
             "raw = socket.socket(s.family, socket.SOCK_RAW, "
             f"{'socket.IPPROTO_ICMPV6' if self.six else 'socket.IPPROTO_ICMP'}); "
             f"raw.sendto({bytes([128 if self.six else 8]) + bytes(7)!r}, ('{at['relay1']}', 0))"),
            (claims.nothing_else, "relay4",
             "tcp = socket.socket(s.family); tcp.setblocking(False); "
             f"tcp.connect_ex(('{at['relay1']}', 80))"),
            (claims.contacts_come_by_dht, "viewer", send("relay3", 7000, cell, whole)),
            (claims.the_gone_give_nothing, "seeder", send("relay1", 7000, cell)),
            # The claims of who gave and who got, of viewers that give.
            (claims.strangers_never_meet, "viewer2", send("viewer", 7, cell, whole)),
            (claims.no_content_key, "viewer2", send("bootstrap", 7, dht("b''", b"get_peers", info_hash=key))),
        ]
        if not self.six:
            rows += [(claims.one_size, "relay1", send("relay2", 7, cell, split))]
        rows += [(claims.nothing_in_clear, "relay1",
                  send("relay2", 7000, f"os.urandom(600)+{form!r}+os.urandom(9)"))
                 for form in [*claims.clear_forms(world).values(), described(self.uri).encode()]]
        call = "bytes(5)+os.urandom(60)"
        internet = self.worlds.get(claims.only_exits_meet_the_internet)
        private = "fd00::9" if self.six else "10.9.9.9"
        rows += [
            (claims.viewer_and_internet_never_meet, "viewer3", send("internet", 9000, "os.urandom(40)")),
            (claims.viewer_and_internet_never_meet, "bootstrap",
             send("viewer3", 7, dht(repr(search.packed(at["internet"]))))),
            (claims.exits_speak_ppspp_only, exit_, send("internet", 9000, "os.urandom(40)")),
            (claims.exits_speak_ppspp_only, exit_, send("internet", 53, call)),
            (claims.exits_speak_ppspp_only, exit_, send(private, 9000, call)),
            (claims.exits_speak_ppspp_only, exit_,
             send("internet", 9000, call, f"s.bind(('', {claims.RELAY_PORT})); ")),
            (claims.exits_speak_ppspp_only, exit_, send("internet", 9000, call) + "; " +
             send("internet", 9000, "bytes(4)+b'\\x20'+os.urandom(600)")),
            (claims.exits_speak_ppspp_only, exit_, send("internet", 9000, cell)),
            (claims.only_exits_meet_the_internet, "relay1",
             send("internet", internet.internet_port if internet else 0, call)),
        ]
        # A pause, and more than the rate at once.
        rows += [(claims.rate_tells_nothing, "viewer4",
                  "times.append(time.time()); [([" + send("relay1", 7000, cell) + " for _ in range(n)], "
                  "time.sleep(0.5), times.append(time.time())) for n in (10, 3000)]")]
        return rows

    @contextlib.contextmanager
    def keeper(self, name, kept):
        """In place of a host's program one that has all of these octets in its memory."""
        command = ["python3", "-c", "import sys; kept = [bytes.fromhex(l) for l in sys.stdin]; "
                   "print(len(kept), flush=True); import time; time.sleep(600)"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write("\n".join(octets.hex() for octets in kept).encode())
            process.stdin.close()
            process.stdout.readline()
            self.programs[name] = types.SimpleNamespace(process=process)
            try:
                yield
            finally:
                del self.programs[name]
                process.kill()

    def planted_memory(self):
        """Each form of what relays must not keep, in the memory of a process and in a file. A form
        that holds another is found with it. What no relay may have is found as a relay's, keys as
        those of a viewer that left, and an address as one that a viewer has."""
        forms = {label: form + (bytes([1, 2, 4, 0]) if "in a struct" in label else b"")
                 for label, form in self.everything.items()}
        with self.keeper("relay1", forms.values()):
            labels, _ = search.in_memory(self.programs["relay1"].process.pid, self.everything)
        place = self.folder / "planted"
        for label, form in forms.items():
            place.write_bytes(os.urandom(999) + form)
            labels -= set() if label in search.in_files([place], self.everything).get("planted", ()) \
                else {label}
        missing = set(forms) - labels
        print(f"  {'ok  ' if not missing else 'FAIL'} relays_keep_nothing: {len(labels)} forms found "
              "in memory and in a file", flush=True)
        if missing:
            raise Failed(f"went unnoticed: {', '.join(missing)}")
        keys = self.world.member_keys
        mine = {**search.of_content(self.world.swarm_id, MARKER), **keys}
        with self.keeper("relay1", mine.values()), self.keeper("viewer2", keys.values()):
            bad = self.relays_keep_nothing(self.world, {})[0]
            missing = {label for label in mine if f"relay1's memory holds {label}" not in bad}
            missing |= set(keys) - self.keys_in_memory("viewer2")
        print(f"  {'ok  ' if not missing else 'FAIL'} relays_keep_nothing, keys_are_gone: "
              f"{', '.join(keys)}", flush=True)
        if missing:
            raise Failed(f"went unnoticed: {', '.join(missing)}")
        with self.keeper("viewer", [self.world.address["seeder"].encode()]):
            bad = self.ends_keep_nothing(self.world, {})[0]
        if "viewer's memory holds the address of seeder as text" not in bad:
            raise Failed("an address in the memory of a viewer went unnoticed")
        print(f"  ok   ends_keep_nothing: {bad[0]}", flush=True)

    def planted_places(self, name, keeps_nothing):
        """The seeder's address in each place that a host writes to: red, and only with it."""
        at = self.world.address["seeder"]
        if bad := keeps_nothing(self.world, {})[0]:
            raise Failed("; ".join(bad[:5]))
        state, log = self.folder / name / "planted", self.folder / f"{name}.log"
        state.parent.mkdir(exist_ok=True)
        logged = log.read_bytes() if log.exists() else b""
        kept = search.packed(at).ljust(18, b"\0") + b"\x04\0"
        places = [("a database", lambda: state.write_bytes(os.urandom(99) + kept), state.unlink),
                  ("a log", lambda: log.write_bytes(logged + f"peer {at}:7000\n".encode()),
                   lambda: log.write_bytes(logged)),
                  ("output", lambda: self.printed[name].append([{"peer": at}]),
                   lambda: self.printed[name].pop())]
        for what, plant, remove in places:
            plant()
            bad = keeps_nothing(self.world, {})[0]
            remove()
            print(f"  {'ok  ' if bad else 'FAIL'} {keeps_nothing.__name__}: {bad[0] if bad else what}",
                  flush=True)
            if not bad:
                raise Failed(f"an address in {what} of {name} went unnoticed")

    def run(self, parts):
        try:
            with network.Network(self.folder, six=self.six) as self.net:
                self.bring_up()
                for part in parts:
                    began = time.monotonic()
                    part(self)
                    print(f"  {time.monotonic() - began:.0f} s", flush=True)
        except Failed:
            self.say_what_they_know()
            raise
        finally:
            for program in self.programs.values():
                program.stop(signal.SIGKILL)
            shutil.rmtree(self.folder)


WHOLE = [Lab.film_run, Lab.leaving, Lab.reseeding, Lab.through_an_exit, Lab.constant_rate, Lab.fail_closed,
         Lab.planted_leaks]
FOUR = [Lab.film_run, Lab.leaving, Lab.through_an_exit, Lab.fail_closed, Lab.planted_leaks]
SIX = [Lab.film_run, Lab.reseeding, Lab.constant_rate, Lab.planted_leaks]


def main():
    if os.geteuid() != 0:
        sys.exit("leaks.py: needs root to make network namespaces")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--six", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"),
                        help="who dies and is cut off, and for how long; drawn and printed without")
    parser.add_argument("culvert")
    parser.add_argument("dht")
    args = parser.parse_args()
    try:
        lab = Lab(args.culvert, args.dht, args.six, args.seed)
        lab.run(WHOLE if args.whole else SIX if args.six else FOUR)
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
    print("no wire told anything")


if __name__ == "__main__":
    main()
