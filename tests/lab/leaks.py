#!/usr/bin/env python3
"""The leak lab: the demo's topology in network namespaces, every wire captured.

    leaks.py [--six] CULVERT CULVERT-DHT

1. A hidden seeder, two viewers, six relays and a DHT node; a viewer gets the
   film, the seeder goes, the second viewer gets it from the first. Then every
   relay's memory, files and output are searched for what it carried, and for whom.
2. Somebody shares a film directly, on the Internet; a viewer gets it through a
   swarm exit.
3. The first again while relays are killed and links are cut: fail closed.
4. For each claim a leak is planted with real datagrams, in the memory of a process
   or in a file; it must turn red.

With --six all addresses are of IPv6.
"""
import base64
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
import search  # noqa: E402

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


def swarm_id(uri):
    text = uri.split("x=")[1].split("&")[0].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))[17:]


class Lab:
    def __init__(self, culvert, dht, six=False):
        self.culvert, self.dht, self.six = culvert, dht, six
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-lab-"))
        self.film = self.make_film("film.bin", OCTETS)
        self.programs = {}
        self.relays = [f"relay{i}" for i in range(1, RELAYS + 1)]
        self.hidden = ["seeder", "viewer", "viewer2"]
        self.exits = self.relays[-1:]

    def make_film(self, name, octets):
        path = self.folder / name
        filler = os.urandom(48 * 64)
        with open(path, "wb") as f:
            for i in range(octets // 64):
                at = (i * 7) % 3000
                f.write(MARKER + filler[at:at + 40] + i.to_bytes(8, "big"))
        return path

    def start(self, name, *args):
        host = self.net.hosts[name]
        state = self.folder / name
        program = Program(host, self.folder, self.culvert, *args[:1], "--state", state, "--listen",
                          host.at(args[1] if args[0] == "relay" else 0), "--bootstrap",
                          self.net.hosts["bootstrap"].at(6881), "--network", NAME,
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
                   "seeder": 40, "viewer": 41, "viewer2": 42, "viewer3": 43, "internet": 50}
        for name, number in numbers.items():
            self.net.add(name, number)
        self.net.start_captures("run")
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

    def view(self, name, uri):
        return self.start(name, "play", "", "--no-player", "-o", self.folder / f"{name}.bin", uri)

    def check(self, captures, part, of=claims.CLAIMS, world=None):
        failed = []
        for claim in of:
            bad = claim(world or self.world, captures)
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
        self.searched(captures)

    # ---- what relays keep

    def forms(self, captures, relay=None):
        """What was carried; and addresses of viewers and seeder: of all, or of those that `relay`
        never exchanged a datagram with. Who asks the DHT is a neighbour, too."""
        forms = search.of_content(self.world.swarm_id, MARKER)
        for name in self.hidden:
            mine = self.world.address[name]
            ports = {p.sport for p in captures[name] if p.kind == "udp" and p.source == mine}
            met = relay and any(self.world.address[relay] in (p.source, p.target)
                                for p in captures[name])
            if not met:
                forms.update(search.of_address(name, mine, ports))
        return forms

    def searched(self, captures):
        """Memory of relays that carried the film, their folders and what they printed."""
        bad, octets, files = [], 0, 0
        everything = self.forms(captures)
        for relay in self.relays:
            forms = self.forms(captures, relay)
            labels, read = search.in_memory(self.programs[relay].process.pid, forms)
            octets += read
            bad += [f"{relay}'s memory holds {label}" for label in labels]
            places = [self.folder / relay, self.folder / f"{relay}.log"]
            files += sum(p.is_file() for p in places[0].rglob("*"))
            for name, labels in search.in_files(places, everything).items():
                bad += [f"{relay}'s {name} holds {label}" for label in labels]
            said = json.dumps(self.programs[relay].events).encode()
            bad += [f"{relay} printed {label}" for label in search.found(said, everything)]
        print(f"  {'ok  ' if not bad else 'FAIL'} relays_keep_nothing: {octets >> 20} MiB of memory, "
              f"{files} files", flush=True)
        if bad:
            raise Failed("ordinary run: " + "; ".join(bad[:5]))
        if octets < RELAYS << 20:
            raise Failed("the memory of the relays could not be read")
        self.everything = everything

    # ---- a direct swarm

    def through_an_exit(self):
        print("2. a direct swarm through a swarm exit", flush=True)
        self.net.start_captures("exit")
        film = self.make_film("direct.bin", OCTETS // 4)
        internet = self.start("internet", "share", "", "--direct", film)
        shared = internet.wait_for("shared")
        uri = shared["uri"]
        world = claims.World(NAME, self.net.hosts, ["viewer3"], self.relays, swarm_id(uri), MARKER)
        world.exits, world.internet = self.exits, "internet"
        world.internet_port = int(shared["address"].rsplit(":", 1)[1])
        viewer = self.view("viewer3", uri)
        if len(viewer.wait_for("peer_up")["path"]) != 3:
            raise Failed("the path to an exit has not three hops")
        viewer.wait_for("complete")
        self.first_hops(world, "viewer3")
        for name in ("viewer3", "internet"):
            self.programs.pop(name).stop()
        captures = self.net.stop_captures()
        if (self.folder / "viewer3.bin").read_bytes() != film.read_bytes():
            raise Failed("viewer3 has another film than the one on the Internet")
        if sum(claims.is_outside(world, p) for p in captures["internet"]) < OCTETS // 4000:
            raise Failed("the film did not come from the Internet")
        # Relays know each other from before these captures.
        self.check(claims.without_outside(world, captures), "exit",
                   [c for c in claims.CLAIMS if c is not claims.contacts_come_by_dht], world)
        self.check(captures, "exit", claims.EXIT_CLAIMS, world)
        self.outside = world

    def fail_closed(self):
        print("3. relays die and links are cut while a viewer gets the film", flush=True)
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
        self.net.route(self.net.hosts["viewer"])
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
        before = ("import socket,os; s=socket.socket(socket.AF_INET"
                  f"{'6' if self.six else ''}, socket.SOCK_DGRAM); ")
        network.run(*host.command("python3", "-c", before + code))
        captures = self.net.stop_captures()
        own = {n: [p for p in packets if p.kind == "udp" and p.sport != 6881]
               for n, packets in captures.items()}
        return own

    def planted_leaks(self):
        print("4. planted leaks turn every claim red", flush=True)
        for program in self.programs.values():
            program.stop(signal.SIGKILL)
        self.programs = {}
        at = self.world.address
        stranger = self.relays[-1]
        self.world.first_hops["viewer"].discard(stranger)
        key = self.world.swarm_id[:20]
        # IP_MTU_DISCOVER and IP_TTL, or their twins
        dont = f"s.setsockopt({'41, 23' if self.six else '0, 10'}, 2); "
        ttl = f"s.setsockopt({'41, 16' if self.six else '0, 2'}, 63); "
        dht = f"b'd1:ad2:id20:'+bytes(20)+b'9:info_hash20:'+bytes.fromhex('{key.hex()}')+b'ee'"
        own = f"b'd1:ad2:id20:'+bytes(20)+b'e1:q4:ping1:t1:x1:y1:qe'"
        announce = (f"b'd1:ad2:id20:'+bytes(20)+b'9:info_hash20:'+bytes.fromhex('{key.hex()}')"
                    "+b'4:porti7000ee1:q13:announce_peer1:t1:x1:y1:qe'")
        elsewhere = "2a99:5::9" if self.six else "45.99.9.9"
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
            (claims.one_size, "relay2", f"{ttl}{dont}s.sendto(os.urandom(1232), ('{at['relay1']}', 7))"),
            (claims.nothing_else, "viewer", f"s.sendto(os.urandom(40), ('{elsewhere}', 53))"),
            (claims.contacts_come_by_dht, "viewer",
             f"{dont}s.sendto(os.urandom(1232), ('{at['relay3']}', 7000))"),
        ]
        out = self.outside.address
        call = "bytes(5)+os.urandom(60)"
        exit_ = self.exits[0]
        rows += [
            (claims.viewer_and_internet_never_meet, "viewer3",
             f"s.sendto(os.urandom(40), ('{out['internet']}', 9000))"),
            (claims.exits_speak_ppspp_only, exit_,
             f"s.sendto(os.urandom(40), ('{out['internet']}', 9000))"),
            (claims.exits_speak_ppspp_only, exit_,
             f"s.sendto({call}, ('{out['internet']}', 53))"),
            (claims.exits_speak_ppspp_only, exit_,
             f"s.sendto({call}, ('{out['internet']}', 9000)); "
             f"s.sendto(bytes(4)+b'\\x20'+os.urandom(600), ('{out['internet']}', 9000))"),
            (claims.exits_speak_ppspp_only, exit_,
             f"s.sendto(os.urandom(1232), ('{out['internet']}', 9000))"),
            (claims.only_exits_meet_the_internet, "relay1",
             f"s.sendto({call}, ('{out['internet']}', {self.outside.internet_port}))"),
        ]
        for claim, name, code in rows:
            world = self.outside if claim in claims.EXIT_CLAIMS else self.world
            bad = claim(world, self.plant(name, code))
            print(f"  {'ok  ' if bad else 'FAIL'} {claim.__name__}: "
                  f"{bad[0] if bad else 'the planted leak went unnoticed'}", flush=True)
            if not bad:
                raise Failed(f"{claim.__name__} cannot fail")
        self.planted_memory()

    def planted_memory(self):
        """Each form of what relays must not keep, in the memory of a process and in a file. A form
        that holds another is found with it."""
        command = ["python3", "-c", "import sys; kept = [bytes.fromhex(l) for l in sys.stdin]; "
                   "print(len(kept), flush=True); import time; time.sleep(600)"]
        forms = {label: form + (bytes([1, 2, 4, 0]) if "in a struct" in label else b"")
                 for label, form in self.everything.items()}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write("\n".join(form.hex() for form in forms.values()).encode())
            process.stdin.close()
            process.stdout.readline()
            labels, _ = search.in_memory(process.pid, self.everything)
            process.kill()
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

    def run(self):
        try:
            with network.Network(self.folder, six=self.six) as self.net:
                self.ordinary_run()
                self.through_an_exit()
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
        six = "--six" in sys.argv
        Lab(*[a for a in sys.argv[1:] if a != "--six"], six).run()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
    print("no wire told anything")


if __name__ == "__main__":
    main()
