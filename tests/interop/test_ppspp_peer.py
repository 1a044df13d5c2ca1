#!/usr/bin/python3
"""The reference peer against itself: seeder to leecher in virtual time, for every addressing
method, integrity method, hash and signature algorithm, with and without loss; and its codecs
against the octets of RFC 7574's own examples."""
import random
import unittest

import ppspp_sign as sign
import ppspp_wire as wire
from ppspp_engine import Peer
from ppspp_integrity import Merkle, content_of
from ppspp_wire import Message, Swarm

KEYS = {a: sign.make_key(a) for a in sign.ALGORITHMS.values()}


def octets(n, seed=1):
    return random.Random(seed).randbytes(n)


class Network:
    """Datagrams between peers, 5 ms each, in virtual time; `loss` is a probability."""

    def __init__(self, loss=0.0, seed=1):
        self.peers, self.now, self.loss, self.rng, self.flying, self.log = {}, 1.7e9, loss, random.Random(seed), [], []

    def add(self, port, peer):
        self.peers['127.0.0.1', port] = peer
        return '127.0.0.1', port

    def run(self, done, seconds=60, each=lambda now: None):
        end = self.now + seconds
        while self.now < end:
            each(self.now)
            for address, peer in self.peers.items():
                for to, datagram in peer.poll(self.now):
                    self.log.append((address, to, datagram))
                    if self.rng.random() >= self.loss:
                        self.flying.append((self.now + 0.005, address, to, datagram))
            self.now += 0.005
            due, self.flying = ([f for f in self.flying if f[0] <= self.now],
                                [f for f in self.flying if f[0] > self.now])
            for _, source, to, datagram in due:
                if to in self.peers:
                    self.peers[to].datagram(source, datagram, self.now)
            if done():
                return True
        return False


def static(hash, addressing, octets_, integrity=wire.MERKLE, chunk_size=1024):
    draft = Swarm(b'', integrity, hash, addressing, chunk_size)
    root = Merkle(Swarm(b'', wire.MERKLE, hash, addressing, chunk_size)).fill(octets_).root
    draft.id = root
    return draft, content_of(draft).fill(octets_)


def pair(swarm_s, content, swarm_l, loss=0.0, seed=1, quirks=(), theirs=()):
    net = Network(loss, seed)
    seeder = Peer(swarm_s, content, random.Random(seed), theirs)
    leecher = Peer(swarm_l, None, random.Random(seed + 1), quirks)
    at = net.add(1, seeder)
    net.add(2, leecher)
    leecher.connect(at, net.now)
    return net, seeder, leecher


class Examples(unittest.TestCase):
    def test_handshake_of_section_8_16(self):
        root = bytes(range(0x40, 0x60))
        s = Swarm(root)
        o = s.options()
        del o[wire.SUPPORTED]
        datagram = bytes(4) + s.pack(Message(wire.HANDSHAKE, 1, body=o))
        self.assertEqual(datagram.hex(), '00000000' '0000000001' '0001' '0101' '020020' + root.hex() +
                         '0301' '0402' '0602' '0900000400' 'ff')

    def test_have_of_section_8_2(self):
        self.assertEqual(Swarm(b'', addressing=0).pack(Message(wire.HAVE, 0, 1)).hex(), '0300000001')

    def test_ack_and_have_of_section_8_16(self):
        s = Swarm(b'')
        self.assertEqual((s.pack(Message(wire.ACK, 0, 0, 100)) + s.pack(Message(wire.HAVE, 0, 0))).hex(),
                         '02' + '00' * 8 + '0000000000000064' + '03' + '00' * 8)

    def test_bins_of_figure_2(self):
        a = wire.Addressing(0, 1024)
        for node, (start, end) in {7: (0, 7), 3: (0, 3), 11: (4, 7), 1: (0, 1), 2: (1, 1), 13: (6, 7)}.items():
            self.assertEqual(a.pack(start, end), node.to_bytes(4, 'big'))
            self.assertEqual(a.unpack(node.to_bytes(4, 'big')), (start, end))
        self.assertEqual(a.unpack(bytes.fromhex('7fffffff')), (0, 2 ** 31 - 1))
        self.assertRaises(wire.Invalid, a.unpack, b'\xff' * 4)

    def test_peaks_of_figure_4_and_hashes_of_table_1(self):
        _, content = static(2, 2, octets(7162))
        bins = lambda nodes: [2 * s + w - 1 for s, w in nodes]
        self.assertEqual(bins(content.peaks()), [3, 9, 12])
        have, sent = set(), []
        for chunk in range(7):
            has = lambda s, e: any(s <= i <= e for i in have)
            proof = content.uncles(chunk, (0, content.width), has)
            sent.append(sorted(m.start + m.end for m in proof))
            have.add(chunk)
        self.assertEqual(sent, [[2, 5, 11], [], [6], [], [10, 13], [], [14]])

    def test_supported_messages_of_section_7_10(self):
        peer = Peer(Swarm(b''))
        c = peer.connect(('127.0.0.1', 1), 0)
        peer.take_options(c, {wire.SUPPORTED: bytes.fromhex('d9f0')})
        self.assertEqual(c.supported, set(range(12)) - {wire.ACK, wire.PEX_RESV4, wire.PEX_REQ})

    def test_what_is_wrong_is_refused(self):
        s = Swarm(bytes(32))
        for text in ('00', '00000000010100ff', '0000000001000101' '0602', '03' + '00' * 7, 'ff', '0e',
                     '03' '00000005' '00000004', '0000000001' '0a' + '00' * 16 + 'ff'):
            with self.assertRaises(wire.Invalid, msg=text):
                list(s.unpack(bytes(4) + bytes.fromhex(text)))


class Static(unittest.TestCase):
    def carry(self, size, hash=2, addressing=2, integrity=wire.MERKLE, loss=0.0, chunk_size=1024, **how):
        data = octets(size)
        swarm, content = static(hash, addressing, data, integrity, chunk_size)
        other, _ = static(hash, addressing, data, integrity, chunk_size)
        net, seeder, leecher = pair(swarm, content, other, loss, **how)
        ok = net.run(leecher.content.complete)
        self.assertTrue(ok, f'{leecher.counts} {leecher.why[-3:]} {seeder.counts} {seeder.why[-3:]}')
        self.assertEqual(leecher.content.octets(), data)
        return net, seeder, leecher

    def test_every_method_and_hash(self):
        for addressing in range(5):
            for hash in range(5):
                for loss in (0, 0.2):
                    with self.subTest(addressing=wire.METHODS[addressing], hash=wire.HASHES[hash], loss=loss):
                        self.carry(13 * 1024 + 17, hash, addressing, loss=loss)
            with self.subTest(addressing=wire.METHODS[addressing], integrity='none'):
                self.carry(9 * 1024 + 5, 2, addressing, wire.NONE, 0.1)

    def test_sizes(self):
        for chunks in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33):
            for tail in (1, 1023, 1024):
                with self.subTest(chunks=chunks, tail=tail):
                    self.carry((chunks - 1) * 1024 + tail)
                    self.carry((chunks - 1) * 1024 + tail, addressing=1)

    def test_chunk_sizes(self):
        for size in (512, 4096, 8192):
            self.carry(11 * size + 1, chunk_size=size)

    def test_quirks(self):
        for quirk in ('split', 'bare-handshake', 'one-message', 'peak-uncles', 'short-channels', 'keepalives',
                      'version-2', 'again', 'push', 'deaf-to-choke', 'several-data', 'close-to-zero', 'no-option-8'):
            with self.subTest(quirk=quirk):
                self.carry(21 * 1024, quirks=[quirk], theirs=[quirk])

    def test_option_10_meets_silence(self):
        swarm, content = static(2, 2, octets(3000))
        net, seeder, leecher = pair(swarm, content, swarm, quirks=['option-10'])
        self.assertFalse(net.run(leecher.content.complete, 5))
        self.assertEqual(seeder.counts['sent'], 0)

    def test_a_wrong_chunk_or_hash_is_found(self):
        for broken in ('chunk', 'hash'):
            data = octets(9 * 1024)
            swarm, content = static(2, 2, data)
            if broken == 'chunk':
                content.chunks[5] = octets(1024, 99)
            else:
                content.known[5, 1] = bytes(32)
            net, seeder, leecher = pair(swarm, content, static(2, 2, data)[0])
            done = net.run(leecher.content.complete, 5)
            self.assertGreater(leecher.counts['bad_chunks'], 0)
            if broken == 'chunk':
                self.assertNotIn(5, leecher.content.chunks)
            else:  # the true hash of a chunk comes with the chunk itself
                self.assertTrue(done)
                self.assertEqual(leecher.content.octets(), data)

    def test_choke_cancel_and_peer_exchange(self):
        data = octets(40 * 1024)
        swarm, content = static(2, 2, data)
        net, seeder, leecher = pair(swarm, content, static(2, 2, data)[0])
        third = Peer(static(2, 2, data)[0], None, random.Random(9))
        net.add(3, third)
        third.connect(('127.0.0.1', 1), net.now)
        seeder.certificate = sign.membership_certificate(KEYS[sign.ED25519], '192.0.2.1', 6778, swarm.id, net.now)
        net.run(lambda: len(leecher.content.chunks) > 3)
        seeder.choke(True)
        net.run(lambda: leecher.counts['choked'] > 0)
        held = len(leecher.content.chunks)
        net.run(lambda: False, 1)
        self.assertLessEqual(len(leecher.content.chunks), held + 1)
        seeder.choke(False)
        for c in leecher.channels.values():
            c.pex_wanted = True
        self.assertTrue(net.run(lambda: leecher.content.complete() and third.content.complete()))
        kinds = dict(leecher.found)
        self.assertEqual(kinds[wire.PEX_RESV4].hex(), '7f0000010003')
        self.assertEqual(sign.read_certificate(kinds[wire.PEX_RESCERT]),
                         (f'file://192.0.2.1:6778/{swarm.id.hex()}', True))
        leecher.close_all(net.now)
        net.run(lambda: len(seeder.channels) == 1, 1)
        self.assertEqual(len(seeder.channels), 1)

    def test_no_heavy_payload_before_the_third_datagram(self):
        net, _, _ = self.carry(4000)
        first, second = net.log[0][2], net.log[1][2]
        self.assertEqual(first[:4], bytes(4))
        for datagram in (first, second):
            kinds = [m.type for m in static(2, 2, octets(4000))[0].unpack(datagram)]
            self.assertEqual(kinds[0], wire.HANDSHAKE)
            self.assertFalse({wire.DATA, wire.SIGNED_INTEGRITY} & set(kinds))


class LiveStreams(unittest.TestCase):
    def carry(self, integrity, algorithm, hash=2, addressing=2, loss=0.0, quirks=(), theirs=(), window=None):
        public = sign.PublicKey(sign.swarm_id(algorithm, KEYS[algorithm]))
        swarms = [Swarm(sign.swarm_id(algorithm, KEYS[algorithm]), integrity, hash, addressing, 1024, algorithm,
                        public.signature_size) for _ in range(2)]
        source = content_of(swarms[0]).begin(public, algorithm, KEYS[algorithm])
        net = Network(loss)
        injector = Peer(swarms[0], source, random.Random(1), theirs, window)
        viewer = Peer(swarms[1], content_of(swarms[1]).begin(public), random.Random(2), quirks, count=12)
        at = net.add(1, injector)
        net.add(2, viewer)
        chunks, injected = [octets(1024, i) for i in range(60)], []

        def source_step(now):
            if len(injected) < 60 and (now - 1.7e9) >= 0.02 * len(injected):
                injector.inject(chunks[len(injected)], now)
                injected.append(1)
            if len(injected) == 20 and not viewer.channels:
                viewer.connect(at, now)
        ok = net.run(lambda: len(viewer.content.chunks) >= 12, 30, source_step)
        self.assertTrue(ok, f'{viewer.counts} {viewer.why[-3:]} {injector.counts} {injector.why[-3:]}')
        self.assertGreaterEqual(viewer.wanted_from, 16)
        for i, data in viewer.content.chunks.items():
            self.assertEqual(data, chunks[i])
        return net, injector, viewer

    def test_unified_every_combination(self):
        for addressing in range(5):
            for algorithm in KEYS:
                for hash in range(5):
                    with self.subTest(method=wire.METHODS[addressing], algorithm=algorithm, hash=hash):
                        self.carry(wire.UNIFIED, algorithm, hash, addressing, loss=0.1 if hash % 2 else 0)

    def test_sign_all_every_combination(self):
        for addressing in range(5):
            for algorithm in KEYS:
                with self.subTest(method=wire.METHODS[addressing], algorithm=algorithm):
                    self.carry(wire.SIGN_ALL, algorithm, 2, addressing, loss=0.1 if addressing % 2 else 0)

    def test_a_long_key(self):
        """A swarm ID of more than 255 octets."""
        short, KEYS[sign.RSASHA256] = KEYS[sign.RSASHA256], sign.make_key(sign.RSASHA256, 2048)
        try:
            self.carry(wire.UNIFIED, sign.RSASHA256)
            self.carry(wire.SIGN_ALL, sign.RSASHA256)
        finally:
            KEYS[sign.RSASHA256] = short

    def test_have_names_the_biggest_interval(self):
        """Section 4.3.1: so that the next announcement says what a lost one said."""
        for addressing, expected in ((2, [(0, 3), (0, 7), (0, 11)]), (0, [(0, 3), (0, 7), (8, 11)])):
            key = KEYS[sign.ED25519]
            swarm = Swarm(sign.swarm_id(sign.ED25519, key), wire.UNIFIED, 2, addressing, 1024, sign.ED25519, 64)
            injector = Peer(swarm, content_of(swarm).begin(sign.PublicKey(swarm.id), sign.ED25519, key))
            c = injector.new_channel(('127.0.0.1', 1), False, 0)
            for i in range(12):
                injector.inject(octets(1024, i), 1.7e9)
            self.assertEqual(c.haves, expected)

    def test_a_forged_munro_is_found(self):
        for integrity in (wire.UNIFIED, wire.SIGN_ALL):
            KEYS['real'], KEYS[sign.ED25519] = KEYS[sign.ED25519], KEYS[sign.ED25519]
            algorithm = sign.ED25519
            public = sign.PublicKey(sign.swarm_id(algorithm, KEYS[algorithm]))
            swarm = Swarm(sign.swarm_id(algorithm, KEYS[algorithm]), integrity, 2, 2, 1024, algorithm, 64)
            source = content_of(swarm).begin(public, algorithm, sign.make_key(algorithm))
            net = Network()
            injector, viewer = Peer(swarm, source), Peer(swarm, content_of(swarm).begin(public))
            net.add(1, injector)
            net.add(2, viewer)
            for i in range(16):
                injector.inject(octets(1024, i), net.now)
            viewer.connect(('127.0.0.1', 1), net.now)
            self.assertFalse(net.run(lambda: viewer.content.chunks, 3))
            self.assertTrue(viewer.counts['invalid'] or viewer.counts['bad_chunks'])
            KEYS.pop('real')


if __name__ == '__main__':
    unittest.main()
