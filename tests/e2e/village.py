"""A small network on loopback: a DHT node and relays, each with an address and a
state folder of its own."""
import json
import signal
import subprocess

import programs


class Village:
    def __init__(self, case, dht, relays=5, network="village"):
        self.case, self.network = case, network
        self.dht = subprocess.Popen([dht, "serve", "--listen", "127.10.0.1:0", "--json"],
                                    stdout=subprocess.PIPE, text=True)
        case.addCleanup(self.end)
        self.contact = json.loads(self.dht.stdout.readline())["address"]
        self.nodes = 0
        started = [self.start("relay", f"relay{i}") for i in range(relays)]
        for relay in started:
            relay.wait_for("relay_ready", 120)

    def options(self, name):
        """Of a node with the next address; relays come first, a /16 apart."""
        self.nodes += 1
        return ["--state", str(self.case.folder / name), "--listen", f"127.{10 + self.nodes}.0.1:0",
                "--bootstrap", self.contact, "--network", self.network, "--quick-start", "--json"]

    def start(self, verb, name, *args):
        return self.case.start(verb, *self.options(name), *args)

    def end(self):
        self.dht.send_signal(signal.SIGINT)
        self.dht.wait(programs.SECONDS)
        self.dht.stdout.close()
