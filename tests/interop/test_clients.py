#!/usr/bin/python3
"""culvert-dht with transmission and aria2, which know nobody but one of ours.

Runs in a network namespace of its own (needs root) with public-looking
addresses, /16s apart. Each client has a torrent that nobody else has heard of
and finds (and connects to) a listener that ours announced there; ours find
aria2 under the hash of its torrent. Fails when it cannot make its namespace; it
never skips.
Usage: test_clients.py CULVERT_DHT
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
OURS = 6
PORT, PEER_PORT, LISTENER_PORT = 6881, 6999, 7001
CLIENTS = 400  # seconds; their own timers, put off by every question of ours, can take minutes


def ip(i):
    return f'{80 + i // 8}.{10 + i % 8 * 20}.7.9'


def address(i, port=PORT):
    return f'{ip(i)}:{port}'


TRANSMISSION, ARIA2, ASKER = OURS, OURS + 1, OURS + 2


def hash_of(text):
    return hashlib.sha1(text.encode()).hexdigest()


def tool(*args):
    done = subprocess.run([TOOL, *args, '--listen', address(ASKER, 0), '--bootstrap', address(1),
                           '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60)
    if not done.stdout:
        raise AssertionError(f'culvert-dht {args[0]}: status {done.returncode}: {done.stderr}')
    return json.loads(done.stdout)


def wait(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.3)


class Network:
    """Ours, the two clients, and a listener that ours announce."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.processes = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((ip(ASKER), LISTENER_PORT))
        self.listener.listen(64)
        self.listener.settimeout(0.2)
        self.callers = set()

    def start(self, *args):
        log = open(os.path.join(self.folder.name, f'log{len(self.processes)}'), 'wb')
        self.processes.append(subprocess.Popen(args, stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL))
        log.close()

    def start_transmission(self):
        folder = os.path.join(self.folder.name, 'transmission')
        os.makedirs(os.path.join(folder, 'torrents'))
        with open(os.path.join(folder, 'dht.bootstrap'), 'w') as f:
            f.write(f'{ip(0)} {PORT}\n')
        with open(os.path.join(folder, 'settings.json'), 'w') as f:
            json.dump({'bind-address-ipv4': ip(TRANSMISSION), 'peer-port': PEER_PORT,
                       'dht-enabled': True, 'lpd-enabled': False, 'pex-enabled': False,
                       'port-forwarding-enabled': False, 'rpc-enabled': True,
                       'rpc-bind-address': '127.0.0.1', 'rpc-port': 9091,
                       'rpc-whitelist-enabled': False, 'download-dir': folder,
                       'utp-enabled': False}, f)
        self.start('transmission-daemon', '--foreground', '--config-dir', folder)

        def added():
            return subprocess.run(
                ['transmission-remote', '127.0.0.1:9091', '--add',
                 'magnet:?xt=urn:btih:' + hash_of('transmission')],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        wait(added, 60, 'transmission does not take commands')

    def start_aria2(self):
        folder = os.path.join(self.folder.name, 'aria2')
        os.makedirs(folder)
        self.start('aria2c', '--enable-dht=true', '--enable-dht6=false', '--disable-ipv6=true',
                   f'--dht-listen-port={PORT}', f'--listen-port={PEER_PORT}',
                   f'--dht-entry-point={address(0)}', f'--interface={ip(ARIA2)}',
                   f'--dht-file-path={folder}/dht.dat', '--bt-enable-lpd=false',
                   '--enable-peer-exchange=false', f'--dir={folder}', '--no-conf',
                   'magnet:?xt=urn:btih:' + hash_of('aria2'))

    def accept(self):
        """Notes who has called so far."""
        while True:
            try:
                caller, who = self.listener.accept()
            except TimeoutError:
                return self.callers
            self.callers.add(who[0])
            caller.close()

    def stop(self):
        for p in self.processes:
            p.send_signal(signal.SIGTERM)
        for p in self.processes:
            try:
                p.wait(timeout=10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.listener.close()
        self.folder.cleanup()


def setUpModule():
    global network
    # Not tearDownModule(), which does not run when this fails.
    unittest.addModuleCleanup(lambda: network.stop())
    def run(*args):
        subprocess.run(['ip', *args], check=True)
    run('link', 'set', 'lo', 'up')
    for i in range(ASKER + 1):
        run('address', 'add', ip(i) + '/32', 'dev', 'lo')
    network = Network()
    for i in range(OURS):
        network.start(TOOL, 'serve', '--json', '--listen', address(i),
                      *(['--bootstrap', address(0)] if i else []))
    wait(lambda: tool('find-node', '0' * 40).get('ok'), 60, 'ours do not find each other')
    for name in ('transmission', 'aria2'):
        # They may not all have met yet.
        wait(lambda: tool('announce', hash_of(name), str(LISTENER_PORT))['stored'] >= OURS - 1, 60,
             'ours do not keep what is announced')
    network.start_aria2()
    network.start_transmission()


class Clients(unittest.TestCase):
    def in_table(self, client, port):
        wait(lambda: address(client, port) in
             {n['address'] for n in tool('table', '--wait', '2').get('nodes', [])}, CLIENTS,
             'it stands in no table of ours')

    def test_transmission_joins_through_ours(self):
        self.in_table(TRANSMISSION, PEER_PORT)

    def test_aria2_joins_through_ours(self):
        self.in_table(ARIA2, PORT)

    def test_aria2_announces_and_is_found(self):
        wait(lambda: any(p.startswith(ip(ARIA2) + ':')
                         for p in tool('get-peers', hash_of('aria2')).get('peers', [])), CLIENTS,
             'ours do not find it under its hash')

    def test_transmission_finds_what_ours_announced(self):
        wait(lambda: ip(TRANSMISSION) in network.accept(), CLIENTS, 'it never called')

    def test_aria2_finds_what_ours_announced(self):
        wait(lambda: ip(ARIA2) in network.accept(), CLIENTS, 'it never called')


if __name__ == '__main__':
    unittest.main(verbosity=2)
