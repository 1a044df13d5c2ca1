#!/usr/bin/env python3
"""The leak lab: the demo's topology in network namespaces, every wire captured.

    leaks.py CULVERT CULVERT-DHT

1. A hidden seeder, two viewers, six relays and a DHT node; a viewer gets the
   film, the seeder goes, the second viewer gets it from the first.
2. The same while relays are killed and links are cut: fail closed.
3. For each claim a leak is planted with real datagrams; it must turn red.
"""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import claims  # noqa: E402
import network  # noqa: E402

RELAYS = 6
NAME = "lab"
MARKER = b"culvert-lab-mark"
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
                    self.events.append(json.loads(line))
                except ValueError:
                    continue
                self.changed.notify_all()

    def wait_for(self, name, seconds=SECONDS):
        limit = time.monotonic() + seconds
        with self.changed:
            while True:
                for event in self.events:
                    if event.get("event") == name:
                        return event
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


class Lab:
    def __init__(self, culvert, dht):
        self.culvert, self.dht = culvert, dht
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-lab-"))
        self.film = self.folder / "film.bin"
        filler = os.urandom(48 * 64)
        with open(self.film, "wb") as f:
            for i in range(OCTETS // 64):
                at = (i * 7) % 3000
                f.write(MARKER + filler[at:at + 40] + i.to_bytes(8, "big"))
        self.programs = {}
        self.relays = [f"relay{i}" for i in range(1, RELAYS + 1)]
        self.hidden = ["seeder", "viewer", "viewer2"]

    def start(self, name, *args):
        host = self.net.hosts[name]
        state = self.folder / name
        program = Program(host, self.folder, self.culvert, *args[:1], "--state", state, "--listen",
                          f"{host.address}:{args[1] if args[0] == 'relay' else 0}", "--bootstrap",
                          f"{self.net.hosts['bootstrap'].address}:6881", "--network", NAME,
                          "--quick-start", "--epoch", "60s", "--json", *args[2:])
        self.programs[name] = program
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
            if name not in self.hidden or program.process.poll() is not None:
                continue
            for what in ("status", "peers", "path"):
                out = subprocess.run([self.culvert, what, "--state", str(self.folder / name),
                                      "--json"], capture_output=True, check=False, timeout=30)
                print(f"{name} {what}: {out.stdout.decode()}{out.stderr.decode()}",
                      file=sys.stderr)

    def first_hops(self, world, name):
        """By what the node says of its links; what the wires say must agree."""
        known = {row["address"].rsplit(":", 1)[0] for row in
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
                   "seeder": 40, "viewer": 41, "viewer2": 42}
        for name, number in numbers.items():
            self.net.add(name, number)
        self.net.start_captures("run")
        host = self.net.hosts["bootstrap"]
        self.programs["bootstrap"] = Program(host, self.folder, self.dht, "serve", "--listen",
                                             f"{host.address}:6881", "--json")
        for relay in self.relays:
            self.start(relay, "relay", "7000")
        for relay in self.relays:
            self.programs[relay].wait_for("relay_ready")

    def share(self):
        seeder = self.start("seeder", "share", "", "--upload-limit", "4M", self.film)
        uri = seeder.wait_for("shared")["uri"]
        import base64
        text = uri.split("x=")[1].split("&")[0].upper()
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
        self.world = claims.World(NAME, self.net.hosts, self.hidden, self.relays, raw[17:], MARKER)
        return uri

    def view(self, name, uri):
        return self.start(name, "play", "", "--no-player", "-o", self.folder / f"{name}.bin", uri)

    def check(self, captures, part, of=claims.CLAIMS):
        failed = []
        for claim in of:
            bad = claim(self.world, captures)
            print(f"  {'ok  ' if not bad else 'FAIL'} {claim.__name__}", flush=True)
            for line in bad[:5]:
                print(f"       {line}")
            if bad:
                failed.append(claim.__name__)
        if failed:
            raise Failed(f"{part}: {', '.join(failed)}")

    def whole(self, name):
        if (self.folder / f"{name}.bin").read_bytes() != self.film.read_bytes():
            raise Failed(f"{name} has another film than the seeder")

    def ordinary_run(self):
        print("1. a film through the overlay", flush=True)
        self.bring_up()
        self.uri = self.share()
        viewer = self.view("viewer", self.uri)
        viewer.wait_for("complete")
        self.whole("viewer")
        self.end("seeder", signal.SIGINT)
        second = self.view("viewer2", self.uri)
        second.wait_for("complete")
        self.whole("viewer2")
        for name in ("viewer", "viewer2"):
            self.end(name, signal.SIGINT)
        captures = self.net.stop_captures()
        total = sum(len(p) for p in captures.values())
        for name in self.hidden:
            hops = ", ".join(sorted(self.world.first_hops[name]))
            print(f"  {name}: {len(captures[name])} packets, first hops {hops}")
        print(f"  {total} packets on {len(captures)} wires")
        if total < 4 * OCTETS // 1000:
            raise Failed("the captures hold less than the film needed: they are not whole")
        self.check(captures, "ordinary run")
        self.captures = captures

    def fail_closed(self):
        print("2. relays die and links are cut while a viewer gets the film", flush=True)
        dice = random.Random(7)
        self.net.start_captures("closed")
        seeder = self.start("seeder", "share", "", "--upload-limit", "500k", self.film)
        seeder.wait_for("shared")
        shutil.rmtree(self.folder / "viewer", ignore_errors=True)
        (self.folder / "viewer.bin").unlink()
        viewer = self.view("viewer", self.uri)
        viewer.wait_for("first_chunk")
        self.first_hops(self.world, "viewer")
        self.first_hops(self.world, "seeder")
        for relay in dice.sample(self.relays, 3):
            self.end(relay)
            time.sleep(1)
            self.first_hops(self.world, "viewer")
            self.first_hops(self.world, "seeder")
        self.net.cut("viewer")
        time.sleep(1)
        self.net.cut("viewer", up=True)
        self.net.inside(self.net.hosts["viewer"].space, "ip", "route", "replace", "default", "via",
                        self.net.hosts["viewer"].gateway)
        time.sleep(2)
        self.end("viewer")
        viewer = self.view("viewer", self.uri)
        time.sleep(3)
        self.end("seeder")
        time.sleep(1)
        self.end("viewer")
        # Who knew whom before these captures began is not in them.
        self.check(self.net.stop_captures(), "fail closed",
                   [c for c in claims.CLAIMS if c is not claims.contacts_come_by_dht])

    def plant(self, name, code):
        """Runs a line of Python on a host: a real datagram on a real wire."""
        self.net.start_captures(f"planted-{name}")
        host = self.net.hosts[name]
        before = "import socket,os; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        network.run(*host.command("python3", "-c", before + code))
        captures = self.net.stop_captures()
        own = {n: [p for p in packets if p.kind == "udp" and p.sport != 6881]
               for n, packets in captures.items()}
        return own

    def planted_leaks(self):
        print("3. planted leaks turn every claim red", flush=True)
        for program in self.programs.values():
            program.stop(signal.SIGKILL)
        self.programs = {}
        at = self.world.address
        stranger = self.relays[-1]
        self.world.first_hops["viewer"].discard(stranger)
        key = self.world.swarm_id[:20]
        dont = "s.setsockopt(socket.IPPROTO_IP, 10, 2); "
        dht = f"b'd1:ad2:id20:'+bytes(20)+b'9:info_hash20:'+bytes.fromhex('{key.hex()}')+b'ee'"
        own = f"b'd1:ad2:id20:'+bytes(20)+b'e1:q4:ping1:t1:x1:y1:qe'"
        announce = (f"b'd1:ad2:id20:'+bytes(20)+b'9:info_hash20:'+bytes.fromhex('{key.hex()}')"
                    "+b'4:porti7000ee1:q13:announce_peer1:t1:x1:y1:qe'")
        rows = [
            (claims.hidden_ones_only_read, "viewer", f"s.sendto({own}, ('{at['bootstrap']}', 7))"),
            (claims.relays_announce_themselves, "relay1",
             f"s.sendto({announce}, ('{at['bootstrap']}', 7))"),
            (claims.strangers_never_meet, "viewer",
             f"{dont}s.sendto(os.urandom(1232), ('{at['seeder']}', 7))"),
            (claims.only_first_hops, "viewer",
             f"{dont}s.sendto(os.urandom(1232), ('{at[stranger]}', 7000))"),
            (claims.few_first_hops, "viewer",
             f"{dont}[s.sendto(os.urandom(1232), (a, 7000)) for a in "
             f"{[at[r] for r in self.relays[:5]]!r}]"),
            (claims.no_content_key, "viewer", f"s.sendto({dht}, ('{at['bootstrap']}', 7))"),
            (claims.nothing_in_clear, "relay1",
             f"s.sendto(os.urandom(600)+{MARKER!r}+os.urandom(616), ('{at['relay2']}', 7000))"),
            (claims.nothing_in_clear, "seeder",
             f"s.sendto(os.urandom(9)+bytes.fromhex('{self.world.swarm_id.hex()}'), "
             f"('{at['relay2']}', 7000))"),
            (claims.one_size, "relay1", f"{dont}s.sendto(os.urandom(1231), ('{at['relay2']}', 7))"),
            (claims.one_size, "relay2", "s.setsockopt(socket.IPPROTO_IP, 2, 63); "
             f"{dont}s.sendto(os.urandom(1232), ('{at['relay1']}', 7))"),
            (claims.nothing_else, "viewer", "s.sendto(os.urandom(40), ('45.99.9.9', 53))"),
            (claims.contacts_come_by_dht, "viewer",
             f"{dont}s.sendto(os.urandom(1232), ('{at['relay3']}', 7000))"),
        ]
        for claim, name, code in rows:
            bad = claim(self.world, self.plant(name, code))
            print(f"  {'ok  ' if bad else 'FAIL'} {claim.__name__}: "
                  f"{bad[0] if bad else 'the planted leak went unnoticed'}", flush=True)
            if not bad:
                raise Failed(f"{claim.__name__} cannot fail")

    def run(self):
        try:
            with network.Network(self.folder) as self.net:
                self.ordinary_run()
                self.fail_closed()
                self.planted_leaks()
        except Failed:
            self.say_what_they_know()
            raise
        finally:
            for program in self.programs.values():
                program.stop(signal.SIGKILL)
            shutil.rmtree(self.folder)


def main():
    if os.geteuid() != 0:
        sys.exit("leaks.py: needs root to make network namespaces")
    try:
        Lab(sys.argv[1], sys.argv[2]).run()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
    print("no wire told anything")


if __name__ == "__main__":
    main()
