"""Relays, a seeder and a viewer, each in a network namespace of its own, and questions to
them: who is on whose way, how much of the film is there."""
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import network
from nacl.signing import SigningKey

NAME = "lab"
SECONDS = 300  # until something counts as never happening


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


class Lab:
    def __init__(self, net, folder, culvert, dht, *more):
        """`more`: options of every node."""
        self.net, self.folder, self.culvert, self.dht, self.more = net, folder, culvert, dht, more
        self.programs, self.identity = {}, {}

    def start(self, name, verb, port, *more, at=None):
        """On the host of this name, or beside another program on that of `at`."""
        host = self.net.hosts[at or name]
        self.programs[name] = Program(
            host, self.folder, self.culvert, verb, "--state", self.folder / name, "--listen",
            host.at(port), "--bootstrap", self.net.hosts["bootstrap"].at(6881), "--network", NAME,
            "--quick-start", "--json", *self.more, *more)
        return self.programs[name]

    def bring_up(self, relays, *others):
        """Hosts for all of them; the relays are ready."""
        names = [f"relay{i}" for i in range(relays)]
        for number, name in enumerate(["bootstrap", *names, *others]):
            self.net.add(name, 20 + number)
        host = self.net.hosts["bootstrap"]
        self.programs["bootstrap"] = Program(host, self.folder, self.dht, "serve", "--listen",
                                             host.at(6881), "--json")
        for name in names:
            self.start(name, "relay", 7000)
        for name in names:
            self.programs[name].wait_for("relay_ready")
            self.identity[self.own_name(name)] = name

    def share(self, name, film, limit, *more):
        """Its link; `limit` octets a second are given."""
        seeder = self.start(name, "share", 0, "--upload-limit", str(limit), *more, film)
        return seeder.wait_for("shared")["uri"]

    def watch(self, uri):
        """The player link, on the loopback of the viewer's namespace."""
        viewer = self.start("viewer", "play", 0, "--no-player", "--no-share", uri)
        return viewer.wait_for("link")["url"]

    def end(self):
        for program in self.programs.values():
            if program.process.poll() is None:
                program.stop()

    def key(self, relay):
        """Its public key."""
        return SigningKey((self.folder / relay / "identity").read_bytes()).verify_key.encode()

    def own_name(self, relay):
        """What paths call it: the first octets of its public key."""
        return self.key(relay)[:4].hex()

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


def perform(name, play, culvert, dht):
    """Runs play(lab). When it fails the program ends, and the logs stay."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"culvert-{name}-"))
    try:
        with network.Network(folder, "culvert-lab") as net:
            lab = Lab(net, folder, culvert, dht)
            try:
                play(lab)
            finally:
                lab.end()
    except Failed as error:
        sys.exit(f"{name}: {error}; logs in {folder}")
    shutil.rmtree(folder)
