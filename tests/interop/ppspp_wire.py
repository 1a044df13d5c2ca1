"""PPSPP on the wire, as plainly as RFC 7574 says it: chunk addressing (section 4),
protocol options (section 7) and messages (section 8). No state, no clock, no socket.

A chunk specification is handled as (start, end): chunk numbers, both inclusive.
"""
import struct
from collections import namedtuple

# Section 8.2, table 7.
(HANDSHAKE, DATA, ACK, HAVE, INTEGRITY, PEX_RESV4, PEX_REQ, SIGNED_INTEGRITY, REQUEST, CANCEL,
 CHOKE, UNCHOKE, PEX_RESV6, PEX_RESCERT) = range(14)
# Section 7, table 2.
(VERSION, MIN_VERSION, SWARM_ID, CIPM, MERKLE_HASH, LIVE_SIGNATURE, CAM, DISCARD_WINDOW,
 SUPPORTED, CHUNK_SIZE) = range(10)
END_OPTION = 255
# Section 7.5, table 4.
NONE, MERKLE, SIGN_ALL, UNIFIED = range(4)
# Section 7.6, table 5: the value on the wire is the index.
HASHES = ('sha1', 'sha224', 'sha256', 'sha384', 'sha512')
HASH_SIZE = (20, 28, 32, 48, 64)
# Section 7.8, table 6, likewise.
METHODS = ('bin32', 'byte64', 'chunk32', 'bin64', 'chunk64')
KEEPS_ALL = {4: 0xffffffff, 8: 0xffffffffffffffff}  # section 7.9


class Invalid(Exception):
    """Section 3: this message and the rest of its datagram are to be discarded."""


Message = namedtuple('Message', 'type start end stamp body', defaults=(0, 0, 0, b''))
# HANDSHAKE: start = source channel, body = {option code: octets of its value}
# DATA: stamp, body = chunk    ACK: stamp = delay sample    INTEGRITY: body = hash
# SIGNED_INTEGRITY: stamp = NTP time, body = signature
# PEX_RES*: body = address and port as they stand on the wire, or the certificate

WITH_SPEC = {DATA, ACK, HAVE, INTEGRITY, SIGNED_INTEGRITY, REQUEST, CANCEL}
WITH_STAMP = {DATA, ACK, SIGNED_INTEGRITY}


class Addressing:
    """Section 4. `length` is the octets of the content once they are known: a byte range
    never names octets behind the end (INTEGRITY excepted, whose range is that of leaves)."""

    def __init__(self, method, chunk_size):
        self.method, self.chunk_size, self.length = method, chunk_size, None
        self.integer = 4 if METHODS[method] in ('bin32', 'chunk32') else 8
        self.is_bin = METHODS[method] in ('bin32', 'bin64')
        self.is_byte = METHODS[method] == 'byte64'
        self.size = self.integer * (1 if self.is_bin else 2)

    def pack(self, start, end, leaves=False):
        if self.is_bin:  # section 4.2
            width = end - start + 1
            assert width & (width - 1) == 0 and start % width == 0, 'not one bin'
            return (2 * start + width - 1).to_bytes(self.integer, 'big')
        if self.is_byte:  # section 4.1.2
            start, end = start * self.chunk_size, (end + 1) * self.chunk_size - 1
            if self.length is not None and not leaves:
                end = min(end, self.length - 1)
        return start.to_bytes(self.integer, 'big') + end.to_bytes(self.integer, 'big')

    def unpack(self, octets):
        first = int.from_bytes(octets[:self.integer], 'big')
        if self.is_bin:
            if first == KEEPS_ALL[self.integer]:
                raise Invalid('the empty bin')
            width = 1
            while first & width:
                width *= 2
            return (first - width + 1) // 2, (first - width + 1) // 2 + width - 1
        last = int.from_bytes(octets[self.integer:], 'big')
        if self.is_byte:
            if first % self.chunk_size:
                raise Invalid('a byte range that begins inside a chunk')
            first, last = first // self.chunk_size, last // self.chunk_size
        if last < first:
            raise Invalid('a range that ends before it begins')
        return first, last

    def pieces(self, start, end):
        """What it takes to say start..end: one range, or the bins from left to right."""
        if not self.is_bin:
            return [(start, end)]
        bins = []
        while start <= end:
            width = 1
            while start % (2 * width) == 0 and start + 2 * width - 1 <= end:
                width *= 2
            bins.append((start, start + width - 1))
            start += width
        return bins


def pack_options(options):
    """Section 7: ascending by code, end option last."""
    out = b''
    for code in sorted(options):
        value, length = options[code], b''
        if code == SWARM_ID:
            length = struct.pack('>H', len(value))
        elif code == SUPPORTED:
            length = bytes([len(value)])
        out += bytes([code]) + length + value
    return out + bytes([END_OPTION])


def unpack_options(octets, at):
    """({code: value}, where the options end)."""
    options, last = {}, -1

    def take(n):
        nonlocal at
        if at + n > len(octets):
            raise Invalid('an option is cut')
        at += n
        return octets[at - n:at]
    while True:
        code = take(1)[0]
        if code == END_OPTION:
            return options, at
        if code <= last:
            raise Invalid('options out of order')
        if last < 0 and code != VERSION:
            raise Invalid('the version is not the first option')  # section 7.2
        last = code
        if code == SWARM_ID:
            size = struct.unpack('>H', take(2))[0]
        elif code == SUPPORTED:
            size = take(1)[0]
        elif code == DISCARD_WINDOW:
            if CAM not in options or options[CAM][0] >= len(METHODS):
                raise Invalid('a discard window before the addressing method')
            size = 4 if METHODS[options[CAM][0]] in ('bin32', 'chunk32') else 8
        elif code == CHUNK_SIZE:
            size = 4
        elif code < CHUNK_SIZE:
            size = 1
        else:
            raise Invalid(f'option {code}: unassigned, and nothing says how long it is')
        options[code] = take(size)


class Swarm:
    """The metadata of section 3.1: what both sides must agree on."""

    def __init__(self, swarm_id, integrity=MERKLE, hash=2, addressing=2, chunk_size=1024, algorithm=None,
                 signature_size=0):
        self.id, self.integrity, self.hash, self.chunk_size = swarm_id, integrity, hash, chunk_size
        self.addressing = Addressing(addressing, chunk_size)
        self.algorithm, self.signature_size = algorithm, signature_size
        self.live = integrity in (SIGN_ALL, UNIFIED)

    def options(self, window=None):
        o = {VERSION: b'\1', MIN_VERSION: b'\1', SWARM_ID: self.id, CIPM: bytes([self.integrity]),
             CAM: bytes([self.addressing.method]), CHUNK_SIZE: struct.pack('>I', self.chunk_size),
             SUPPORTED: bytes([0xff, 0xfc])}  # section 7.10: all fourteen
        if self.integrity in (MERKLE, UNIFIED):
            o[MERKLE_HASH] = bytes([self.hash])
        if self.live:
            o[LIVE_SIGNATURE] = bytes([self.algorithm])
            n = self.addressing.integer
            o[DISCARD_WINDOW] = (KEEPS_ALL[n] if window is None else window).to_bytes(n, 'big')
        return o

    def agrees(self, o, initiator):
        """Section 3.1.1, steps 2 and 4: why the other side's options do not fit, or None."""
        mine = self.options()
        if not o.get(VERSION) or o[VERSION][0] < 1 or o.get(MIN_VERSION, b'\1')[0] > 1:
            return 'version'
        if o.get(SWARM_ID, mine[SWARM_ID] if not initiator else None) != mine[SWARM_ID]:
            return 'swarm'
        for code in (CIPM, MERKLE_HASH, LIVE_SIGNATURE, CAM, CHUNK_SIZE):
            if code in mine and o.get(code) != mine[code]:
                return f'option {code}'
        if self.live and DISCARD_WINDOW not in o:
            return 'discard window'
        return None

    # ---- messages, section 8 ----

    def pack(self, m):
        head = bytes([m.type])
        if m.type == HANDSHAKE:
            return head + struct.pack('>I', m.start) + pack_options(m.body)
        if m.type in WITH_SPEC:
            leaves = m.type in (INTEGRITY, SIGNED_INTEGRITY)
            head += self.addressing.pack(m.start, m.end, leaves)
        if m.type in WITH_STAMP:
            head += struct.pack('>Q', m.stamp)
        if m.type == PEX_RESCERT:
            head += struct.pack('>H', len(m.body))
        return head + m.body

    def unpack(self, octets):
        """The messages behind the channel of a datagram, one at a time; raises Invalid at
        the first bad one, when those before it have been handed out (section 3)."""
        at = 4

        def take(n):
            nonlocal at
            if at + n > len(octets):
                raise Invalid('a message is cut')
            at += n
            return octets[at - n:at]
        while at < len(octets):
            kind, start, end, stamp, body = take(1)[0], 0, 0, 0, b''
            if kind > PEX_RESCERT:
                raise Invalid(f'message type {kind}')
            if kind == HANDSHAKE:
                if at != 5:
                    raise Invalid('HANDSHAKE is not the first message')  # section 3.1
                start = struct.unpack('>I', take(4))[0]
                body, at = unpack_options(octets, at)
            if kind in WITH_SPEC:
                start, end = self.addressing.unpack(take(self.addressing.size))
            if kind in WITH_STAMP:
                stamp = struct.unpack('>Q', take(8))[0]
            if kind == DATA:  # section 8.6: a short chunk ends with the datagram
                body = take(min(self.chunk_size, len(octets) - at))
            elif kind == INTEGRITY:
                body = take(HASH_SIZE[self.hash])
            elif kind == SIGNED_INTEGRITY:
                body = take(self.signature_size)
            elif kind == PEX_RESV4:
                body = take(6)
            elif kind == PEX_RESV6:
                body = take(18)
            elif kind == PEX_RESCERT:
                body = take(struct.unpack('>H', take(2))[0])
            yield Message(kind, start, end, stamp, body)
