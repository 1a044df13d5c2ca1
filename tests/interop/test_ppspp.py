#!/usr/bin/python3
"""culvert against the naive reference peer of ppspp_peer.py, both ways, over loopback.

What is carried: every addressing method with every hash, sizes around powers of two with
short last chunks, with and without loss; and the habits of other implementations. A few
kilobytes each: this is about octets on the wire, not about speed.
Usage: test_ppspp.py CULVERT [--slow] [unittest's arguments]
"""
import base64
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import ppspp_sign as sign
import ppspp_wire as wire
from ppspp_engine import Peer
from ppspp_peer import Node, live_swarm, spoken, static_swarm

CULVERT = os.path.abspath(sys.argv.pop(1))
SLOW = '--slow' in sys.argv and not sys.argv.remove('--slow')
SECONDS = 180         # until a transfer counts as failed; nothing here asserts speed
AT_ONCE = 8 if SLOW else 4  # most of the time is waiting
FOLDER = tempfile.mkdtemp(prefix='culvert-interop.')
NUMBERS = itertools.count(1)
SIZES = [1, 1024, 1025, 2048, 3000, 4096, 4097, 7162, 8191, 8192, 8193, 15361, 16384, 16385, 33000]


def octets(n, seed=1):
    return random.Random(seed).randbytes(n)


def b32(o):
    return base64.b32encode(o).decode().lower().rstrip('=')


def unb32(text):
    return base64.b32decode(text.upper() + '=' * (-len(text) % 8))


def uri(swarm, length, kind=0, authority=b''):
    """docs/protocol: the link of a direct swarm, of the network 'culvert'."""
    network = hashlib.blake2b(b'culvert', digest_size=8).digest()
    x = bytes([1, kind]) + network + struct.pack('>BBBI', swarm.integrity, swarm.hash, swarm.addressing.method,
                                                 swarm.chunk_size) + swarm.id
    text = f'culvert:?x={b32(x)}&n=f&l={length}' + (f'&a={b32(authority)}' if authority else '')
    return text + '&c=' + b32(hashlib.blake2b(text.encode(), digest_size=32).digest()[:5])


class Culvert:
    """The program under test, with a state folder of its own."""

    number = 0
    lock = threading.Lock()

    def __init__(self, *args, stdin=None):
        with Culvert.lock:
            Culvert.number += 1
            self.folder = os.path.join(FOLDER, str(Culvert.number))
        os.mkdir(self.folder)
        self.errors = open(self.path('errors'), 'w+')
        self.lines, self.arrived, self.ended = [], threading.Condition(), False
        self.process = subprocess.Popen([CULVERT, *args[:1], '--direct', '--json', '--state', self.path('state'),
                                         *map(str, args[1:])], stdin=stdin,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self):
        for line in self.process.stdout:
            with self.arrived:
                self.lines.append(json.loads(line))
                self.arrived.notify_all()
        with self.arrived:
            self.ended = True
            self.arrived.notify_all()

    def event(self, name):
        return next((l for l in self.lines if l['event'] == name), None)

    def wait(self, name):
        with self.arrived:
            self.arrived.wait_for(lambda: self.event(name) or self.ended, SECONDS)
            if not self.event(name):
                raise AssertionError(f'no {name}: {self.said()}')
        return self.event(name)

    def said(self):
        self.errors.seek(0)
        return f'{self.lines[-3:]} {self.errors.read()[-3000:]}'

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.reader.join(SECONDS)
        self.errors.close()
        self.process.stdout.close()

    def stop(self):
        """Ends it; a sanitizer's report or a crash fails the test."""
        if self.alive():
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        said = self.said()
        if status not in (0, 130):
            raise AssertionError(f'culvert ended with {status}: {said}')
        return status

    @classmethod
    def share(cls, data, *args, listen='127.0.0.1:0'):
        with Culvert.lock:
            Culvert.number += 1
            file = os.path.join(FOLDER, f'shared-{Culvert.number}')
        with open(file, 'wb') as f:
            f.write(data)
        c = cls('share', '--listen', listen, *args, file)
        try:
            address = c.wait('shared')['address'].rsplit(':', 1)
        except AssertionError:
            c.kill()
            raise
        return c, (address[0].strip('[]'), int(address[1]))


def run(node, done, what=lambda: '', seconds=SECONDS):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            peer = node.peer
            raise AssertionError(f'not done: {peer.counts} {peer.why[-3:]} {what()}')
        node.step()


def all_at_once(job, cases):
    """Runs job(case) for all, a few at a time, and reports every one that failed."""
    problems = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {pool.submit(job, *case): case for case in cases}
        for f in concurrent.futures.as_completed(futures):
            if f.exception():
                problems.append(f'{futures[f]}: {f.exception()!r}')
    if problems:
        raise AssertionError(f'{len(problems)} of {len(cases)} failed:\n' + '\n'.join(sorted(problems)[:8]))


def combinations():
    """(addressing, hash, size): every pair; the sizes go round, so that every size meets
    every method and every hash in the slow suite, and most of them here."""
    pairs = [(a, h) for a in range(5) for h in range(5)]
    if SLOW:
        return [(a, h, s) for a, h in pairs for s in SIZES]
    return [(a, h, SIZES[(a * 5 + h) * 4 % len(SIZES)]) for a, h in pairs]


def leech(address, data, swarm, loss=0.0, quirks=(), seed=1, listen=('127.0.0.1', 0)):
    """The reference peer fetches everything from `address`; returns it."""
    node = Node(Peer(swarm, None, random.Random(seed), quirks), listen, loss, seed)
    try:
        node.peer.connect(address, time.time())
        run(node, node.peer.content.complete)
        if node.peer.content.octets() != data:
            raise AssertionError('what arrived is not what was shared')
        for _ in range(5):
            node.step(0.01)
    finally:
        node.close()
    return node.peer


def options(addressing, hash, chunk_size=1024):
    return ['--addressing', wire.METHODS[addressing], '--hash', wire.HASHES[hash], '--chunk-size', chunk_size]


def fetch(swarm, content, data, loss=0.0, quirks=(), seed=1, args=(), by_hash=False, listen=('127.0.0.1', 0),
          peers=1):
    """culvert fetches everything from the reference peer; returns the peers."""
    nodes = [Node(Peer(swarm, content, random.Random(seed + i), quirks), listen, loss, seed + i) for i in range(peers)]
    where = [x for n in nodes for x in ('--peer', spoken(n.address))]
    what = swarm.id.hex() if by_hash else uri(swarm, len(data))
    out = os.path.join(FOLDER, f'got-{next(NUMBERS)}')
    own = '[::1]:0' if ':' in listen[0] else '127.0.0.1:0'
    c = Culvert('get', '--listen', own, *where, '-o', out, *args, what)
    try:
        end = time.monotonic() + SECONDS
        while c.alive():
            if time.monotonic() > end:
                raise AssertionError(f'not done: {[(n.peer.counts, n.peer.why[-3:]) for n in nodes]} {c.said()}')
            for n in nodes:
                n.step(0.01)
        for n in nodes:
            n.step(0.01)
        if c.stop() != 0:
            raise AssertionError(f'culvert get did not succeed: {c.said()}')
        with open(out, 'rb') as f:
            if f.read() != data:
                raise AssertionError('what arrived is not what was served')
    finally:
        c.kill()
        for n in nodes:
            n.close()
    return [n.peer for n in nodes]


PORTS = set()


def free_port():
    """One that nobody has at the moment and nobody here was given before."""
    with Culvert.lock:
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(('127.0.0.1', 0))
                port = s.getsockname()[1]
            if port not in PORTS:
                PORTS.add(port)
                return port


def viewer(node, link):
    """A viewer of culvert's that has everything from `node`, and its port."""
    for left in reversed(range(5)):
        port = free_port()
        c = Culvert('play', '--no-player', '--listen', f'127.0.0.1:{port}', '--peer', spoken(node.address),
                    '--output', os.path.join(FOLDER, f'passed-{port}'), link)
        try:
            run(node, lambda c=c: c.event('complete') or c.ended, c.said)
            if not c.ended:
                return c, port
            said = c.said()
        except BaseException:
            c.kill()
            raise
        c.kill()
        if not left or 'uses this UDP port' not in said:  # somebody else may have been given the port meanwhile
            raise AssertionError(f'culvert play ended: {said}')


@contextlib.contextmanager
def passed_on(data, hash, addressing, quirks=()):
    """A viewer of culvert's that has everything from the reference peer; its address."""
    swarm, content = static_swarm(data, hash, addressing)
    node = Node(Peer(swarm, content, None, quirks))
    try:
        c, port = viewer(node, uri(swarm, len(data)))
        try:
            yield '127.0.0.1', port
            c.stop()
        finally:
            c.kill()
    finally:
        node.close()


class Files(unittest.TestCase):
    def test_culvert_seeds(self):
        def job(addressing, hash, size):
            data = octets(size, size)
            c, address = Culvert.share(data, *options(addressing, hash))
            try:
                for loss in (0.0, 0.15):
                    leech(address, data, static_swarm(data, hash, addressing)[0], loss)
                c.stop()
            finally:
                c.kill()
        all_at_once(job, combinations())

    def test_culvert_leeches(self):
        def job(addressing, hash, size):
            data = octets(size, size)
            for loss in (0.0, 0.15):
                swarm, content = static_swarm(data, hash, addressing)
                fetch(swarm, content, data, loss)
        all_at_once(job, combinations())

    def test_culvert_passes_on(self):
        """Reference peer to a viewer of culvert's, from there to another reference peer."""
        def job(addressing, hash, size):
            data = octets(size, size)
            with passed_on(data, hash, addressing) as address:
                for loss in (0.0, 0.15):
                    leech(address, data, static_swarm(data, hash, addressing)[0], loss)
        all_at_once(job, combinations())

    def test_a_bare_root_hash_is_enough(self):
        def job(addressing, hash):
            data = octets(6000 + addressing * 1024, hash)
            swarm, content = static_swarm(data, hash, addressing)
            fetch(swarm, content, data, by_hash=True, args=options(addressing, hash))
        all_at_once(job, [(a, a) for a in range(5)])

    def test_chunk_sizes(self):
        def job(chunk_size, addressing):
            data = octets(chunk_size * 5 + 77)
            c, address = Culvert.share(data, *options(addressing, 2, chunk_size))
            try:
                leech(address, data, static_swarm(data, 2, addressing, chunk_size)[0])
                c.stop()
            finally:
                c.kill()
            swarm, content = static_swarm(data, 2, addressing, chunk_size)
            fetch(swarm, content, data)
        all_at_once(job, [(512, 1), (4096, 2), (8192, 1)])

    def test_without_integrity(self):
        """Method 0, where it is asked for: nothing is hashed, and all of it arrives, with loss too."""
        none = ['--integrity', 'none']

        def job(addressing, size):
            data = octets(size)

            def made():
                return static_swarm(data, 2, addressing, integrity=wire.NONE)
            c, address = Culvert.share(data, *options(addressing, 2), *none)
            try:
                for loss in (0.0, 0.15):
                    swarm = made()[0]
                    swarm.addressing.length = size  # it has no peaks to learn it from
                    peer = leech(address, data, swarm, loss)
                    if peer.counts['hashes']:
                        raise AssertionError(f'hashes came: {peer.counts}')
                c.stop()
            finally:
                c.kill()
            for loss in (0.0, 0.15):
                swarm, content = made()
                fetch(swarm, content, data, loss, args=none)
        all_at_once(job, [(0, 33000), (1, 7162), (2, 16384), (3, 1025), (4, 1)])

    def test_ipv6(self):
        data = octets(9999)
        c, address = Culvert.share(data, listen='[::1]:0')
        try:
            leech(address, data, static_swarm(data)[0], listen=('::1', 0))
            c.stop()
        finally:
            c.kill()
        swarm, content = static_swarm(data)
        fetch(swarm, content, data, listen=('::1', 0))

    def test_several_at_once(self):
        """One share, four leechers of different loss; two seeders, one get."""
        data = octets(30000)
        c, address = Culvert.share(data)
        try:
            all_at_once(lambda loss, seed: leech(address, data, static_swarm(data)[0], loss, seed=seed),
                        [(0.0, 1), (0.05, 2), (0.1, 3), (0.2, 4)])
            c.stop()
        finally:
            c.kill()
        swarm, content = static_swarm(data)
        peers = fetch(swarm, content, data, peers=2)
        self.assertTrue(all(p.counts['handshakes'] for p in peers), [p.counts for p in peers])


class PeerExchange(unittest.TestCase):
    """Section 3.10, in the benign network of one machine."""

    def test_culvert_tells(self):
        data = octets(300 * 1024)
        c, address = Culvert.share(data)
        first, second = (Node(Peer(static_swarm(data)[0])) for _ in range(2))
        try:
            for node in (first, second):
                node.peer.connect(address, time.time())
                run(node, lambda: node.peer.counts['chunks'] > 2, c.said)
            for channel in second.peer.channels.values():
                channel.pex_wanted = True
            end = time.monotonic() + SECONDS
            while not second.peer.found:
                self.assertLess(time.monotonic(), end, second.peer.counts)
                first.step(0.01)
                second.step(0.01)
            host, port = first.address
            self.assertEqual(second.peer.found[0], (wire.PEX_RESV4, socket.inet_aton(host) + struct.pack('>H', port)))
            c.stop()
        finally:
            first.close()
            second.close()
            c.kill()

    def test_culvert_asks(self):
        """The only peer it is given has nothing but the address of one that has everything."""
        data = octets(50 * 1024)
        swarm, content = static_swarm(data)
        knows, has = Node(Peer(static_swarm(data)[0])), Node(Peer(swarm, content))
        knows.peer.wanted = lambda channel: []
        has.peer.connect(knows.address, time.time())
        out = os.path.join(FOLDER, 'exchanged')
        c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(knows.address), '-o', out, uri(swarm, len(data)))
        try:
            end = time.monotonic() + SECONDS
            while c.alive():
                self.assertLess(time.monotonic(), end, c.said())
                knows.step(0.01)
                has.step(0.01)
            self.assertEqual(c.stop(), 0)
            with open(out, 'rb') as f:
                self.assertEqual(f.read(), data)
        finally:
            knows.close()
            has.close()
            c.kill()


    def ask(self, asker, c, *others):
        """Asks culvert for peers until it names one; the others show that they are alive."""
        for channel in asker.peer.channels.values():
            channel.pex_wanted = True

        def found():
            for other in others:
                other.step(0)
            return asker.peer.found
        run(asker, found, c.said)
        return asker.peer.found[0]

    def test_culvert_certifies(self):
        """Who has the authority's key makes certificates for the peers it speaks with, and
        names nobody otherwise; its link says whose they are."""
        data = octets(300 * 1024)
        c, address = Culvert.share(data, '--pex-key', os.path.join(FOLDER, 'authority.pem'))
        swarm = static_swarm(data)[0]
        first, second = (Node(Peer(swarm)) for _ in range(2))
        try:
            for node in (first, second):
                node.peer.connect(address, time.time())
                run(node, lambda: node.peer.counts['chunks'] > 2, c.said)
            kind, der = self.ask(second, c, first)
            self.assertEqual(kind, wire.PEX_RESCERT)
            self.assertEqual(sign.read_certificate(der), (f'file://{spoken(first.address)}/{swarm.id.hex()}', True))
            authority = unb32(re.search('&a=([a-z2-7]+)', c.event('shared')['uri'])[1])
            self.assertEqual(authority[0], sign.ED25519)
            self.assertTrue(sign.certificate_holds(der, authority[1:], time.time()))
            c.stop()
        finally:
            first.close()
            second.close()
            c.kill()

    def test_culvert_believes_certificates(self):
        """One of its peers names a trap with a certificate of his own, another one who has
        everything with one of the authority's."""
        data = octets(50 * 1024)
        swarm, content = static_swarm(data)
        key = sign.make_key(sign.ED25519)
        liar = Node(Peer(static_swarm(data)[0], issuer=sign.make_key(sign.ED25519)))
        knows = Node(Peer(static_swarm(data)[0], issuer=key))
        has, trap = Node(Peer(swarm, content)), Node(Peer(swarm, content))
        for node in (liar, knows):
            node.peer.wanted = lambda channel: []
        has.peer.connect(knows.address, time.time())
        trap.peer.connect(liar.address, time.time())
        while not (liar.peer.channels and knows.peer.channels):  # nobody else is named
            for node in (liar, knows, has, trap):
                node.step(0.01)
        heard, hears = set(), trap.peer.datagram  # a channel that was closed again counts, too
        trap.peer.datagram = lambda address, said, now: (heard.add(address), hears(address, said, now))
        lied, waiting = [], []  # the truth waits until the lie was told
        lies, tells = liar.peer.exchange, knows.peer.exchange

        def lie(channel, now):
            lies(channel, now)
            lied.extend(m for m in channel.extra if m.type == wire.PEX_RESCERT)
        liar.peer.exchange = lie
        knows.peer.exchange = lambda channel, now: waiting.append(channel)
        out = os.path.join(FOLDER, 'certified')
        c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(liar.address), '--peer', spoken(knows.address),
                    '-o', out, uri(swarm, len(data), authority=sign.swarm_id(sign.ED25519, key)))
        try:
            end = time.monotonic() + SECONDS
            while c.alive():
                self.assertLess(time.monotonic(), end, c.said())
                for node in (liar, knows, has, trap):
                    node.step(0.01)
                if lied and waiting:
                    tells(waiting.pop(), time.time())
            self.assertEqual(c.stop(), 0)
            with open(out, 'rb') as f:
                self.assertEqual(f.read(), data)
            trap.step(0.01)  # what came while it ended
            self.assertTrue(lied)
            self.assertLessEqual(heard, {liar.address})
        finally:
            for node in (liar, knows, has, trap):
                node.close()
            c.kill()

    def test_culvert_shows_its_own_certificate(self):
        """Section 12.2.2: what the authority said of it, which it does not make itself."""
        data = octets(20 * 1024)
        swarm = static_swarm(data)[0]
        key = sign.make_key(sign.ED25519)
        der = sign.membership_certificate(key, '127.0.0.1', 7001, swarm.id, time.time(), 3600)
        with open(os.path.join(FOLDER, 'own.der'), 'wb') as f:
            f.write(der)
        c, address = Culvert.share(data, '--pex-authority', sign.swarm_id(sign.ED25519, key).hex(),
                                   '--pex-certificate', os.path.join(FOLDER, 'own.der'))
        asker = Node(Peer(swarm))
        try:
            asker.peer.connect(address, time.time())
            run(asker, lambda: asker.peer.counts['chunks'] > 2, c.said)
            self.assertEqual(self.ask(asker, c), (wire.PEX_RESCERT, der))
            c.stop()
        finally:
            asker.close()
            c.kill()


class Habits(unittest.TestCase):
    """What other implementations were seen to do (docs/protocol/ppsp-profile.md)."""

    def both_ways(self, quirk, size=20000, hash=2, addressing=2):
        data = octets(size, len(quirk))
        c, address = Culvert.share(data, *options(addressing, hash))
        try:
            leecher = leech(address, data, static_swarm(data, hash, addressing)[0], quirks=[quirk])
            c.stop()
        finally:
            c.kill()
        swarm, content = static_swarm(data, hash, addressing)
        seeder = fetch(swarm, content, data, quirks=[quirk])[0]
        return leecher, seeder

    def test_they_are_survived(self):
        all_at_once(self.both_ways, [(q,) for q in (
            'split', 'bare-handshake', 'one-message', 'peak-uncles', 'short-channels', 'keepalives', 'again', 'push',
            'close-to-zero', 'no-option-8', 'no-option-9', 'several-data', 'version-2')])

    def test_a_draft_10_peer(self):
        """It takes option 9 only where it finds it harmless; SHA-1, 32-bit bins or chunk ranges."""
        data = octets(20000, 10)
        for addressing in (0, 2):
            with passed_on(data, 0, addressing, ['strict-options', 'split', 'close-to-zero']) as address:
                leech(address, data, static_swarm(data, 0, addressing)[0],
                      quirks=['strict-options', 'deaf-to-choke', 'one-message'])

    def test_habits_with_other_addresses(self):
        def job(quirk, addressing):
            data = octets(15000, addressing)
            with passed_on(data, 2, addressing, [quirk]) as address:
                leech(address, data, static_swarm(data, 2, addressing)[0], quirks=[quirk])
        all_at_once(job, [(q, a) for a in (0, 1) for q in ('split', 'one-message', 'several-data', 'push')])

    def test_an_option_without_a_length_ends_it(self):
        """Option 10 cannot be skipped: silence, and the next one is served."""
        data = octets(5000)
        c, address = Culvert.share(data)
        try:
            node = Node(Peer(static_swarm(data)[0], quirks=['option-10']))
            node.peer.connect(address, time.time())
            end = time.monotonic() + 1
            while time.monotonic() < end:
                node.step()
            self.assertEqual(node.peer.counts['datagrams'], 0)
            node.close()
            leech(address, data, static_swarm(data)[0])
            c.stop()
        finally:
            c.kill()

    def test_choke_and_unchoke(self):
        """A choked culvert asks for nothing new and goes on when it is unchoked."""
        data = octets(200 * 1024)
        swarm, content = static_swarm(data)
        node = Node(Peer(swarm, content))
        out = os.path.join(FOLDER, 'choked')
        c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(node.address), '-o', out, uri(swarm, len(data)))
        try:
            run(node, lambda: node.peer.counts['acks'] > 5, c.said)
            node.peer.choke(True)
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                node.step()
            self.assertTrue(c.alive())
            node.peer.choke(False)
            run(node, lambda: not c.alive(), c.said)
            self.assertEqual(c.stop(), 0)
            with open(out, 'rb') as f:
                self.assertEqual(f.read(), data)
        finally:
            node.close()
            c.kill()

    def test_a_liar_beside_an_honest_peer(self):
        """One seeder serves wrong chunks: what it serves is never kept, the other one is used."""
        data = octets(30000)
        swarm, content = static_swarm(data)
        wrong_swarm, wrong = static_swarm(data)
        for i in range(len(wrong.chunks)):
            wrong.chunks[i] = octets(len(wrong.chunks[i]), i + 1000)
        good, bad = Node(Peer(swarm, content)), Node(Peer(wrong_swarm, wrong))
        out = os.path.join(FOLDER, 'liar')
        c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(bad.address), '--peer', spoken(good.address),
                    '-o', out, uri(swarm, len(data)))
        try:
            end = time.monotonic() + SECONDS
            while c.alive():
                self.assertLess(time.monotonic(), end, c.said())
                good.step(0.01)
                bad.step(0.01)
            self.assertEqual(c.stop(), 0)
            with open(out, 'rb') as f:
                self.assertEqual(f.read(), data)
            self.assertGreater(bad.peer.counts['handshakes'], 0)
        finally:
            good.close()
            bad.close()
            c.kill()


KEYS = {a: sign.make_key(a, 2048) for a in sign.ALGORITHMS.values()}


def skipped(data, said):
    """Octets between the parts of a broadcast that arrived; they are whole chunks, in order."""
    at, missing = None, 0
    for i in range(0, len(data), 1024):
        part = data[i:i + 1024]
        found = next((k for k in range(at or 0, len(said)) if said[k].startswith(part)), None)
        if found is None:
            raise AssertionError(f'what arrived at {i} is not what was broadcast')
        missing += (found - at) * 1024 if at is not None else 0
        at = found + 1
    return missing


class Broadcasts(unittest.TestCase):
    def test_culvert_broadcasts(self):
        """From a pipe; the reference peer tunes in and gets what was said from then on."""
        def job(name, hash, addressing, integrity=wire.UNIFIED):
            said = [octets(1024, i) for i in range(2000)]
            read, write = os.pipe()
            c = Culvert('live', '--listen', '127.0.0.1:0', '--algorithm', name, *options(addressing, hash)[:4],
                        '--integrity', {wire.UNIFIED: 'unified', wire.SIGN_ALL: 'signall'}[integrity], '-', stdin=read)
            os.close(read)
            stop = threading.Event()

            def speak():
                for chunk in said:
                    if stop.wait(0.01):
                        break
                    os.write(write, chunk)
                os.close(write)
            speaker = threading.Thread(target=speak)
            speaker.start()
            try:
                live = c.wait('live')
                x = re.search('x=([a-z2-7]+)', live['uri']).group(1).upper()
                swarm_id = base64.b32decode(x + '=' * (-len(x) % 8))[17:]
                self.assertEqual(swarm_id[0], sign.ALGORITHMS[name])
                host, port = live['address'].rsplit(':', 1)
                for loss in (0.0, 0.1):
                    node = Node(Peer(*live_swarm(swarm_id, integrity, hash, addressing), random.Random(3), count=60),
                                loss=loss)
                    node.peer.connect((host, int(port)), time.time())
                    run(node, lambda: len(node.peer.content.chunks) >= 60, c.said)
                    for i, chunk in node.peer.content.chunks.items():
                        self.assertEqual(chunk, said[i], i)
                    node.close()
            finally:
                stop.set()
                speaker.join()
                try:
                    c.stop()
                finally:
                    c.kill()
        names = list(sign.ALGORITHMS)
        if SLOW:
            cases = [(a, h, m) for a in names for h in range(5) for m in range(5)]
        else:
            cases = [(a, (2 * i + 1) % 5, (i + 3) % 5) for i, a in enumerate(names)]
        cases += [(a, 2, i, wire.SIGN_ALL) for i, a in enumerate(names)]
        all_at_once(job, cases)

    def watch(self, algorithm, hash, addressing, integrity=wire.UNIFIED, loss=0.0, quirks=(), chunks=96):
        key = KEYS[algorithm]
        swarm, content = live_swarm(sign.swarm_id(algorithm, key), integrity, hash, addressing, 1024, key)
        content.per_signature = 8
        node, said, out = Node(Peer(swarm, content, None, quirks), loss=loss), [], os.path.join(FOLDER, f'watched-{next(NUMBERS)}')
        c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(node.address), '-o',
                    out, uri(swarm, 0, 1))
        try:
            begin = time.monotonic()
            while not os.path.exists(out) or os.path.getsize(out) < chunks * 1024:
                if time.monotonic() - begin > SECONDS or not c.alive():
                    raise AssertionError(f'not watched: {node.peer.counts} {node.peer.why[-3:]} {c.said()}')
                node.step(0.01)
                while len(said) < (time.monotonic() - begin) * 100:
                    said.append(octets(1024, len(said)))
                    node.peer.inject(said[-1], time.time())
            c.stop()
            with open(out, 'rb') as f:
                missing = skipped(f.read(), said)
            # A machine that stood still for seconds makes a viewer skip, and say so.
            c.reader.join(SECONDS)
            told = sum(line['octets'] for line in c.lines if line['event'] == 'dropped')
            if missing > told:
                raise AssertionError(f'{missing} octets are missing and {told} were said to be')
        finally:
            node.close()
            c.kill()

    def test_culvert_watches(self):
        algorithms = list(sign.ALGORITHMS.values())
        if SLOW:
            cases = [(a, h, m) for a in algorithms for h in range(5) for m in range(5)]
        else:
            cases = [(a, (i + 2 * j) % 5, (i + j) % 5) for i, a in enumerate(algorithms) for j in range(2)]
        all_at_once(self.watch, cases)
        if SLOW:
            all_at_once(self.watch, [(*case, wire.UNIFIED, 0.1) for case in cases])

    def test_culvert_watches_with_loss(self):
        all_at_once(self.watch, [(a, (i + 2) % 5, (2 * i) % 5, wire.UNIFIED, 0.1)
                                 for i, a in enumerate(sign.ALGORITHMS.values())])

    def test_a_forger_beside_the_source(self):
        """Somebody signs other chunks with another key: nothing of them is ever kept."""
        def job(integrity):
            key = KEYS[sign.ED25519]
            nodes, said = [], []
            for k in (sign.make_key(sign.ED25519), key):
                swarm, content = live_swarm(sign.swarm_id(sign.ED25519, key), integrity, 2, 2, 1024, k)
                content.per_signature = 8
                nodes.append(Node(Peer(swarm, content)))
            forger, source = nodes
            out = os.path.join(FOLDER, f'forged-{integrity}')
            c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(forger.address), '--peer',
                        spoken(source.address), '-o', out, uri(swarm, 0, 1))
            try:
                begin = time.monotonic()
                while not os.path.exists(out) or os.path.getsize(out) < 96 * 1024:
                    if time.monotonic() - begin > SECONDS or not c.alive():
                        raise AssertionError(f'not watched: {source.peer.counts} {c.said()}')
                    while len(said) < (time.monotonic() - begin) * 100:
                        said.append(octets(1024, len(said)))
                        source.peer.inject(said[-1], time.time())
                        forger.peer.inject(octets(1024, len(said) + 5000), time.time())
                    forger.step(0.005)
                    if len(said) > 50:  # the forger has its chance first
                        source.step(0.005)
                c.stop()
                with open(out, 'rb') as f:
                    skipped(f.read(), said)  # each chunk is one that was said
                if not forger.peer.counts['handshakes']:
                    raise AssertionError('the forger was never asked')
            finally:
                forger.close()
                source.close()
                c.kill()
        all_at_once(job, [(wire.UNIFIED,), (wire.SIGN_ALL,)])

    def test_sign_all(self):
        """Section 7.6 asks for no hash function there; who names one is understood, too."""
        all_at_once(self.watch, [(a, 2, i, wire.SIGN_ALL, 0.0, [(), ('hash-option',), ('version-2',)][i % 3])
                                 for i, a in enumerate(sign.ALGORITHMS.values())])


def tearDownModule():
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == '__main__':
    unittest.main(verbosity=2)
