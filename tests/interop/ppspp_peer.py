#!/usr/bin/python3
"""The naive reference peer as a program: see ppspp_engine.py for what it is.

  ppspp_peer.py seed FILE --listen 127.0.0.1:0                 prints its address and root hash
  ppspp_peer.py get --peer IP:PORT --swarm HEX -o FILE         exits 0 when complete and verified
  ppspp_peer.py live FILE --listen IP:PORT --rate CHUNKS       broadcasts FILE; prints the swarm ID
  ppspp_peer.py watch --peer IP:PORT --swarm HEX --chunks N -o FILE

Everything it prints is one JSON object a line.
"""
import argparse
import json
import os
import random
import select
import socket
import sys
import time

import ppspp_sign as sign
import ppspp_wire as wire
from ppspp_engine import Peer
from ppspp_integrity import Merkle, content_of
from ppspp_pcap import Capture

INTEGRITY = {'none': wire.NONE, 'merkle': wire.MERKLE, 'signall': wire.SIGN_ALL, 'unified': wire.UNIFIED}


def address(text):
    host, port = text.rsplit(':', 1)
    return host.strip('[]'), int(port)


def spoken(a):
    return f'[{a[0]}]:{a[1]}' if ':' in a[0] else f'{a[0]}:{a[1]}'


class Node:
    """A peer on a UDP socket. `loss` of all datagrams, both ways, falls under the table."""

    def __init__(self, peer, listen=('127.0.0.1', 0), loss=0.0, seed=1, pcap=None):
        self.peer, self.loss, self.dice = peer, loss, random.Random(seed)
        self.socket = socket.socket(socket.AF_INET6 if ':' in listen[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(listen)
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()[:2]
        self.capture = Capture(pcap) if pcap else None

    def lost(self):
        return self.dice.random() < self.loss

    def record(self, source, destination, octets):
        if self.capture:
            self.capture.add(time.time(), source, destination, octets)

    def step(self, wait=0.02):
        """Waits a little for datagrams, handles what is there, sends what is due."""
        if select.select([self.socket], [], [], wait)[0]:
            for _ in range(64):
                try:
                    octets, source = self.socket.recvfrom(65536)
                except (BlockingIOError, ConnectionRefusedError):
                    break
                if not self.lost():
                    self.record(source[:2], self.address, octets)
                    self.peer.datagram(source[:2], octets, time.time())
        self.flush()

    def flush(self):
        for to, octets in self.peer.poll(time.time()):
            if not self.lost():
                self.record(self.address, to, octets)
                try:
                    self.socket.sendto(octets, to)
                except (BlockingIOError, ConnectionRefusedError):
                    pass

    def close(self):
        self.peer.close_all(time.time())
        self.flush()
        self.socket.close()
        if self.capture:
            self.capture.close()


def static_swarm(octets, hash=2, addressing=2, chunk_size=1024, integrity=wire.MERKLE):
    """(swarm, its content) of a file. Without integrity the swarm ID is the root hash all the
    same (erratum 4724)."""
    root = Merkle(wire.Swarm(b'', wire.MERKLE, hash, addressing, chunk_size)).fill(octets).root
    swarm = wire.Swarm(root, integrity, hash, addressing, chunk_size)
    return swarm, content_of(swarm).fill(octets)


def live_swarm(swarm_id, integrity=wire.UNIFIED, hash=2, addressing=2, chunk_size=1024, key=None):
    """(swarm, empty content) of a broadcast; with the private key: of its source."""
    public = sign.PublicKey(swarm_id)
    swarm = wire.Swarm(swarm_id, integrity, hash, addressing, chunk_size, swarm_id[0], public.signature_size)
    return swarm, content_of(swarm).begin(public, swarm_id[0], key)


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('verb', choices=['seed', 'get', 'live', 'watch'])
    p.add_argument('file', nargs='?')
    p.add_argument('--listen', type=address, default=('127.0.0.1', 0))
    p.add_argument('--peer', type=address, action='append', default=[])
    p.add_argument('--swarm', type=bytes.fromhex)
    p.add_argument('-o', '--output')
    p.add_argument('--hash', choices=wire.HASHES, default='sha256')
    p.add_argument('--addressing', choices=wire.METHODS, default='chunk32')
    p.add_argument('--integrity', choices=INTEGRITY)
    p.add_argument('--algorithm', choices=sign.ALGORITHMS, default='ed25519')
    p.add_argument('--chunk-size', type=int, default=1024)
    p.add_argument('--chunks', type=int, default=32, help='watch: how many are enough')
    p.add_argument('--rate', type=float, default=50, help='live: chunks a second')
    p.add_argument('--window', type=int, help='live: discard window in chunks')
    p.add_argument('--loss', type=float, default=0.0)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--quirk', action='append', default=[])
    p.add_argument('--pcap')
    p.add_argument('--timeout', type=float, default=60)
    a = p.parse_args()
    hash, addressing = wire.HASHES.index(a.hash), wire.METHODS.index(a.addressing)
    live = a.verb in ('live', 'watch')
    integrity = INTEGRITY[a.integrity or ('unified' if live else 'merkle')]

    data = b''
    if a.verb in ('seed', 'live'):
        with (sys.stdin.buffer if a.file in (None, '-') else open(a.file, 'rb')) as f:
            data = f.read()
    if a.verb == 'seed':
        swarm, content = static_swarm(data, hash, addressing, a.chunk_size, integrity)
    elif a.verb == 'get':
        swarm = wire.Swarm(a.swarm, integrity, hash, addressing, a.chunk_size)
        content = content_of(swarm)
    elif a.verb == 'live':
        key = sign.make_key(sign.ALGORITHMS[a.algorithm])
        swarm, content = live_swarm(sign.swarm_id(sign.ALGORITHMS[a.algorithm], key), integrity, hash, addressing,
                                    a.chunk_size, key)
    else:
        swarm, content = live_swarm(a.swarm, integrity, hash, addressing, a.chunk_size)
    peer = Peer(swarm, content, random.Random(os.urandom(8)), a.quirk, a.window, a.chunks)
    node = Node(peer, a.listen, a.loss, a.seed, a.pcap)
    say(event='listening', address=spoken(node.address), swarm=swarm.id.hex())
    for other in a.peer:
        peer.connect(other, time.time())

    start, injected = time.time(), 0
    try:
        while True:
            node.step()
            now = time.time()
            if a.verb == 'live':
                while injected * a.chunk_size < len(data) and injected < (now - start) * a.rate:
                    peer.inject(data[injected * a.chunk_size:(injected + 1) * a.chunk_size], now)
                    injected += 1
                    if injected * a.chunk_size >= len(data):
                        peer.finish(now)
            if a.verb == 'get' and content.complete() or a.verb == 'watch' and len(content.chunks) >= a.chunks:
                if a.output:
                    with open(a.output, 'wb') as f:
                        f.write(content.octets())
                say(event='complete', octets=len(content.octets()), first=content.first, counts=peer.counts)
                return 0
            if a.verb in ('get', 'watch') and now - start > a.timeout:
                say(event='failed', counts=peer.counts, why=peer.why[-5:])
                return 1
    except KeyboardInterrupt:
        return 0
    finally:
        node.close()


if __name__ == '__main__':
    sys.exit(main())
