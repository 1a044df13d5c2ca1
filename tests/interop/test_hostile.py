#!/usr/bin/python3
"""culvert --direct among strangers who mean it no good, seen from outside: whatever they send, the
program lives, keeps its memory, says nothing to those who have not proved their address beyond
what they sent, and serves (or finds) an honest peer afterwards.
Usage: test_hostile.py CULVERT [--slow] [unittest's arguments]
"""
import os
import random
import socket
import struct
import time
import unittest

import ppspp_wire as wire
import test_ppspp
from ppspp_engine import Peer
from ppspp_peer import Node, spoken, static_swarm
from ppspp_wire import Message
from test_ppspp import Culvert, leech, octets, uri

# A sanitizer's quarantine would hide what the program itself keeps.
os.environ['ASAN_OPTIONS'] = os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1'
TIMES = 1 if test_ppspp.SLOW else 8  # floods are so many times shorter
GROWTH = 24 << 20  # octets that one attack may leave behind, the allocator's slack included
ALL = 2 ** 32 - 1


def resident(pid):
    with open(f'/proc/{pid}/statm') as f:
        return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


class Stranger:
    """A socket and somebody at it who can write any octets."""

    def __init__(self, swarm, to, seed=1):
        self.swarm, self.to, self.rng = swarm, to, random.Random(seed)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.theirs, self.sent, self.got, self.answers = 0, 0, 0, []

    def send(self, payload):
        self.sent += len(payload)
        self.socket.sendto(payload, self.to)

    def say(self, *messages, channel=None):
        head = struct.pack('>I', self.theirs if channel is None else channel)
        self.send(head + b''.join(m if isinstance(m, bytes) else self.swarm.pack(m) for m in messages))

    def hear(self, seconds=0.3):
        """Datagrams that arrive until it has been quiet for so long."""
        new = []
        self.socket.settimeout(seconds)
        end = time.monotonic() + 10 * seconds
        try:
            while time.monotonic() < end:
                new.append(self.socket.recv(65536))
        except socket.timeout:
            pass
        self.got += sum(map(len, new))
        self.answers += new
        return new

    def hello(self, change=None, source=None, more=b''):
        """The first datagram of a handshake, as octets."""
        o = self.swarm.options()
        o.update(change or {})
        o = {k: v for k, v in o.items() if v is not None}
        source = self.rng.randrange(1, 2 ** 32) if source is None else source
        return bytes(4) + self.swarm.pack(Message(wire.HANDSHAKE, source, body=o)) + more

    def enter(self):
        """A whole handshake; afterwards this stranger has a channel of its own."""
        end = time.monotonic() + test_ppspp.SECONDS
        while time.monotonic() < end:
            self.send(self.hello())
            for answer in self.hear(0.2):
                first = next(self.swarm.unpack(answer))
                if first.type == wire.HANDSHAKE and first.start:
                    self.theirs = first.start
                    self.say()
                    return self
        raise AssertionError('no handshake')

    def is_served(self, chunk):
        """It asks until it is: a request may be lost behind a flood, or answered late."""
        end = time.monotonic() + test_ppspp.SECONDS
        while time.monotonic() < end:
            self.say(Message(wire.REQUEST, chunk, chunk))
            if any(m.type == wire.DATA for answer in self.hear() for m in self.swarm.unpack(answer)):
                return True
        return False

    def close(self):
        self.socket.close()


class AgainstShare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = octets(100 * 1024 + 5)
        cls.culvert, cls.address = Culvert.share(cls.data)
        cls.open = []

    @classmethod
    def tearDownClass(cls):
        for s in cls.open:
            s.close()
        try:
            cls.culvert.stop()
        finally:
            cls.culvert.kill()

    def setUp(self):
        self.swarm = static_swarm(self.data)[0]
        self.before = resident(self.culvert.process.pid)

    def tearDown(self):
        """Still there, still serving, not grown."""
        self.assertTrue(self.culvert.alive(), self.culvert.said())
        leech(self.address, self.data, static_swarm(self.data)[0])
        grown = resident(self.culvert.process.pid) - self.before
        self.assertLess(grown, GROWTH, f'{grown >> 20} MiB more')

    def stranger(self, seed=1):
        s = Stranger(self.swarm, self.address, seed)
        self.open.append(s)
        return s

    def test_noise_meets_silence(self):
        s = self.stranger()
        for i in range(3000 // TIMES):
            s.send(s.rng.randbytes(s.rng.choice([0, 1, 3, 4, 5, 9, 16, 60, 1232, 1400])))
        for kind in range(256):
            s.send(bytes(4) + bytes([kind]) + s.rng.randbytes(40))
        self.assertEqual(s.hear(), [])

    def test_every_cut_of_a_handshake_meets_silence(self):
        s = self.stranger()
        whole = s.hello()
        for n in range(len(whole)):
            s.send(whole[:n])
        self.assertEqual(s.hear(), [])

    def test_every_wrong_option_meets_silence(self):
        bad = [{wire.VERSION: b'\0'}, {wire.MIN_VERSION: b'\2', wire.VERSION: b'\2'}, {wire.SWARM_ID: bytes(32)},
               {wire.SWARM_ID: self.swarm.id[:-1]}, {wire.SWARM_ID: self.swarm.id + b'\0'}, {wire.SWARM_ID: b''},
               {wire.SWARM_ID: None}, {wire.CIPM: b'\0'}, {wire.CIPM: b'\3'}, {wire.CIPM: b'\4'}, {wire.CIPM: None},
               {wire.MERKLE_HASH: b'\0'}, {wire.MERKLE_HASH: b'\5'}, {wire.MERKLE_HASH: None}, {wire.CAM: b'\0'},
               {wire.CAM: b'\4'}, {wire.CAM: b'\5'}, {wire.CAM: None}, {wire.CHUNK_SIZE: bytes(4)},
               {wire.CHUNK_SIZE: b'\xff' * 4}, {wire.CHUNK_SIZE: struct.pack('>I', 1023)}, {10: bytes(16)},
               {254: b''}]
        for change in bad:
            with self.subTest(change=change):
                s = self.stranger()
                s.send(s.hello(change))
                self.assertEqual(s.hear(0.1), [])
        s = self.stranger()
        s.send(s.hello(source=0))
        good = s.hello()
        s.send(good[:9] + good[11:13] + good[9:11] + good[13:])  # out of order
        s.send(good[:-1] + good[9:11] + b'\xff')                 # the version once more
        self.assertEqual(s.hear(0.1), [])

    def test_handshakes_without_end_cost_nothing_and_are_not_multiplied(self):
        s = self.stranger()
        for i in range(4000 // TIMES):
            s.send(s.hello())
            if i % 100 == 0:
                time.sleep(0.005)
        s.hear(0.5)
        self.stranger(2).enter()  # who is answered when all that came before was read
        s.hear(0.1)
        self.assertLessEqual(len(s.answers), 4000 // TIMES)
        self.assertLessEqual(s.got, s.sent, f'{s.got} octets for {s.sent}')
        # Nothing heavier, and nothing later, until the address is proved.
        for answer in s.answers:
            kinds = {m.type for m in self.swarm.unpack(answer)}
            self.assertLessEqual(kinds, {wire.HANDSHAKE, wire.HAVE, wire.REQUEST, wire.CHOKE})
        self.assertEqual(s.hear(1.0), [])

    def test_a_request_beside_the_handshake_is_not_served(self):
        s = self.stranger()
        s.send(s.hello(more=self.swarm.pack(Message(wire.REQUEST, 0, 50))))
        for answer in s.hear(0.5):
            self.assertNotIn(wire.DATA, {m.type for m in self.swarm.unpack(answer)})
        self.assertLess(s.got, 400)

    def test_channels_of_others(self):
        """A channel belongs to one address, and a number that was guessed to nobody."""
        owner, thief = self.stranger(1).enter(), self.stranger(2)
        owner.hear()
        thief.theirs = owner.theirs
        thief.say(Message(wire.REQUEST, 0, 20))
        thief.say(Message(wire.HANDSHAKE, 0, body={}))
        for _ in range(3000 // TIMES):
            thief.say(Message(wire.REQUEST, 0, 20), channel=thief.rng.randrange(1, 2 ** 32))
        self.assertEqual(thief.hear(), [])
        self.assertTrue(owner.is_served(3))

    def flood(self, make, count=4000):
        s = self.stranger().enter()
        for i in range(count // TIMES):
            s.say(*make(i, s))
            if i % 64 == 0:
                s.hear(0.001)
        return s

    def test_request_floods(self):
        self.flood(lambda i, s: [Message(wire.REQUEST, 0, ALL)] * 20)
        self.flood(lambda i, s: [Message(wire.REQUEST, i % 101, i % 101)] * 60)

    def test_what_is_never_acknowledged_ends(self):
        """Who asks for everything and acknowledges nothing gets a few windows, not the file again and again."""
        s = self.stranger().enter()
        s.say(Message(wire.REQUEST, 0, 100))
        s.hear(1.0)
        self.assertLess(s.got, 4 * len(self.data))

    def test_ranges_that_wrap(self):
        def wraps(i, s):
            return [[bytes([kind]) + struct.pack('>II', start, end) for kind in (8, 9, 3)][i % 3]
                    for start, end in ((5, 4), (ALL, 0), (ALL, ALL), (2 ** 31, 2 ** 31 - 1), (0, ALL))]
        for i in range(3):
            self.flood(lambda j, s: [wraps(i, s)[j % 5]], 50)

    def test_acknowledgements_of_what_was_never_sent(self):
        self.flood(lambda i, s: [Message(wire.ACK, 0, i % 100, s.rng.randrange(2 ** 64))] * 10, 500)
        self.flood(lambda i, s: [Message(wire.ACK, 0, ALL, 0)], 100)

    def test_have_cancel_choke_and_the_rest(self):
        self.flood(lambda i, s: [Message(wire.HAVE, i * 7, i * 7)] * 50)
        self.flood(lambda i, s: [Message(wire.HAVE, 2 * j + 1000 * i, 2 * j + 1000 * i) for j in range(100)], 1000)
        self.flood(lambda i, s: [Message(wire.CANCEL, 0, ALL), Message(wire.CHOKE), Message(wire.UNCHOKE)] * 20)

    def test_messages_that_a_seeder_does_not_need(self):
        self.flood(lambda i, s: [Message(wire.INTEGRITY, i, i, body=s.rng.randbytes(32))] * 20)
        self.flood(lambda i, s: [Message(wire.DATA, i % 101, i % 101, 0, s.rng.randbytes(1024))], 1000)
        self.flood(lambda i, s: [Message(wire.PEX_REQ)] * 100, 500)
        self.flood(lambda i, s: [Message(wire.PEX_RESV4, body=s.rng.randbytes(6))] * 100, 500)
        self.flood(lambda i, s: [Message(wire.PEX_RESV6, body=s.rng.randbytes(18))] * 50, 500)
        self.flood(lambda i, s: [bytes([0x0d]) + struct.pack('>H', 1000) + s.rng.randbytes(1000)], 500)
        self.flood(lambda i, s: [bytes([s.rng.randrange(14, 256)]) + s.rng.randbytes(60)], 300)

    def test_keepalives_are_not_answered(self):
        s = self.stranger().enter()
        s.hear()
        for _ in range(2000):
            s.say()
        self.assertLess(len(s.hear(0.3)), 20)

    def test_many_channels_that_only_exist(self):
        """Finished handshakes of one address that ask for nothing."""
        s = self.stranger()
        for i in range(2000 // TIMES):
            s.send(s.hello())
            if i % 20 == 19:
                for answer in s.hear(0.02):
                    first = next(self.swarm.unpack(answer))
                    if first.type == wire.HANDSHAKE and first.start:
                        s.say(channel=first.start)


class AgainstGet(unittest.TestCase):
    """A hostile seeder beside an honest one; the file arrives all the same."""

    def attack(self, on_message, options=None, size=40 * 1024):
        """`on_message(say, message)` answers each message of culvert's with whatever it likes."""
        data = octets(size)
        swarm, content = static_swarm(data)
        honest = Node(Peer(swarm, content))
        bad = Stranger(static_swarm(data)[0], None)
        bad.socket.setblocking(False)
        out = os.path.join(test_ppspp.FOLDER, f'hostile-{bad.socket.getsockname()[1]}')
        c = Culvert('get', '--listen', '127.0.0.1:0', '--peer', spoken(bad.socket.getsockname()), '--peer',
                    spoken(honest.address), '-o', out, uri(swarm, len(data)))
        try:
            end = time.monotonic() + test_ppspp.SECONDS
            while c.alive():
                self.assertLess(time.monotonic(), end, c.said())
                for _ in range(20):
                    try:
                        datagram, bad.to = bad.socket.recvfrom(65536)
                    except BlockingIOError:
                        break
                    for m in bad.swarm.unpack(datagram):
                        if m.type == wire.HANDSHAKE and m.start:
                            bad.theirs = m.start
                            o = bad.swarm.options()
                            o.pop(wire.MIN_VERSION)
                            o.update(options or {})
                            bad.say(Message(wire.HANDSHAKE, 77, body=o), Message(wire.HAVE, 0, len(content.chunks) - 1))
                        if bad.theirs:
                            on_message(bad, m)
                # The honest one comes late: the other has its chance first.
                if time.monotonic() > end - test_ppspp.SECONDS + 0.3:
                    honest.step(0.01)
                else:
                    time.sleep(0.005)
            self.assertEqual(c.stop(), 0)
            with open(out, 'rb') as f:
                self.assertEqual(f.read(), data)
        finally:
            honest.close()
            bad.close()
            c.kill()

    def test_metadata_of_another_world(self):
        for options in ({wire.CHUNK_SIZE: bytes(4)}, {wire.CHUNK_SIZE: b'\xff' * 4}, {wire.CAM: b'\0'},
                        {wire.MERKLE_HASH: b'\4'}, {wire.CIPM: b'\0'}, {wire.SWARM_ID: bytes(32)}):
            with self.subTest(options=options):
                self.attack(lambda bad, m: None, options)

    def test_has_everything_and_gives_nothing(self):
        self.attack(lambda bad, m: bad.say(Message(wire.HAVE, 0, ALL)))

    def test_sizes_out_of_the_air(self):
        def answer(bad, m):
            if m.type == wire.REQUEST:
                for end in (2 ** 31 - 1, 2 ** 20 - 1, 0):
                    bad.say(Message(wire.INTEGRITY, 0, end, body=bad.rng.randbytes(32)),
                            Message(wire.DATA, m.start, m.start, 0, octets(1024, 5)))
        self.attack(answer)

    def test_hashes_and_chunks_of_its_own(self):
        def answer(bad, m):
            if m.type == wire.REQUEST:
                for i in range(50):
                    width = 1 << bad.rng.randrange(32)
                    start = bad.rng.randrange(2 ** 32 // width) * width
                    bad.say(*[Message(wire.INTEGRITY, start, start + width - 1, body=bad.rng.randbytes(32))] * 20)
                for chunk in (m.start, 39, 40, 41, ALL):
                    bad.say(Message(wire.DATA, chunk, chunk, 2 ** 64 - 1, bad.rng.randbytes(1024)))
                bad.say(bytes([1]) + struct.pack('>IIQ', 5, 3, 0) + bytes(1024))
        self.attack(answer)

    def test_empty_and_overlong_chunks(self):
        def answer(bad, m):
            if m.type == wire.REQUEST:
                for n in (0, 1, 1023, 1025, 1400):
                    bad.say(bytes([1]) + struct.pack('>IIQ', m.start, m.start, 0) + bytes(n))
        self.attack(answer)

    def test_two_handshakes_and_a_closing_one(self):
        def answer(bad, m):
            if m.type == wire.REQUEST:
                o = bad.swarm.options()
                bad.say(Message(wire.HANDSHAKE, 78, body=o))
                bad.say(Message(wire.HANDSHAKE, 0, body={}), channel=bad.theirs ^ 1)
                bad.say(Message(wire.HANDSHAKE, 0, body={}), channel=0)
                bad.say(Message(wire.HANDSHAKE, 0, body={wire.VERSION: b'\1'}))
        self.attack(answer)

    def test_choked_for_ever(self):
        self.attack(lambda bad, m: bad.say(Message(wire.CHOKE)))

    def test_storms(self):
        last = [0.0]

        def answer(bad, m):
            if m.type == wire.REQUEST and time.monotonic() - last[0] > 0.05:
                for i in range(100):
                    bad.say()
                    bad.say(*[Message(wire.REQUEST, 0, ALL), Message(wire.CHOKE), Message(wire.UNCHOKE)] * 10)
                last[0] = time.monotonic()
        self.attack(answer)


def tearDownModule():
    test_ppspp.tearDownModule()


if __name__ == '__main__':
    unittest.main(verbosity=2)
