"""A deliberately naive PPSPP peer without sockets: datagrams and a time go in, datagrams
come out. Written from RFC 7574 alone; section numbers are in the comments.

It favours what is easy to check over what is fast: a few chunks in flight, one chunk a
datagram, everything asked again after a fixed time. Section 8 demands LEDBAT; a fixed
window of a few datagrams stands in for it, which is all that a test on loopback needs.

Quirks are behaviours that other peers were seen to have (or must survive):

  split            INTEGRITY and DATA in datagrams of their own
  bare-handshake   nothing follows HANDSHAKE in the first two datagrams
  one-message      REQUEST, HAVE and ACK go one a datagram
  peak-uncles      no uncle hashes above a peak that was just sent
  no-option-8, no-option-9
  strict-options   drops, without a word, a handshake that carries option 9 unless the swarm ID
                   is in it, option 8 stands before it with at most 8 octets, and nothing
                   follows HANDSHAKE in its datagram
  close-to-zero    answers a handshake that does not fit with a closing HANDSHAKE to channel 0,
                   and sends such ones in between
  short-channels   channel IDs of 16 bits, counted upwards
  keepalives       a keepalive after every datagram, answered with a keepalive
  option-10        an unassigned option of 16 octets in the handshake
  version-2        speaks up to version 2
  again            asks for chunks that it has already
  push             sends chunks that nobody asked for
  deaf-to-choke    keeps asking while choked
  hash-option      names a Merkle hash where there is no tree (Sign All)
  several-data     several DATA messages in one datagram where section 8.6 allows it
"""
import ipaddress
import random
import struct

import ppspp_sign as sign
import ppspp_wire as wire
from ppspp_integrity import content_of
from ppspp_wire import Invalid, Message

WINDOW = 8            # chunks in flight, each way
AGAIN = 0.25          # seconds until something is sent or asked again
KEEPALIVE = 25.0      # section 3.12 leaves the period open
DEAD = 180.0          # section 3.12
DATAGRAM_MAX = 1400   # section 8.1: one IP packet, if the chunk allows it


class Channel:
    def __init__(self, address, mine, initiator, now):
        self.address, self.mine, self.theirs, self.initiator = address, mine, 0, initiator
        self.proven = False           # the other side echoed our channel ID
        self.have = []                # ranges the other side says it has (HAVE, ACK)
        self.window = None            # their live discard window, in chunks; None = all
        self.supported = set(range(14))
        self.requests, self.in_flight = [], {}  # of theirs, to be served
        self.asked = {}               # chunk: when we asked
        self.acks, self.haves = [], []
        self.choked, self.choking = False, False
        self.heard, self.sent, self.unanswered = now, -1e9, 0
        self.hello_at = 0.0
        self.peers_asked, self.pex_wanted = False, False
        self.extra = []               # messages for the next datagram
        self.munro_shown = None
        self.closed = False

    def has(self, start, end):
        """Whether it is known to have any chunk of start..end (section 6.2: minus what its
        discard window has left behind)."""
        low = 0
        if self.window is not None and self.have:
            low = max(e for _, e in self.have) - self.window + 1
        return any(s <= end and e >= max(start, low) for s, e in self.have if e >= low)


class Peer:
    def __init__(self, swarm, content=None, rng=None, quirks=(), window=None, count=None,
                 certificate=None, issuer=None):
        self.swarm = swarm
        self.content = content or content_of(swarm)
        self.rng = rng or random.Random(1)
        self.quirks, self.window, self.certificate = set(quirks), window, certificate
        self.issuer = issuer      # private key of the swarm's authority (section 12.2.2)
        self.channels = {}
        self.next_short = 1
        self.out = []
        self.wanted_from = None   # live: first chunk to fetch
        self.found = []           # addresses and certificates from PEX
        self.counts = dict.fromkeys(('datagrams', 'foreign', 'invalid', 'refused', 'bad_chunks',
                                     'unverifiable', 'chunks', 'duplicates', 'choked', 'requests', 'acks',
                                     'haves', 'hashes', 'signatures', 'handshakes', 'cancels', 'sent'), 0)
        self.why = []             # reasons of refusals, newest last
        self.limit = count        # live: enough after so many chunks

    # ---- leaving and coming ----

    def new_channel(self, address, initiator, now):
        if 'short-channels' in self.quirks:
            mine, self.next_short = self.next_short, self.next_short + 1
        else:
            mine = self.rng.randrange(1, 2 ** 32)  # section 8.3, RFC 4960 section 5.1.3
        c = self.channels[mine] = Channel(address, mine, initiator, now)
        return c

    def connect(self, address, now):
        return self.new_channel(address, True, now)

    def close(self, c, now):
        """Section 8.4: source channel zero, an empty list."""
        if c.theirs and not c.closed:
            self.datagram_to(c, [Message(wire.HANDSHAKE, 0, body={})], now)
        c.closed = True
        self.channels.pop(c.mine, None)

    def close_all(self, now):
        for c in list(self.channels.values()):
            self.close(c, now)

    def options(self, initiator):
        o = self.swarm.options(self.window)
        if not initiator:
            o.pop(wire.MIN_VERSION)
        if 'version-2' in self.quirks:
            o[wire.VERSION] = b'\2'
        if 'no-option-8' in self.quirks:
            del o[wire.SUPPORTED]
        if 'no-option-9' in self.quirks:
            del o[wire.CHUNK_SIZE]
        if 'hash-option' in self.quirks:
            o[wire.MERKLE_HASH] = bytes([self.swarm.hash])
        if 'option-10' in self.quirks:
            o[10] = bytes(range(16))
        return o

    # ---- out ----

    def datagram_to(self, c, messages, now, channel=None):
        head = struct.pack('>I', c.theirs if channel is None else channel)
        self.out.append((c.address, head + b''.join(self.swarm.pack(m) for m in messages)))
        self.counts['sent'] += 1
        c.sent = now
        c.unanswered += 1
        if 'keepalives' in self.quirks and c.proven and messages:
            self.out.append((c.address, head))
        if 'close-to-zero' in self.quirks and c.proven and self.counts['sent'] % 5 == 0:
            closing = self.swarm.pack(Message(wire.HANDSHAKE, 0, body={}))
            self.out.append((c.address, bytes(4) + closing))

    def hello(self, c, now):
        messages = [Message(wire.HANDSHAKE, c.mine, body=self.options(c.initiator))]
        c.haves = self.announced()
        if not c.initiator and not {'bare-handshake', 'strict-options'} & self.quirks:
            messages += [Message(wire.HAVE, s, e) for s, e in c.haves[:8]]  # minor payload only
            c.haves = c.haves[8:]
        self.datagram_to(c, messages, now)
        c.hello_at = now

    def announced(self):
        """The ranges of HAVE (section 4.3.1), in as many specifications as they need."""
        out = []
        for s, e in self.content.runs():
            out += self.swarm.addressing.pieces(s, e)
        return out

    def poll(self, now):
        """Whatever there is to send now: [(address, octets)]."""
        for c in list(self.channels.values()):
            if c.initiator and not c.theirs:
                if now - c.hello_at >= AGAIN:  # section 3.1.1, step 5
                    self.hello(c, now)
            elif c.theirs and (c.proven or c.initiator):
                self.talk(c, now)
            if now - c.heard > DEAD and c.unanswered >= 3:
                del self.channels[c.mine]
        out, self.out = self.out, []
        return out

    def talk(self, c, now):
        small = c.extra
        c.extra = []
        small += [Message(wire.ACK, s, e, stamp) for s, e, stamp in c.acks]
        if not self.complete_at(c):  # section 3.2: nobody tells a seeder
            small += [Message(wire.HAVE, s, e) for s, e in c.haves]
        c.acks, c.haves = [], []
        if c.pex_wanted and not c.peers_asked:
            small.append(Message(wire.PEX_REQ))
            c.peers_asked = True
        small += self.new_requests(c, now)
        first = not c.proven or c.munro_shown is None
        if small or (c.initiator and not c.proven):
            munro = self.tune_in(c)  # section 6.1.2.4: from the third datagram on
            c.proven = True
            if 'one-message' in self.quirks:
                for m in small:
                    self.datagram_to(c, [m], now)
                if not small:
                    self.datagram_to(c, [], now)
            else:
                self.spread(c, munro + small, now)
        elif first and c.proven and self.tune_in(c):
            self.spread(c, self.tune_in(c), now)
        self.serve(c, now)
        if now - c.sent > KEEPALIVE:
            self.datagram_to(c, [], now)  # section 8.14

    def spread(self, c, messages, now):
        """Several messages a datagram (section 3), several datagrams if they need it."""
        batch, size = [], 0
        for m in messages:
            n = len(self.swarm.pack(m))
            if batch and size + n > DATAGRAM_MAX:
                self.datagram_to(c, batch, now)
                batch, size = [], 0
            batch.append(m)
            size += n
        self.datagram_to(c, batch, now)

    def tune_in(self, c):
        if self.swarm.integrity != wire.UNIFIED:
            return []
        munro = self.content.rightmost()
        if munro is None or c.has(munro[0], 2 ** 62):
            return []
        c.munro_shown = munro
        return self.content.signed(munro)

    def complete_at(self, c):
        count = self.content.count
        return count is not None and any(s == 0 and e >= count - 1 for s, e in c.have)

    # ---- asking ----

    def wanted(self, c):
        content = self.content
        if content.complete():
            return list(range(2)) if 'again' in self.quirks and self.counts['duplicates'] < 4 else []
        if not self.swarm.live:
            if content.count is None and self.swarm.integrity == wire.MERKLE:
                return [0]  # section 5.6: its peaks say how many there are
            if content.count is None:
                content.count = 1 + max((e for _, e in c.have), default=-1) or None
            if content.count is None:
                return []
            # Section 5.6.2: the last chunk gives the size; it comes second.
            order = [0, content.count - 1] + list(range(1, content.count - 1))
            return [i for i in order if i not in content.chunks]
        if self.wanted_from is None or (self.limit and len(content.chunks) >= self.limit):
            return []
        last = max((e for _, e in c.have), default=-1)
        return [i for i in range(self.wanted_from, last + 1) if i not in content.chunks]

    def new_requests(self, c, now):
        if c.choked and 'deaf-to-choke' not in self.quirks:
            c.asked.clear()
            return []  # section 3.9
        out = []
        for chunk in self.wanted(c):
            if len(c.asked) >= WINDOW and chunk not in c.asked:
                break
            if now - c.asked.get(chunk, -1e9) >= AGAIN and (c.has(chunk, chunk) or self.content.count is None):
                if chunk not in c.asked and any(chunk in o.asked for o in self.channels.values()):
                    continue  # another peer is asked
                c.asked[chunk] = now
                out.append(Message(wire.REQUEST, chunk, chunk))
        self.counts['requests'] += len(out)
        return out

    # ---- serving ----

    def serve(self, c, now):
        for chunk, when in list(c.in_flight.items()):
            if now - when >= AGAIN:
                del c.in_flight[chunk]  # given up; who still wants it asks again
        if 'push' in self.quirks and not c.requests and not c.in_flight and c.initiator is False:
            missing = [i for i in self.content.chunks if not c.has(i, i)]
            c.requests += missing[:1]
        together = []
        while c.requests and len(c.in_flight) < WINDOW:
            chunk = c.requests.pop(0)  # section 3.7: in the order received
            if chunk not in self.content.chunks or c.choking:
                continue
            data = Message(wire.DATA, chunk, chunk, int(now * 1e6), self.content.chunks[chunk])
            proof = self.content.proof(chunk, c.has)
            c.in_flight[chunk] = now
            if 'peak-uncles' in self.quirks and self.swarm.integrity == wire.MERKLE:
                proof = self.below_peaks(chunk, proof)
            if 'several-data' in self.quirks and len(data.body) == self.swarm.chunk_size and c.requests:
                together += proof + [data]
                if len(together) < 24:
                    continue
            if together:
                self.datagram_to(c, together, now)
                together = []
            size = sum(len(self.swarm.pack(m)) for m in proof + [data])
            if proof and ('split' in self.quirks or size > DATAGRAM_MAX):
                self.spread(c, proof, now)  # section 5.4: the hashes go first
                proof = []
            self.datagram_to(c, proof + [data], now)
        if together:
            self.datagram_to(c, together, now)

    def below_peaks(self, chunk, proof):
        peaks = self.content.peaks()
        top = next(p for p in peaks if p[0] <= chunk < sum(p))
        keep = []
        for m in proof:
            node = (m.start, m.end - m.start + 1)
            if node in peaks or (top[0] <= m.start and m.end < sum(top)):
                keep.append(m)
        return keep

    # ---- in ----

    def datagram(self, address, octets, now):
        self.counts['datagrams'] += 1
        if len(octets) < 4:
            self.counts['invalid'] += 1
            return
        channel = struct.unpack('>I', octets[:4])[0]
        if channel == 0:
            self.first_datagram(address, octets, now)
            return
        c = self.channels.get(channel)
        if c is None or c.address != address:
            self.counts['foreign'] += 1  # section 3.1.1, steps 3 and 7
            return
        c.heard, c.unanswered = now, 0
        if not c.initiator:
            c.proven = True
        if len(octets) == 4 and 'keepalives' in self.quirks and self.counts['sent'] < 2000:
            self.out.append((c.address, struct.pack('>I', c.theirs)))
        try:
            for m in self.swarm.unpack(octets):
                if c.initiator and not c.theirs and m.type != wire.HANDSHAKE:
                    raise Invalid('something else before the handshake')
                self.message(c, m, now)
                if c.closed:
                    return
        except Invalid as problem:
            self.counts['invalid'] += 1
            self.why.append(str(problem))
        self.choose_tune_in()

    def first_datagram(self, address, octets, now):
        """Section 3.1.1, step 2: silence unless everything fits."""
        try:
            messages = list(self.swarm.unpack(octets))
        except Invalid as problem:
            self.counts['refused'] += 1
            self.why.append(str(problem))
            return
        if not messages or messages[0].type != wire.HANDSHAKE or not messages[0].start:
            self.counts['refused'] += 1
            return
        theirs, o = messages[0].start, messages[0].body
        problem = self.swarm.agrees(o, True)
        if 'strict-options' in self.quirks and wire.CHUNK_SIZE in o and (
                len(messages) > 1 or len(o.get(wire.SUPPORTED, bytes(9))) > 8 or wire.SWARM_ID not in o):
            problem = 'option 9 in a form that this peer does not take'
        if problem:
            self.counts['refused'] += 1
            self.why.append(problem)
            if 'close-to-zero' in self.quirks:
                self.out.append((address, bytes(4) + self.swarm.pack(Message(wire.HANDSHAKE, 0, body={}))))
            return
        self.counts['handshakes'] += 1
        c = next((c for c in self.channels.values() if c.address == address and c.theirs == theirs), None)
        if c is None:  # section 8.2: a repeated HANDSHAKE is recognised
            c = self.new_channel(address, False, now)
            c.theirs = theirs
        self.take_options(c, o)
        for m in messages[1:]:
            if m.type == wire.HAVE:
                self.message(c, m, now)
        self.hello(c, now)

    def take_options(self, c, o):
        if wire.DISCARD_WINDOW in o:
            window = int.from_bytes(o[wire.DISCARD_WINDOW], 'big')
            if window != wire.KEEPS_ALL[self.swarm.addressing.integer]:
                c.window = window // self.swarm.chunk_size if self.swarm.addressing.is_byte else window
        if wire.SUPPORTED in o:
            c.supported = {i for i in range(14) if i // 8 < len(o[wire.SUPPORTED])
                           and o[wire.SUPPORTED][i // 8] & (0x80 >> i % 8)}

    def message(self, c, m, now):
        content = self.content
        if m.type == wire.HANDSHAKE:
            self.handshake(c, m, now)
        elif m.type == wire.HAVE:
            self.counts['haves'] += 1
            self.they_have(c, m)
        elif m.type == wire.ACK:
            self.counts['acks'] += 1
            self.they_have(c, m)
        elif m.type == wire.INTEGRITY:
            self.counts['hashes'] += 1
            content.hash(m.start, m.end, m.body)
        elif m.type == wire.SIGNED_INTEGRITY:
            self.counts['signatures'] += 1
            wanted = any(m.start <= i <= m.end for i in c.asked)
            content.signature(m.start, m.end, m.stamp, m.body, wanted, now)
        elif m.type == wire.DATA:
            self.data(c, m, now)
        elif m.type == wire.REQUEST:
            if c.choking:
                c.extra.append(Message(wire.CHOKE))  # section 12.6.7: say it again
                return
            if self.content.count is not None and m.start >= self.content.count:
                return
            for i in range(m.start, min(m.end, m.start + 100000) + 1):
                if i in content.chunks and i not in c.requests and i not in c.in_flight:
                    c.requests.append(i)
        elif m.type == wire.CANCEL:
            self.counts['cancels'] += 1
            c.requests = [i for i in c.requests if not m.start <= i <= m.end]
        elif m.type == wire.CHOKE:
            self.counts['choked'] += 1
            c.choked = True
        elif m.type == wire.UNCHOKE:
            c.choked = False
        elif m.type == wire.PEX_REQ:
            self.exchange(c, now)
        elif m.type in (wire.PEX_RESV4, wire.PEX_RESV6, wire.PEX_RESCERT):
            self.found.append((m.type, m.body))

    def handshake(self, c, m, now):
        if m.start == 0:  # section 8.4: they close
            c.closed = True
            self.channels.pop(c.mine, None)
            return
        if not c.initiator:
            return
        if c.theirs:  # the answer to a repeated first datagram
            if m.start != c.theirs:
                self.counts['refused'] += 1
            return
        problem = self.swarm.agrees(m.body, False)
        if 'strict-options' in self.quirks and wire.SWARM_ID not in m.body:
            problem = 'no swarm ID in the answer'
        if problem:
            self.counts['refused'] += 1
            self.why.append(problem)
            c.theirs = m.start
            self.close(c, now)
            return
        self.counts['handshakes'] += 1
        c.theirs = m.start
        self.take_options(c, m.body)

    def they_have(self, c, m):
        c.have = [(s, e) for s, e in c.have if not (m.start <= s and e <= m.end)] + [(m.start, m.end)]
        c.requests = [i for i in c.requests if not m.start <= i <= m.end]  # section 3.8
        for i in [i for i in c.in_flight if m.start <= i <= m.end]:
            del c.in_flight[i]

    def choose_tune_in(self):
        """Where a viewer of a live swarm begins: at the newest chunk anybody has, or the
        newest signed munro if that is newer."""
        if not self.swarm.live or self.wanted_from is not None or self.content.key is not None:
            return
        newest = [max(e for _, e in c.have) for c in self.channels.values() if c.have]
        if newest:
            munro = self.content.rightmost() if self.swarm.integrity == wire.UNIFIED else None
            self.wanted_from = munro[0] if munro and munro[0] <= max(newest) else max(newest)
            self.content.first = self.wanted_from

    def data(self, c, m, now):
        if m.start != m.end:
            raise Invalid('DATA of several chunks')
        delay = (int(now * 1e6) - m.stamp) % 2 ** 64
        if m.start in self.content.chunks:
            self.counts['duplicates'] += 1
            c.acks.append((m.start, m.start, delay))
            return
        good = self.content.accept(m.start, m.body)
        if good is None:
            self.counts['unverifiable'] += 1
            self.why.append(f'chunk {m.start} without its hashes')
            return
        if not good:
            self.counts['bad_chunks'] += 1
            raise Invalid(f'chunk {m.start} is not what it should be')
        self.counts['chunks'] += 1
        start, end = self.content.run(m.start)
        c.acks.append((start, end, delay))
        for other in self.channels.values():
            other.asked.pop(m.start, None)
            other.haves.append((start, end))

    def exchange(self, c, now):
        """Sections 3.10 and 8.13: plain addresses in the benign network of a test, but
        certificates for those whose authority we are."""
        for other in self.channels.values():
            if other is c or now - other.heard > 60:
                continue
            if self.issuer:
                if wire.PEX_RESCERT in c.supported:
                    der = sign.membership_certificate(self.issuer, *other.address, self.swarm.id, now)
                    c.extra.append(Message(wire.PEX_RESCERT, body=der))
                continue
            ip = ipaddress.ip_address(other.address[0])
            kind = wire.PEX_RESV4 if ip.version == 4 else wire.PEX_RESV6
            if kind in c.supported:
                c.extra.append(Message(kind, body=ip.packed + struct.pack('>H', other.address[1])))
        if self.certificate and wire.PEX_RESCERT in c.supported:
            c.extra.append(Message(wire.PEX_RESCERT, body=self.certificate))

    # ---- the source of a live stream ----

    def inject(self, chunk, now):
        self.announce(self.content.inject(chunk, now))

    def finish(self, now):
        """The broadcast ends: what is left is signed, however little."""
        content = self.content
        if self.swarm.integrity == wire.UNIFIED and content.next % content.per_signature:
            self.announce(content.seal(now))

    def announce(self, new):
        if new is None:
            return
        ranges = {self.content.run(s) for s, _ in self.swarm.addressing.pieces(*new)}  # section 4.3.1
        for c in self.channels.values():
            c.haves += sorted(ranges)

    def choke(self, on):
        for c in self.channels.values():
            c.choking = on
            c.extra.append(Message(wire.CHOKE if on else wire.UNCHOKE))
            c.requests = []
