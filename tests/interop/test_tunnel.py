#!/usr/bin/python3
"""A client in Python, written from docs/protocol/tunnel.md over the second
implementation of the formats (tests/vectors/tunnel.py), against real relays: it asks
for descriptors, makes a link, builds circuits of one to three hops with either suite,
asks relays what they know, turns its keys, and is refused where the page says so.

Usage: test_tunnel.py CULVERT CULVERT_DHT
"""
import hashlib
import os
import pathlib
import socket
import struct
import sys
import time
import unittest

sys.path += [str(pathlib.Path(__file__).resolve().parent.parent / part)
             for part in ("vectors", "e2e")]
import programs
import tunnel
from cryptography.exceptions import InvalidTag
from village import Village

DHT = None
PLAIN, AES = 1, 2
(CREATE, CREATED, DESTROY, KEEPALIVE, CHALLENGE, RESPONSE) = (2, 3, 4, 6, 9, 10)
(EXTEND, EXTENDED, BUCKET, DESCRIPTORS, PING, PONG, ERROR) = (2, 3, 4, 5, 19, 20, 22)
UNKNOWN, UNREACHABLE = 1, 5


class Relay:
    """What a descriptor says, once its signature verified."""

    def __init__(self, octets, address):
        self.octets, self.address = octets, address
        self.identity = octets[9:41]
        tunnel.Ed25519PublicKey.from_public_bytes(self.identity).verify(
            octets[-64:], b"culvert descriptor 1" + octets[:-64])
        (self.day,) = struct.unpack_from("<I", octets, 41)
        self.link_key, keys = octets[45:77], octets[77:237]
        hours = (time.time() - self.day * 86400) / 3600
        self.onion_key = keys[32 * min(int(hours // 6), 4):][:32]
        self.suites = octets[271]
        self.digest = tunnel.blake2b(16, octets)


class Socket:
    def __init__(self):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.99.0.1", 0))

    def exchange(self, datagram, to, understood, tries=5):
        """Sends until something comes that `understood` does not answer with None."""
        wait = 0.25
        for _ in range(tries):
            self.udp.sendto(datagram() if callable(datagram) else datagram, to)
            found = self.wait(understood, wait)
            if found is not None:
                return found
            wait *= 2
        raise AssertionError("no answer")

    def wait(self, understood, seconds):
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            self.udp.settimeout(left)
            try:
                got, _ = self.udp.recvfrom(2048)
            except TimeoutError:
                return None
            assert len(got) == tunnel.DATAGRAM
            found = understood(got)
            if found is not None:
                return found
        return None


def describe(sock, network, address):
    mac_key = tunnel.blake2b(32, b"culvert describe mac" + network)
    mask_key = tunnel.blake2b(32, b"culvert describe mask" + network)
    x = tunnel.Key(os.urandom(32))

    def masked(start, end, point):
        return tunnel.xor(point, tunnel.hchacha20(mask_key, start + end))
    start, rest = os.urandom(4), os.urandom(1180)
    point = bytearray(masked(start, rest[:12], x.public))
    point[31] ^= os.urandom(1)[0] & 0x80
    mac = tunnel.blake2b(16, start + bytes(point) + rest[:76], mac_key)

    def understood(got):
        if got[36:52] != tunnel.blake2b(16, got[:36] + got[52:68],
                                        tunnel.blake2b(32, network + mac)):
            return None
        y = bytearray(masked(got[:4], got[52:64], got[4:36]))
        y[31] &= 0x7f
        key = tunnel.blake2b(32, b"culvert describe box" + x.dh(bytes(y)) + x.public + bytes(y))
        plain = tunnel.ChaCha20Poly1305(key).decrypt(bytes(12), got[52:], None)
        return Relay(plain[2:2 + struct.unpack("<H", plain[:2])[0]], address)
    return sock.exchange(start + bytes(point) + mac + rest, address, understood)


class Link:
    def __init__(self, sock, network, relay):
        self.sock, self.relay, self.sequence = sock, relay, 0
        self.inbox = []
        static = relay.link_key

        def key(label):
            return tunnel.blake2b(32, b"culvert " + label + network + static)
        self.index = os.urandom(4)
        state = {}

        def flight1():
            e = tunnel.Key(os.urandom(32))
            noise = tunnel.Noise(b"culvert link\1" + network, static)
            plain = self.index + noise.flight(e.public, e.dh(static),
                                              self.index.ljust(1148, b"\0"))
            mac2 = (tunnel.blake2b(16, plain[:96], state["cookie"]) if "cookie" in state
                    else os.urandom(16))
            wire = tunnel.chacha20(key(b"link mask"), mac2[:12], plain[:36]) + plain[36:]
            mac1 = tunnel.blake2b(16, mac2 + wire[:96], key(b"link mac1"))
            state.update(e=e, noise=noise, mac1=mac1)
            return mac1 + mac2 + wire

        def flight2(got):
            if got[:4] != self.index:
                return None
            noise, e = state["noise"], bytearray(got[4:36])
            e = bytearray(tunnel.xor(bytes(e), tunnel.blake2b(32, b"flight 2 mask", noise.h)))
            e[31] &= 0x7f
            h, ck = noise.h, noise.ck
            noise.mix_hash(bytes(e))
            noise.ck, secret = noise.hkdf(state["e"].dh(bytes(e)))
            try:
                payload = tunnel.ChaCha20Poly1305(secret[:32]).decrypt(bytes(12), got[36:], noise.h)
            except InvalidTag:
                noise.h, noise.ck = h, ck
                state["cookie"] = tunnel.crypto_aead_xchacha20poly1305_ietf_decrypt(
                    got[28:], state["mac1"], got[4:28], key(b"link cookie"))[:16]
                return None
            noise.mix_hash(got[36:])
            forth, back = noise.hkdf(b"")
            self.tx, self.rx = tunnel.link_keys(forth), tunnel.link_keys(back)
            (self.remote,) = struct.unpack("<I", payload[:4])
            return True
        sock.exchange(flight1, relay.address, flight2)
        self.control(KEEPALIVE)

    def control(self, command, circuit=0, body=b""):
        self.sequence += 1
        self.sock.udp.sendto(tunnel.link_control(self.remote, self.sequence, circuit, command, 0,
                                                 body, self.tx), self.relay.address)

    def cell(self, circuit, cell):
        self.sequence += 1
        self.sock.udp.sendto(tunnel.link_header(self.remote, self.sequence, circuit, 1, 0, cell,
                                                self.tx), self.relay.address)

    def opened(self, got):
        """(command, circuit, body), or (1, circuit, layer sequence, cell)."""
        if got[:4] != self.index:
            return None # one of the spare indexes is used only when we move
        _, circuit, command, layer, cell = tunnel.open_header(got, self.rx)
        if command == 1:
            return 1, circuit, layer, cell
        command, body = tunnel.open_control(got, self.rx)
        if command == CHALLENGE:
            self.control(RESPONSE, 0, body)
        return command, circuit, body

    def wait(self, wanted, seconds):
        def understood(got):
            found = self.opened(got)
            return wanted(found) if found else None
        return self.sock.wait(understood, seconds)


class Circuit:
    def __init__(self, link, suite=PLAIN, ttl=5):
        self.link, self.layers, self.transaction = link, [], int.from_bytes(os.urandom(3), "big")
        self.id = int.from_bytes(os.urandom(4), "big") | 1 << 31
        flight1, finish = self.handshake(link.relay, suite)
        params = bytes([1, 1, ttl])
        body = bytes([len(params)]) + params + flight1
        for _ in range(5):
            link.control(CREATE, self.id, body)
            flight2 = link.wait(lambda m: m[2] if m[:2] == (CREATED, self.id) else None, 1)
            if flight2:
                break
        self.layers.append(finish(flight2))

    @staticmethod
    def handshake(relay, suite):
        x, b = tunnel.Key(os.urandom(32)), relay.onion_key
        xb = x.dh(b)
        k1 = tunnel.blake2b(32, xb + relay.identity + b + x.public + b"culvert hop v1 parameters")
        head = x.public + b[:8]
        params = bytes([2, 1, suite, 3, 1, 1]).ljust(64, b"\0")
        flight1 = head + tunnel.seal(k1, bytes(12), params, head)

        def finish(flight2):
            y, confirmation, box = flight2[:32], flight2[32:64], flight2[64:]
            prk = tunnel.blake2b(64, x.dh(y) + xb + relay.identity + b + x.public + y
                                 + b"culvert hop v1")
            assert confirmation == tunnel.blake2b(32, b"confirm" + flight1 + y + box, prk[32:])
            answer = tunnel.ChaCha20Poly1305(tunnel.blake2b(32, b"parameters", prk[:32])).decrypt(
                bytes(12), box[16:] + box[:16], y)
            assert answer == params
            return tunnel.Layer(prk[:32], suite)
        return flight1, finish

    def ask(self, hop, command, body=b""):
        """(command, what follows the transaction) of the answer."""
        self.transaction += 1
        number = struct.pack("<I", self.transaction)

        def mine(message):
            if message[:2] != (1, self.id):
                return None
            who, plain = tunnel.unwrap(self.layers, message[3], message[2])
            answer, data = tunnel.inner(plain)
            return (answer, data[4:]) if who == hop and data[:4] == number else None
        wait = 0.25
        for _ in range(7):
            self.link.cell(self.id, tunnel.wrap(self.layers, hop, command, number + body,
                                                os.urandom))
            answer = self.link.wait(mine, wait)
            if answer:
                return answer
            wait *= 2
        raise AssertionError("no answer")

    def extend(self, relay, suite=PLAIN):
        flight1, finish = self.handshake(relay, suite)
        answer, data = self.ask(len(self.layers) - 1, EXTEND, relay.identity
                                + struct.pack("<I", relay.day) + relay.digest + flight1)
        if answer == EXTENDED:
            self.layers.append(finish(data))
        return answer, data


class Tunnel(programs.Case):
    def setUp(self):
        super().setUp()
        village = Village(self, DHT, relays=3)
        self.network = hashlib.blake2b(village.network.encode(), digest_size=8).digest()
        self.sock = Socket()
        self.addCleanup(self.sock.udp.close)
        self.relays = []
        for program in self.running: # the three
            host, port = program.wait_for("listening")["address"].rsplit(":", 1)
            self.relays.append(describe(self.sock, self.network, (host, int(port))))

    def knows(self, circuit, hop):
        """Everybody, as that relay says."""
        day = self.relays[0].day
        answer, data = circuit.ask(hop, BUCKET, struct.pack("<IBHH", day, 0, 0, 0))
        self.assertEqual(answer, BUCKET)
        (count,) = struct.unpack_from("<H", data, 16)
        pairs = [data[18 + 48 * i:66 + 48 * i] for i in range(count)]
        self.assertEqual(data[:16], tunnel.blake2b(16, b"".join(pairs)))
        self.assertEqual(pairs, sorted(pairs))
        return pairs

    def expect_buckets(self, circuit, hop, everybody):
        """The same list by its parts, and behind its first: each where its identity belongs."""
        day = struct.pack("<I", self.relays[0].day)
        for level in (4, 8):
            places = [tunnel.blake2b(32, pair[:32] + day)[0] >> 8 - level for pair in everybody]
            empty = next(b for b in range(1 << level) if b not in places)
            for bucket in {*places, empty}:
                pairs = [pair for pair, b in zip(everybody, places) if b == bucket]
                whole = tunnel.blake2b(16, b"".join(pairs)) + struct.pack("<H", len(pairs))
                for start in range(len(pairs) + 1):
                    answer = circuit.ask(hop, BUCKET,
                                         day + struct.pack("<BHH", level, bucket, start))
                    self.assertEqual(answer, (BUCKET, whole + b"".join(pairs[start:])))

    def test_all_of_it(self):
        first, second, third = self.relays
        link = Link(self.sock, self.network, first)
        circuit = Circuit(link)
        self.assertEqual(circuit.ask(0, PING), (PONG, b""))
        limit = time.monotonic() + programs.SECONDS
        everybody = sorted(r.identity + r.digest for r in self.relays)
        while self.knows(circuit, 0) != everybody:
            self.assertLess(time.monotonic(), limit, "the relays do not find each other")
            time.sleep(0.5)
        self.expect_buckets(circuit, 0, everybody)
        for hops, relay in ((2, second), (3, third)):
            while circuit.extend(relay)[0] != EXTENDED: # until it answered that relay, too
                self.assertLess(time.monotonic(), limit)
                circuit = Circuit(link)
                for one in self.relays[1:hops - 1]:
                    circuit.extend(one)
                time.sleep(0.5)
            for hop in range(hops):
                self.assertEqual(circuit.ask(hop, PING), (PONG, b""), hop)

        # what a relay keeps of another is what that one showed us
        answer, data = circuit.ask(2, DESCRIPTORS, struct.pack("<I", first.day) + first.identity)
        self.assertEqual((answer, data), (DESCRIPTORS, first.octets))
        # a command that there is not: the circuit lives
        answer, data = circuit.ask(1, 99)
        self.assertEqual((answer, data[0]), (ERROR, UNKNOWN))
        # our side of each hop turns its keys, one after the other
        for layer in circuit.layers + circuit.layers:
            layer.n_forward |= (1 << 20) - 1
            self.assertEqual(circuit.ask(2, PING), (PONG, b""))

        if first.suites & 2:
            other = Circuit(link, AES)
            for _ in range(5):
                self.assertEqual(other.ask(0, PING), (PONG, b""))
            # and back through a first hop with AES
            self.assertEqual(other.extend(second)[0], EXTENDED)
            self.assertEqual(other.ask(1, PING), (PONG, b""))
        # suite 2 goes no further than the first hop
        other = Circuit(link)
        answer, data = other.extend(second, AES)
        self.assertEqual((answer, data[0]), (ERROR, UNREACHABLE))

        # gone is gone: a cell of it is answered with DESTROY
        link.control(DESTROY, circuit.id)
        told = None
        for _ in range(10):
            link.cell(circuit.id, os.urandom(tunnel.CELL))
            if told:
                break
            told = link.wait(lambda m: m[:2] == (DESTROY, circuit.id) or None, 2)
        self.assertTrue(told)


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.main()
