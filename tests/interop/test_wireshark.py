#!/usr/bin/python3
"""tools/culvert.lua under tshark: captures of the reference peer, every addressing method with
every hash and signature algorithm, must be read as the reference peer reads them.
Usage: test_wireshark.py CULVERT.LUA [unittest's arguments]
"""
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import ppspp_sign as sign
import ppspp_wire as wire
import test_ppspp_peer as peers
from ppspp_pcap import Capture
from ppspp_wire import Message, Swarm
from test_ppspp_peer import KEYS, octets, static

LUA = os.path.abspath(sys.argv.pop(1))
FIELDS = ['frame.number', '_ws.col.Protocol', '_ws.col.Info', 'ppspp.channel', 'ppspp.type', 'ppspp.start', 'ppspp.end',
          'ppspp.hash', 'ppspp.signature', 'ppspp.data', 'ppspp.option', 'ppspp.bin', 'ppspp.pex.ipv4', 'ppspp.pex.ipv6',
          'ppspp.pex.port', 'ppspp.pex.certificate', 'ppspp.keepalive', 'ppspp.closing', '_ws.expert.message',
          'ppspp.timestamp', 'ppspp.delay', 'ppspp.ntp', 'ppspp.source_channel', 'ppspp.pex.contact', 'ppspp.pex.period',
          'ppspp.discard_window', 'ppspp.swarm']


def tshark(log, *more):
    """What tshark says about datagrams [(source, destination, octets)]: a dict each."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'capture.pcap')
        capture = Capture(path)
        for i, (source, destination, datagram) in enumerate(log):
            capture.add(1.7e9 + i / 1000, source, destination, datagram)
        capture.close()
        args = ['tshark', '-X', 'lua_script:' + LUA, '-r', path, '-T', 'fields', '-E', 'occurrence=a',
                '-E', 'aggregator=;', '-E', 'separator=/t', *more]
        for field in FIELDS:
            args += ['-e', field]
        p = subprocess.run(args, capture_output=True, text=True, timeout=120,
                           env=dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder))
    problems = [l for l in p.stderr.splitlines() if 'Running as user' not in l]
    if p.returncode or problems:
        raise AssertionError(f'tshark: {p.returncode} {problems}')
    rows = [dict(zip(FIELDS, (v.split(';') if v else [] for v in line.split('\t')))) for line in p.stdout.splitlines()]
    assert len(rows) == len(log), (len(rows), len(log))
    return rows


class Dissector(unittest.TestCase):
    def check(self, conversations):
        """[(swarm, log)], read in one go; between other ports, so that they stay apart."""
        capture, swarms = [], []
        for i, (swarm, log) in enumerate(conversations):
            capture += [((s[0], s[1] + 10 * i), (d[0], d[1] + 10 * i), o) for s, d, o in log]
            swarms += [swarm] * len(log)
        kinds = set()
        for swarm, (_, _, datagram), row in zip(swarms, capture, tshark(capture)):
            kinds |= self.check_one(swarm, datagram, row)
        return kinds

    def check_one(self, swarm, datagram, row):
        where = f'frame {row["frame.number"]}: {row["_ws.col.Info"]}'
        messages = list(swarm.unpack(datagram))
        self.assertEqual(row['_ws.col.Protocol'], ['PPSPP'], where)
        self.assertEqual(row['_ws.expert.message'], [], where)
        self.assertEqual(int(row['ppspp.channel'][0], 0), struct.unpack('>I', datagram[:4])[0], where)
        self.assertEqual([int(t) for t in row['ppspp.type']], [m.type for m in messages], where)
        spec = [m for m in messages if m.type in wire.WITH_SPEC]
        size = swarm.chunk_size if swarm.addressing.is_byte else 1
        self.assertEqual([int(s) // size for s in row['ppspp.start']], [m.start for m in spec], where)
        self.assertEqual([int(e) // size for e in row['ppspp.end']], [m.end for m in spec], where)
        self.assertEqual(len(row['ppspp.bin']), len(spec) if swarm.addressing.is_bin else 0, where)
        for field, kind in (('ppspp.hash', wire.INTEGRITY), ('ppspp.signature', wire.SIGNED_INTEGRITY),
                            ('ppspp.data', wire.DATA), ('ppspp.pex.certificate', wire.PEX_RESCERT)):
            self.assertEqual([h.replace(':', '') for h in row[field]],
                             [m.body.hex() for m in messages if m.type == kind], where)
        for field, kind in (('ppspp.timestamp', wire.DATA), ('ppspp.delay', wire.ACK),
                            ('ppspp.ntp', wire.SIGNED_INTEGRITY)):
            self.assertEqual([int(t, 0) for t in row[field]], [m.stamp for m in messages if m.type == kind], where)
        for m in messages:
            if m.type == wire.HANDSHAKE:
                self.assertEqual([int(o) for o in row['ppspp.option']], sorted(m.body) + [255], where)
                self.assertEqual(int(row['ppspp.source_channel'][0], 0), m.start)
                self.assertEqual(bool(row['ppspp.closing']), m.start == 0)
        self.assertEqual(bool(row['ppspp.keepalive']), len(datagram) == 4, where)
        return {m.type for m in messages}

    @staticmethod
    def high(log):
        return [((s[0], s[1] + 40000), (d[0], d[1] + 40000), o) for s, d, o in log]

    def test_static_swarms(self):
        conversations = []
        for addressing in range(5):
            for hash in range(5):
                net, seeder, _ = peers.Static('run').carry(5 * 1024 + 17, hash, addressing, quirks=['keepalives'])
                conversations.append((seeder.swarm, self.high(net.log)))
        self.assertLessEqual({wire.HANDSHAKE, wire.DATA, wire.ACK, wire.HAVE, wire.INTEGRITY, wire.REQUEST},
                             self.check(conversations))

    def test_live_swarms(self):
        conversations = []
        for i, algorithm in enumerate(sign.ALGORITHMS.values()):
            for integrity in (wire.UNIFIED, wire.SIGN_ALL):
                net, injector, _ = peers.LiveStreams('run').carry(integrity, algorithm, i, i)
                conversations.append((injector.swarm, self.high(net.log[:60])))
        self.assertIn(wire.SIGNED_INTEGRITY, self.check(conversations))

    def hello(self, swarm, options=None):
        o = swarm.options()
        o.update(options or {})
        return (bytes(4) + swarm.pack(Message(wire.HANDSHAKE, 0x11223344, body=o)), bytes.fromhex('11223344') +
                swarm.pack(Message(wire.HANDSHAKE, 0x55667788, body=o)), bytes.fromhex('55667788'))

    def test_small_messages(self):
        swarm = static(2, 2, octets(3000))[0]
        first, second, head = self.hello(swarm)
        certificate = sign.membership_certificate(KEYS[sign.ED25519], '192.0.2.1', 6778, swarm.id, 1.7e9)
        small = [Message(wire.PEX_REQ), Message(wire.PEX_RESV4, body=bytes([192, 0, 2, 7, 0x1a, 0x7a])),
                 Message(wire.PEX_RESV6, body=bytes.fromhex('20010db8' + '00' * 11 + '09' + '1a7b')),
                 Message(wire.PEX_RESCERT, body=certificate), Message(wire.CHOKE), Message(wire.UNCHOKE),
                 Message(wire.CANCEL, 3, 2 ** 32 - 1)]
        a, b = ('10.0.0.1', 40007), ('10.0.0.2', 40008)
        log = [(a, b, first), (b, a, second), (a, b, head + b''.join(swarm.pack(m) for m in small)),
               (a, b, head + swarm.pack(Message(wire.HANDSHAKE, 0, body={})))]
        self.check([(swarm, log)])
        row = tshark(log)[2]
        self.assertEqual(row['ppspp.pex.ipv4'], ['192.0.2.7'])
        self.assertEqual(row['ppspp.pex.ipv6'], ['2001:db8::9'])
        self.assertEqual(row['ppspp.pex.port'], ['6778', '6779'])

    def test_numbers_beyond_52_bits(self):
        a, b = ('10.0.0.1', 40007), ('10.0.0.2', 40008)
        cases = ((4, 2 ** 63, 2 ** 64 - 1), (3, 0, 2 ** 63 - 1), (3, 2 ** 62, 2 ** 62 + 2 ** 61 - 1))
        log = []
        for method, start, end in cases:  # one channel ID after the other with other parameters
            swarm = Swarm(bytes(32), addressing=method)
            first, second, head = self.hello(swarm)
            log += [(a, b, first), (b, a, second), (a, b, head + swarm.pack(Message(wire.HAVE, start, end)))]
        for (_, start, end), row in zip(cases, tshark(log)[2::3]):
            self.assertEqual((row['ppspp.start'], row['ppspp.end']), ([str(start)], [str(end)]))

    def test_what_is_broken_is_said(self):
        swarm = static(2, 2, octets(3000))[0]
        a, b = ('10.0.0.1', 40007), ('10.0.0.2', 40008)
        first, second, head = self.hello(swarm)
        ten = self.hello(swarm, {10: bytes(16)})[0]
        fourteen = self.hello(swarm, {wire.SUPPORTED: b'\xff\xfe'})
        log = [(a, b, first), (b, a, second),
               (a, b, head + swarm.pack(Message(wire.HAVE, 0, 1))[:-1]),          # cut
               (a, b, head + swarm.pack(Message(wire.HAVE, 0, 1)) + b'\xc8rest'),  # unknown type
               (a, b, ten),                                                       # unknown option
               (a, b, head + b'\x0e\x00\x05hello'),                               # not offered: unknown
               (a, ('10.0.0.2', 40009), fourteen[0]), (('10.0.0.2', 40009), a, fourteen[1]),
               (a, ('10.0.0.2', 40009), fourteen[2] + b'\x0e\x00\x09\x00\x00\x4e\x20hello'),
               (a, b, b'\x12\x34\x56\x78 a stranger')]
        rows = tshark(log)
        said = [' '.join(r['_ws.expert.message']) for r in rows]
        self.assertIn('ends inside a message', said[2])
        self.assertEqual(rows[3]['ppspp.type'], ['3', '200'])
        for i in (3, 4, 5):
            self.assertIn('cannot be skipped', said[i])
        self.assertEqual(rows[8]['ppspp.pex.period'], ['20000'])
        self.assertEqual(rows[8]['ppspp.pex.contact'], [b'hello'.hex()])
        self.assertNotEqual(rows[9]['_ws.col.Protocol'], ['PPSPP'])

    def test_without_a_handshake_decode_as_assumes_the_defaults(self):
        swarm = Swarm(bytes(32))
        log = [(('10.0.0.1', 7777), ('10.0.0.2', 8888), bytes.fromhex('01020304') + swarm.pack(Message(wire.HAVE, 4, 6)))]
        self.assertNotEqual(tshark(log)[0]['_ws.col.Protocol'], ['PPSPP'])
        row = tshark(log, '-d', 'udp.port==8888,ppspp')[0]
        self.assertEqual((row['ppspp.start'], row['ppspp.end']), (['4'], ['6']))
        self.assertIn('not captured', row['_ws.expert.message'][0])

    def test_a_tunnel_datagram_is_opaque(self):
        log = [(('10.0.0.1', 7777), ('10.0.0.2', 8888), octets(1232))]
        self.assertEqual(tshark(log, '-d', 'udp.port==8888,culvert_cell')[0]['_ws.col.Info'], ['tunnel datagram'])


if __name__ == '__main__':
    unittest.main()
