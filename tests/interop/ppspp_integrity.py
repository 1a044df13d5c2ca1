"""Content and how it is protected: none, Merkle, Sign All, Unified Merkle Tree
(RFC 7574 sections 5 and 6). Each class holds chunks and answers the same questions:

    proof(chunk, has)          messages that must precede DATA of `chunk` for a peer
                               that is known to have the chunks `has(start, end)` says
    hash(start, end, octets)   an INTEGRITY message arrived
    signature(...)             a SIGNED_INTEGRITY message arrived
    accept(chunk, data)        True: verified and kept; False: it is wrong; None: something
                               that is needed to check it is missing
    count                      chunks of the content, None while nobody knows

A node of the tree is (start, width): the chunks under it. Nodes live in a dict.
"""
import hashlib

from ppspp_sign import sign
from ppspp_wire import HASH_SIZE, HASHES, INTEGRITY, SIGNED_INTEGRITY, Invalid, Message

NTP_EPOCH = 2208988800  # 1970 in seconds since 1900


def ntp(seconds):
    """RFC 5905: 32.32 fixed point."""
    return int((seconds + NTP_EPOCH) * 2 ** 32) & 0xffffffffffffffff


def from_ntp(stamp):
    return stamp / 2 ** 32 - NTP_EPOCH


def parent(node):
    start, width = node
    return start - start % (2 * width), 2 * width


def sibling(node):
    start, width = node
    return start ^ width, width


class Content:
    """Integrity method 0: whatever arrives is believed."""

    def __init__(self, swarm, count=None):
        self.swarm, self.count, self.chunks, self.first = swarm, count, {}, 0

    def fill(self, octets):
        size = self.swarm.chunk_size
        for i in range(0, len(octets), size):
            self.chunks[i // size] = octets[i:i + size]
        self.count = len(self.chunks)
        self.swarm.addressing.length = len(octets)
        return self

    def octets(self):
        return b''.join(self.chunks[i] for i in sorted(self.chunks))

    def complete(self):
        return self.count is not None and len(self.chunks) == self.count

    def run(self, chunk):
        """Sections 4.3.1 and 4.3.2: the biggest complete interval around `chunk`, as one
        specification of the addressing method can say it."""
        if self.swarm.addressing.is_bin:
            node = (chunk, 1)
            while all(i in self.chunks for i in range(parent(node)[0], sum(parent(node)))):
                node = parent(node)
            return node[0], sum(node) - 1
        start = end = chunk
        while start - 1 in self.chunks:
            start -= 1
        while end + 1 in self.chunks:
            end += 1
        return start, end

    def runs(self):
        out, last = [], -1
        for i in sorted(self.chunks):
            if i > last:
                out.append(self.run(i))
                last = out[-1][1]
        return out

    def proof(self, chunk, has):
        return []

    def hash(self, start, end, octets):
        pass

    def signature(self, start, end, stamp, octets, wanted, now):
        pass

    def accept(self, chunk, data):
        return self.keep(chunk, data)

    def keep(self, chunk, data):
        self.chunks[chunk] = data
        if self.count is not None and chunk == self.count - 1:
            self.swarm.addressing.length = chunk * self.swarm.chunk_size + len(data)
        return True


class Tree(Content):
    """What the two methods with a hash tree share (sections 5.1 and 5.2)."""

    def __init__(self, swarm, count=None):
        super().__init__(swarm, count)
        self.known = {}       # nodes that lead to something trusted
        self.candidates = {}  # what INTEGRITY messages said
        self.zero = bytes(HASH_SIZE[swarm.hash])

    def digest(self, octets):
        return hashlib.new(HASHES[self.swarm.hash], octets).digest()

    def join(self, left, right):
        return self.zero if left == right == self.zero else self.digest(left + right)

    def subtree(self, start, width):
        """Hashes everything under the node from the chunks; returns its hash."""
        if width == 1:
            h = self.digest(self.chunks[start]) if start in self.chunks else self.zero
        else:
            h = self.join(self.subtree(start, width // 2),
                          self.subtree(start + width // 2, width // 2))
        self.known[start, width] = h
        return h

    def uncles(self, chunk, top, has):
        """Section 5.4: from the top downwards, without what the peer must know already:
        whoever verified a chunk under a node's parent holds the node (section 5.3)."""
        out, node = [], (chunk, 1)
        while node != top:
            start, width = parent(node)
            if not has(start, start + width - 1):
                out.append(sibling(node))
            node = parent(node)
        return [self.integrity(n) for n in reversed(out)]

    def integrity(self, node):
        return Message(INTEGRITY, node[0], sum(node) - 1, body=self.known[node])

    def hash(self, start, end, octets):
        width = end - start + 1
        if width & (width - 1) or start % width:
            raise Invalid('a hash of no node')
        self.candidates[start, width] = octets

    def accept(self, chunk, data):
        node, h, learnt = (chunk, 1), self.digest(data), {}
        while node not in self.known:
            learnt[node] = h
            other = sibling(node)
            beside = self.known.get(other, self.candidates.get(other))
            if beside is None:
                return None
            learnt[other] = beside
            h = self.join(h, beside) if node[0] < other[0] else self.join(beside, h)
            node = parent(node)
        if self.known[node] != h:
            return False
        self.known.update(learnt)
        return self.keep(chunk, data)


class Merkle(Tree):
    """Section 5: static content; the swarm ID is the root hash."""

    def fill(self, octets):
        super().fill(octets)
        self.width = 1
        while self.width < self.count:
            self.width *= 2
        self.root = self.subtree(0, self.width)
        return self

    def peaks(self):
        """Section 5.6.1: the binary digits of the number of chunks."""
        out, start, width = [], 0, self.width
        while width:
            if self.count & width:
                out.append((start, width))
                start += width
            width //= 2
        return out

    def proof(self, chunk, has):
        first = [] if has(0, self.count - 1) else [self.integrity(p) for p in self.peaks()]
        return first + self.uncles(chunk, (0, self.width), has)  # section 5.6.2

    def accept(self, chunk, data):
        if self.count is None and not self.find_size():
            if chunk or self.digest(data) != self.swarm.id:
                return None
            self.count, self.width = 1, 1  # section 8.16: no hashes for a single chunk
            self.known[0, 1] = self.swarm.id
        if chunk >= self.count:
            return False
        return super().accept(chunk, data)

    def find_size(self):
        """Section 5.6.2: some of the candidates, side by side from chunk 0 and each
        narrower than the one before, may be peaks that lead to the root."""
        def lists(start, below):
            yield []
            for (s, width) in list(self.candidates):
                if s == start and width < below:
                    for rest in lists(start + width, width):
                        yield [(s, width)] + rest
        for peaks in lists(0, 2 ** 64):
            if peaks and self.root_of(peaks) == self.swarm.id:
                return True
        return False

    def root_of(self, peaks):
        count, nodes = sum(width for _, width in peaks), {}
        width = 1
        while width < count:
            width *= 2

        def value(start, w):
            if (start, w) in peaks:
                h = self.candidates[start, w]
            elif start >= count:
                h = self.zero
            else:
                h = self.join(value(start, w // 2), value(start + w // 2, w // 2))
            nodes[start, w] = h
            return h
        root = value(0, width)
        if root == self.swarm.id:
            self.count, self.width = count, width
            self.known.update(nodes)
        return root


class Live:
    """Signatures and the end of what is announced; shared by both live methods."""

    def begin(self, public, algorithm=None, key=None):
        self.public, self.algorithm, self.key = public, algorithm, key
        self.newest, self.discarded = 0, 0
        return self

    def signed_text(self, start, end, stamp, octets):
        """Sections 6.1.1 and 6.1.2.2."""
        return self.swarm.addressing.pack(start, end, leaves=True) + stamp.to_bytes(8, 'big') + octets

    def make_signature(self, start, end, stamp, octets):
        return sign(self.algorithm, self.key, self.signed_text(start, end, stamp, octets))

    def too_old(self, stamp, wanted):
        """Section 6.1.2.4 leaves the threshold open: 30 s behind the newest, for what was
        not asked for. What was asked for may lie anywhere in the discard window."""
        self.newest = max(self.newest, stamp)
        if not wanted and from_ntp(self.newest) - from_ntp(stamp) > 30:
            self.discarded += 1
            return True
        return False


class SignAll(Live, Content):
    """Section 6.1.1: a signature for each chunk."""

    def __init__(self, swarm, count=None):
        super().__init__(swarm, count)
        self.signatures, self.pending = {}, {}

    def inject(self, data, now):
        """A new chunk of the source; returns what may be announced now."""
        i, stamp = len(self.chunks) + self.first, ntp(now)
        self.chunks[i] = data
        self.signatures[i] = (stamp, self.make_signature(i, i, stamp, data))
        return i, i

    def proof(self, chunk, has):
        stamp, octets = self.signatures[chunk]
        return [Message(SIGNED_INTEGRITY, chunk, chunk, stamp, octets)]

    def signature(self, start, end, stamp, octets, wanted, now):
        if start != end:
            raise Invalid('a signature for several chunks')
        if not self.too_old(stamp, wanted):
            self.pending[start] = (stamp, octets)

    def accept(self, chunk, data):
        if chunk not in self.pending:
            return None
        stamp, octets = self.pending[chunk]
        if not self.public.verifies(octets, self.signed_text(chunk, chunk, stamp, data)):
            return False
        self.signatures[chunk] = self.pending.pop(chunk)
        return self.keep(chunk, data)


class Unified(Live, Tree):
    """Section 6.1.2: a signature for each subtree; its root is a munro."""

    def __init__(self, swarm, count=None, per_signature=4):
        super().__init__(swarm, count)
        self.per_signature = per_signature  # NCHUNKS_PER_SIG; a viewer learns it from the munros
        self.munros, self.next = {}, 0

    def inject(self, data, now):
        self.chunks[self.next] = data
        self.next += 1
        if self.next % self.per_signature:
            return None  # section 6.1.2.3: no HAVE before the munro is signed
        return self.seal(now)

    def seal(self, now):
        """Signs the newest subtree, full or (at the end of a broadcast) not."""
        start, stamp = (self.next - 1) // self.per_signature * self.per_signature, ntp(now)
        munro = (start, self.per_signature)
        h = self.subtree(*munro)
        self.munros[munro] = (stamp, self.make_signature(start, sum(munro) - 1, stamp, h))
        return start, self.next - 1

    def munro_of(self, chunk):
        for (start, width) in self.munros:
            if start <= chunk < start + width:
                return start, width
        return None

    def rightmost(self):
        return max(self.munros, default=None)

    def signed(self, munro):
        stamp, octets = self.munros[munro]
        return [self.integrity(munro), Message(SIGNED_INTEGRITY, munro[0], sum(munro) - 1, stamp, octets)]

    def proof(self, chunk, has):
        munro = self.munro_of(chunk)
        first = [] if has(munro[0], sum(munro) - 1) else self.signed(munro)
        return first + self.uncles(chunk, munro, has)

    def signature(self, start, end, stamp, octets, wanted, now):
        munro = (start, end - start + 1)
        if munro[1] < 2 or munro[1] & (munro[1] - 1) or start % munro[1]:
            raise Invalid('a signature of no munro')
        h = self.candidates.get(munro)
        if munro in self.munros or h is None or self.too_old(stamp, wanted):
            return
        if not self.public.verifies(octets, self.signed_text(start, end, stamp, h)):
            raise Invalid('a munro that is not signed by the source')
        self.munros[munro] = (stamp, octets)
        self.per_signature = munro[1]
        self.known[munro] = h


def content_of(swarm, count=None):
    return (Content, Merkle, SignAll, Unified)[swarm.integrity](swarm, count)
