#!/usr/bin/python3
"""culvert-dht with transmission and aria2, which know nobody but one of ours,
IPv4 and IPv6.

Runs in a network namespace of its own (needs root) with public-looking
addresses, /16s apart, so that BEP 42 and the rules about addresses are in force.
Each client has a torrent that nobody else has heard of. Both come into our
tables, find (and call) a listener that ours announced under it, and announce
themselves so that ours find them. One transmission speaks both families; aria2
binds what it sends to one address, so there are two. Fails when it cannot make
its namespace; it never skips.
Usage: test_clients.py CULVERT_DHT
Takes a minute and a half, nearly all of it waiting for transmission's timers.
"""
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

if os.environ.get('CULVERT_INTEROP_NETNS') != 'inside':
    os.environ['CULVERT_INTEROP_NETNS'] = 'inside'
    os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])

TOOL = os.path.abspath(sys.argv.pop(1))
OURS = 12  # transmission does not look for anything before it knows nine nodes
PORT, PEER_PORT, LISTENER_PORT = 6881, 6999, 7001
FAMILIES = (4, 6)
TRANSMISSION, ARIA2, ASKER = OURS, OURS + 1, OURS + 2
CLIENTS = 400  # seconds; their own timers, put off by every question of ours, can take minutes


def ip(family, i):
    return f'{80 + i // 8}.{10 + i % 8 * 20}.7.9' if family == 4 else f'2a01:{0x100 + i:x}::9'


def address(family, i, port=PORT):
    return f'{ip(4, i)}:{port}' if family == 4 else f'[{ip(6, i)}]:{port}'


def hash_of(text):
    return hashlib.sha1(text.encode()).hexdigest()


def command(family, *args):
    return [TOOL, *args, '--listen', address(family, ASKER, 0), '--bootstrap', address(family, 1), '--json']


def tool(family, *args):
    done = subprocess.run(command(family, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=180)
    if not done.stdout:
        raise AssertionError(f'culvert-dht {args[0]}: status {done.returncode}: {done.stderr}')
    return json.loads(done.stdout)


def wait(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(what + network.who_ended())
        time.sleep(0.3)


class Listener:
    """Takes note of whoever calls."""

    def __init__(self, family):
        self.socket = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((ip(family, ASKER), LISTENER_PORT))
        self.socket.listen(64)
        self.socket.setblocking(False)
        self.callers = set()

    def accept(self):
        while True:
            try:
                caller, who = self.socket.accept()
            except BlockingIOError:
                return self.callers
            self.callers.add(who[0])
            caller.close()


class Network:
    """Ours, the clients, and listeners that ours announce."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.processes = []
        self.listeners = {family: Listener(family) for family in FAMILIES}
        self.searches = {}  # for transmission's own announcement, one node a family

    def start(self, *args):
        log = open(os.path.join(self.folder.name, f'log{len(self.processes)}'), 'wb')
        self.processes.append(subprocess.Popen(args, stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL))
        log.close()

    def start_transmission(self):
        folder = os.path.join(self.folder.name, 'transmission')
        os.makedirs(os.path.join(folder, 'torrents'))
        with open(os.path.join(folder, 'dht.bootstrap'), 'w') as f:
            f.write(''.join(f'{ip(family, 0)} {PORT}\n' for family in FAMILIES))
        with open(os.path.join(folder, 'settings.json'), 'w') as f:
            json.dump({'bind-address-ipv4': ip(4, TRANSMISSION), 'bind-address-ipv6': ip(6, TRANSMISSION),
                       'peer-port': PEER_PORT, 'dht-enabled': True, 'lpd-enabled': False,
                       'pex-enabled': False, 'port-forwarding-enabled': False,
                       'rpc-enabled': True, 'rpc-bind-address': '127.0.0.1', 'rpc-port': 9091,
                       'rpc-whitelist-enabled': False, 'download-dir': folder,
                       'utp-enabled': False}, f)
        self.start('transmission-daemon', '--foreground', '--config-dir', folder)

        def added(name):
            return subprocess.run(
                ['transmission-remote', '127.0.0.1:9091', '--add', 'magnet:?xt=urn:btih:' + hash_of(name)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        for name in ('transmission', 'transmission alone'):
            wait(lambda: added(name), CLIENTS, 'transmission does not take commands')

    def start_aria2(self, family):
        folder = os.path.join(self.folder.name, f'aria2-{family}')
        os.makedirs(folder)
        mine = ([f'--dht-entry-point={address(4, 0)}', f'--dht-file-path={folder}/dht.dat',
                 '--enable-dht=true', '--enable-dht6=false', '--disable-ipv6=true'] if family == 4 else
                [f'--dht-entry-point6={address(6, 0)}', f'--dht-file-path6={folder}/dht.dat',
                 '--enable-dht=false', '--enable-dht6=true', f'--dht-listen-addr6={ip(6, ARIA2)}'])
        self.start('aria2c', *mine, f'--interface={ip(family, ARIA2)}', f'--dht-listen-port={PORT}',
                   f'--listen-port={PEER_PORT}', '--bt-enable-lpd=false',
                   '--enable-peer-exchange=false', f'--dir={folder}', '--no-conf',
                   'magnet:?xt=urn:btih:' + hash_of(f'aria2 {family}'))

    def who_ended(self):
        """Of programs that should still run: a foreign one's crash is not our fault."""
        return ''.join(f'; {os.path.basename(p.args[0])} ended with status {p.returncode}'
                       for p in self.processes if p.poll() is not None)

    def stop(self):
        self.processes += self.searches.values()
        for p in self.processes:
            p.send_signal(signal.SIGTERM)
        for p in self.processes:
            try:
                p.wait(timeout=10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for listener in self.listeners.values():
            listener.socket.close()
        self.folder.cleanup()


def set_up_addresses():
    def run(*args):
        subprocess.run(['ip', *args], check=True)
    run('link', 'set', 'lo', 'up')
    for i in range(ASKER + 1):
        run('address', 'add', ip(4, i) + '/32', 'dev', 'lo')
        run('-6', 'address', 'add', ip(6, i) + '/128', 'dev', 'lo', 'nodad')
    # Transmission takes for its IPv6 address what it would reach this one from.
    run('-6', 'route', 'add', '2001:1890:1112:1::20/128', 'dev', 'lo', 'src', ip(6, TRANSMISSION))


def setUpModule():
    global network
    set_up_addresses()
    network = Network()
    # Not tearDownModule(), which does not run when this fails.
    unittest.addModuleCleanup(lambda: network.stop())
    for i in range(OURS):
        knows = [part for family in FAMILIES for part in ('--bootstrap', address(family, 0))] if i else []
        network.start(TOOL, 'serve', '--json', '--listen', address(4, i), '--listen', address(6, i), *knows)
    for family in FAMILIES:
        wait(lambda: tool(family, 'find-node', '0' * 40).get('answered', 0) >= 8, CLIENTS,
             'ours do not find each other')
        for name in ('transmission', f'aria2 {family}'):
            wait(lambda: tool(family, 'announce', hash_of(name), str(LISTENER_PORT)).get('stored', 0) >= 8,
                 CLIENTS, 'ours do not keep what is announced')
    for family in FAMILIES:
        network.start_aria2(family)
    network.start_transmission()
    network.searches = {family: subprocess.Popen(
        command(family, 'get-peers', hash_of('transmission alone'), '--wait', str(CLIENTS)),
        stdout=subprocess.PIPE, text=True) for family in FAMILIES}


class Clients:
    """The tests, for each family."""
    family = None

    def joined(self, client, port):
        """Whoever crawls the network from one of ours is told of it, and it answers."""
        wait(lambda: address(self.family, client, port) in
             {n['address'] for n in tool(self.family, 'crawl').get('nodes', [])}, CLIENTS,
             'nobody names it')

    def called(self, client):
        wait(lambda: ip(self.family, client) in network.listeners[self.family].accept(), CLIENTS,
             'it never called')

    def test_a_transmission_joins_through_ours(self):
        self.joined(TRANSMISSION, PEER_PORT)

    def test_a_aria2_joins_through_ours(self):
        self.joined(ARIA2, PORT)

    def test_b_aria2_finds_what_ours_announced(self):
        self.called(ARIA2)

    def test_c_aria2_announces_and_is_found(self):
        wait(lambda: any(ip(self.family, ARIA2) in p for p in
                         tool(self.family, 'get-peers', hash_of(f'aria2 {self.family}')).get('peers', [])),
             CLIENTS, 'ours do not find it under its hash')


class IPv4(Clients, unittest.TestCase):
    family = 4


class IPv6(Clients, unittest.TestCase):
    family = 6


class Alone(unittest.TestCase):
    """First of all, while nobody else asks: whoever does, as a new node each time, makes
    transmission look for these nodes when they have ended, and put its announcement off.
    It asks under a hash that nobody but transmission has."""

    def test_transmission_announces_and_is_found(self):
        for family, search in network.searches.items():
            out = json.loads(search.communicate(timeout=CLIENTS + 60)[0])
            self.assertEqual(out['peers'], [address(family, TRANSMISSION, PEER_PORT)])

    def test_transmission_finds_what_ours_announced(self):
        for family, listener in network.listeners.items():
            wait(lambda: ip(family, TRANSMISSION) in listener.accept(), CLIENTS, 'it never called')


if __name__ == '__main__':
    unittest.main(verbosity=2)
