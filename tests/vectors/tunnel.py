#!/usr/bin/python3
"""The tunnel's formats, written down a second time from docs/protocol/tunnel.md
with hashlib, PyNaCl and python3-cryptography (HChaCha20, SipHash and Noise NK by
hand): shares nothing with src/tunnel. Prints tunnel.hex, or reads what is printed
there as receivers do, with the receivers' half of each format:

    tests/vectors/tunnel.py | diff - tests/vectors/tunnel.hex
    tests/vectors/tunnel.py --check tests/vectors/tunnel.hex

Where a sender throws dice, both implementations read the octets 3, 10, 17, ...
(tape below) in the order in which the sections state them. Regenerate tunnel.hex
only together with a reason: it is what two builds must agree on.
"""
import hashlib
import hmac
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey, Ed25519PublicKey)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey, X25519PublicKey)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.bindings import (crypto_aead_xchacha20poly1305_ietf_decrypt,
                           crypto_aead_xchacha20poly1305_ietf_encrypt)

DATAGRAM, CELL = 1232, 1204
RAW = (Encoding.Raw, PublicFormat.Raw)
MASK31 = (1 << 31) - 1


# ---- primitives ----

def blake2b(size, data, key=b""):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def xor(a, b):
    assert len(a) == len(b)
    return bytes(x ^ y for x, y in zip(a, b))


def rotl(v, n, bits):
    return (v << n | v >> (bits - n)) & ((1 << bits) - 1)


def hchacha20(key, data):
    """RFC 8439 rounds without the final addition; words 0-3 and 12-15."""
    s = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
             + struct.unpack("<4I", data))

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xffffffff
            s[z] = rotl(s[z] ^ s[x], n, 32)
    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *(s[:4] + s[12:]))


def siphash(key, data):
    """SipHash-2-4 as an integer."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
         k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]
    m64 = (1 << 64) - 1

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & m64
            v[1] = rotl(v[1], 13, 64) ^ v[0]
            v[0] = rotl(v[0], 32, 64)
            v[2] = (v[2] + v[3]) & m64
            v[3] = rotl(v[3], 16, 64) ^ v[2]
            v[0] = (v[0] + v[3]) & m64
            v[3] = rotl(v[3], 21, 64) ^ v[0]
            v[2] = (v[2] + v[1]) & m64
            v[1] = rotl(v[1], 17, 64) ^ v[2]
            v[2] = rotl(v[2], 32, 64)
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xff
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def chacha20(key, nonce, data, block=0):
    cipher = Cipher(algorithms.ChaCha20(key, struct.pack("<I", block) + nonce), mode=None)
    return cipher.encryptor().update(data)


def seal(key, nonce, plain, ad=b""):
    """tag | ciphertext"""
    out = ChaCha20Poly1305(key).encrypt(nonce, plain, ad)
    return out[-16:] + out[:-16]


class Key:
    def __init__(self, seed):
        self.secret = X25519PrivateKey.from_private_bytes(seed)
        self.public = self.secret.public_key().public_bytes(*RAW)

    def dh(self, public):
        return self.secret.exchange(X25519PublicKey.from_public_bytes(public))


class Signer:
    def __init__(self, seed):
        self.secret = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.secret.public_key().public_bytes(*RAW)

    def sign(self, data):
        return self.secret.sign(data)


class Tape:
    def __init__(self):
        self.at = 0

    def __call__(self, n):
        out = bytes((7 * i + 3) & 255 for i in range(self.at, self.at + n))
        self.at += n
        return out


def octets(first, n=32):
    return bytes((first + i) & 255 for i in range(n))


def section(name):
    print("#", name)


def show(label, data):
    print(label, data.hex())


# ---- link cells ----

def link_keys(direction):
    return (blake2b(16, b"link mac", direction), blake2b(32, b"link header", direction),
            blake2b(32, b"link control", direction))


def link_header(index, sequence, circuit, command, layer, cell, keys):
    mac_key, header_key, _ = keys
    head = struct.pack("<I", index)
    plain = sequence.to_bytes(6, "little") + struct.pack("<IBBI", circuit, command, 0, layer)
    tag = struct.pack("<Q", siphash(mac_key, head + plain + cell[:16]))
    return head + xor(plain, hchacha20(header_key, tag + cell[:8])[:16]) + tag + cell


def link_control(index, sequence, circuit, command, layer, body, keys):
    number = sequence.to_bytes(6, "little")
    ad = struct.pack("<IIBBI", index, circuit, command, 0, layer)
    plain = (struct.pack("<H", len(body)) + body).ljust(1188, b"\0")
    cell = seal(keys[2], bytes(6) + number, plain, ad)
    return link_header(index, sequence, circuit, command, layer, cell, keys)


def cells():
    section("link")
    keys = link_keys(octets(1, 64))
    for label, key in zip(("mac", "header", "control"), keys):
        show(label, key)
    cell = bytes(i % 251 for i in range(CELL))
    show("relay", link_header(0x11223344, 0x0000a1b2c3d4e5f6, 0x80000007, 1, 0x7abbccdd, cell,
                              keys))
    show("create", link_control(0x55667788, 9, 0x80000007, 2, 0, octets(40, 123), keys))


# ---- onion ----

class Layer:
    """One hop, as owner and hop know it after their handshake."""

    def __init__(self, prk, suite=1):
        self.suite = suite
        def key(label, size=32):
            return blake2b(size, label, prk)
        self.forward_key, self.mask = key(b"forward key"), key(b"forward mask", 16)
        self.filler, self.forward_salt = key(b"forward filler"), key(b"forward salt", 8)
        self.origin, self.transit = key(b"backward origin"), key(b"backward transit")
        self.backward_salt, self.binding = key(b"backward salt", 8), key(b"binding")
        self.forward_start = int.from_bytes(key(b"forward start", 4), "little") & MASK31
        self.backward_start = int.from_bytes(key(b"backward start", 4), "little") & MASK31
        self.n_forward = self.n_backward = 0

    def next_forward(self, dice):
        before = self.n_forward
        self.n_forward += 2 if dice & 15 == 0 else 1
        if self.n_forward >> 20 > before >> 20:
            self.forward_key = ratchet(self.forward_key)
        return (self.forward_start + self.n_forward) & MASK31

    def next_backward(self, dice):
        before = self.n_backward
        self.n_backward += 2 if dice & 15 == 0 else 1
        if self.n_backward >> 20 > before >> 20:
            self.origin, self.transit = ratchet(self.origin), ratchet(self.transit)
        return (self.backward_start + self.n_backward) & MASK31

    def jump(self):
        """The next number of either direction begins an epoch."""
        self.n_forward |= (1 << 20) - 1
        self.n_backward |= (1 << 20) - 1

    def seal(self, key, nonce, plain):
        """tag | ciphertext"""
        out = (AESGCM if self.suite == 2 else ChaCha20Poly1305)(key).encrypt(nonce, plain, None)
        return out[-16:] + out[:-16]

    def open(self, key, nonce, sealed):
        aead = (AESGCM if self.suite == 2 else ChaCha20Poly1305)(key)
        return aead.decrypt(nonce, sealed[16:] + sealed[:16], None)

    def stream(self, key, nonce, data):
        if self.suite == 2:
            return Cipher(algorithms.AES(key), modes.CTR(nonce + bytes(4))).encryptor().update(data)
        return chacha20(key, nonce, data)


def ratchet(key, times=1):
    for _ in range(times):
        key = blake2b(32, b"ratchet", key)
    return key


def wrap(layers, target, command, data, tape):
    """Dice: 60 octets of tail, then four to advance the numbers."""
    tail = tape(60)
    dice = tape(4)
    numbers = [layers[i].next_forward(dice[i]) for i in range(target + 1)]
    numbers[target] |= 1 << 31
    fillers = [hchacha20(layers[i].filler, struct.pack("<I", numbers[i]) + bytes(12))[:20]
               for i in range(target)]
    # Each ciphertext must end with the fillers of the hops before, so compute
    # what those force upon the innermost plaintext.
    forced = b""
    for i in range(target + 1):
        nonce = layers[i].forward_salt + struct.pack("<I", numbers[i])
        if forced: # behind a first hop, which alone may speak suite 2
            stream = chacha20(layers[i].forward_key, nonce, bytes(1184), 1)
            forced = xor(forced, stream[1184 - len(forced):])
        if i < target:
            forced += fillers[i]
    plain = (struct.pack("<BH", command, len(data)) + data).ljust(1124, b"\0")
    plain += tail[:60 - len(forced)] + forced
    for i in range(target, -1, -1):
        nonce = layers[i].forward_salt + struct.pack("<I", numbers[i])
        sealed = layers[i].seal(layers[i].forward_key, nonce, plain)
        mask = siphash(layers[i].mask, sealed[:16]) & 0xffffffff
        cell = struct.pack("<I", numbers[i] ^ mask) + sealed
        if i > 0:
            assert cell[1184:] == fillers[i - 1]
        plain = cell[:1184]
    return cell


def originate(layer, command, data, tape):
    """Dice: 16 octets of slots, then one to advance the number."""
    slots = bytearray(tape(16))
    s = layer.next_backward(tape(1)[0])
    slots[3] |= 0x80
    nonce = layer.backward_salt + struct.pack("<I", s)
    plain = (struct.pack("<BH", command, len(data)) + data).ljust(1172, b"\0")
    return (layer.stream(layer.transit, nonce, bytes(slots))
            + layer.seal(layer.origin, nonce, plain), s)


def transit(layer, cell, number, tape):
    s = layer.next_backward(tape(1)[0])
    nonce = layer.backward_salt + struct.pack("<I", s)
    cell = struct.pack("<I", number & MASK31) + cell[:12] + cell[16:]
    return layer.stream(layer.transit, nonce, cell), s


def rebuild(start, wire):
    """n from its 31 bits, for who has seen nothing yet."""
    return (wire - start) & MASK31


def peel(layer, cell):
    """A hop's step: (for me?, what it passes on or reads)."""
    number = struct.unpack("<I", cell[:4])[0] ^ siphash(layer.mask, cell[4:20]) & 0xffffffff
    n = rebuild(layer.forward_start, number & MASK31)
    nonce = layer.forward_salt + struct.pack("<I", number)
    plain = layer.open(ratchet(layer.forward_key, n >> 20), nonce, cell[4:])
    if number >> 31:
        return True, plain
    return False, plain + hchacha20(layer.filler, struct.pack("<I", number) + bytes(12))[:20]


def unwrap(layers, cell, s):
    """The owner's: (number of the hop that wrote it, plaintext)."""
    for i, layer in enumerate(layers):
        epoch = rebuild(layer.backward_start, s) >> 20
        nonce = layer.backward_salt + struct.pack("<I", s)
        clear = layer.stream(ratchet(layer.transit, epoch), nonce, cell)
        s = struct.unpack("<I", clear[:4])[0]
        if s >> 31:
            return i, layer.open(ratchet(layer.origin, epoch), nonce, cell[16:])
        cell = clear[4:16] + bytes(4) + clear[16:]
    raise ValueError("nobody wrote it")


def onions():
    section("layer")
    first = Layer(octets(0))
    for name in ("forward_key", "mask", "filler", "forward_salt", "origin", "transit",
                 "backward_salt", "binding"):
        show(name, getattr(first, name))
    show("starts", struct.pack("<II", first.forward_start, first.backward_start))
    show("ratchet", blake2b(32, b"ratchet", first.forward_key))
    section("onion")
    layers = [Layer(octets(50 * i)) for i in range(4)]
    tape = Tape()
    for target in range(4):
        show("forward%d" % target, wrap(layers, target, 1, octets(target, 1000), tape))
    for origin in range(4):
        cell, s = originate(layers[origin], 1, octets(origin, 1100), tape)
        for i in range(origin - 1, -1, -1):
            cell, s = transit(layers[i], cell, s, tape)
        show("backward%d" % origin, struct.pack("<I", s) + cell)


# ---- whole datagrams, link by link ----

def path_layers(suite, hops):
    return [Layer(octets(50 * i + hops), suite if i == 0 else 1) for i in range(hops)]


def path_link(j):
    """What link j of a path uses: its keys, and what stands in its headers."""
    return link_keys(octets(11 * j + 1, 64)), 0x01020300 + j, 70 + j, 0x80000010 + j


def paths():
    """Forward to the last hop and back from it, as each link carries it. Hop i is in
    its epoch i, both ways: before, one number is used and left i times (die 1)."""
    section("path")
    for suite in (1, 2):
        for hops in (1, 2, 3, 4):
            layers = path_layers(suite, hops)
            for i, layer in enumerate(layers):
                for _ in range(i):
                    layer.next_forward(1), layer.next_backward(1)
                    layer.jump()
            tape = Tape()
            name = "%d.%d." % (suite, hops)
            cell = wrap(layers, hops - 1, 1, octets(hops, 1045), tape)
            for j in range(hops):
                keys, index, sequence, circuit = path_link(j)
                wire = link_header(index, sequence, circuit, 1, 0, cell, keys)
                show(name + "forward%d" % j, wire if j == 0 else blake2b(32, wire))
                _, cell = peel(path_layers(suite, hops)[j], cell)
            show(name + "plain", cell)
            cell, s = originate(layers[-1], 1, octets(hops, 1100), tape)
            for j in range(hops - 1, -1, -1):
                keys, index, sequence, circuit = path_link(j)
                wire = link_header(index, sequence, circuit, 1, s, cell, keys)
                show(name + "backward%d" % j, wire if j == 0 else blake2b(32, wire))
                if j > 0:
                    cell, s = transit(layers[j - 1], cell, s, tape)
    section("epochs")
    layer = Layer(octets(0))
    for e in range(4):
        show("epoch%d" % e, ratchet(layer.forward_key, e) + ratchet(layer.origin, e)
             + ratchet(layer.transit, e))


# ---- circuit handshake ----

def handshakes():
    """Dice: x of the client, y of the relay."""
    section("handshake")
    tape = Tape()
    b = Key(octets(200))
    identity = octets(90)
    x = Key(tape(32))
    xb = x.dh(b.public)
    k1 = blake2b(32, xb + identity + b.public + x.public + b"culvert hop v1 parameters")
    head = x.public + b.public[:8]
    flight1 = head + seal(k1, bytes(12), bytes([2, 1, 1, 3, 1, 1]).ljust(64, b"\0"), head)
    show("flight1", flight1)
    y = Key(tape(32))
    prk = blake2b(64, y.dh(x.public) + xb + identity + b.public + x.public + y.public
                  + b"culvert hop v1")
    box = seal(blake2b(32, b"parameters", prk[:32]), bytes(12),
               bytes([2, 1, 1, 3, 1, 1]).ljust(64, b"\0"), y.public)
    confirm = blake2b(32, b"confirm" + flight1 + y.public + box, prk[32:])
    show("flight2", y.public + confirm + box)
    show("forward_key", Layer(prk[:32]).forward_key)


# ---- link handshake ----

class Noise:
    """NK, both sides at once."""

    def __init__(self, prologue, rs):
        self.h = b"Noise_NK_25519_ChaChaPoly_BLAKE2b".ljust(64, b"\0")
        self.ck = self.h
        self.mix_hash(prologue)
        self.mix_hash(rs)

    def mix_hash(self, data):
        self.h = blake2b(64, self.h + data)

    def hkdf(self, ikm):
        temp = hmac.new(self.ck, ikm, hashlib.blake2b).digest()
        one = hmac.new(temp, b"\1", hashlib.blake2b).digest()
        return one, hmac.new(temp, one + b"\2", hashlib.blake2b).digest()

    def flight(self, e, shared, payload):
        self.mix_hash(e)
        self.ck, key = self.hkdf(shared)
        out = ChaCha20Poly1305(key[:32]).encrypt(bytes(12), payload, self.h)
        self.mix_hash(out)
        return e + out


def linkhs():
    """Dice: initiator's ephemeral, 16 octets of mac2, one for bit 255; responder's
    ephemeral, one for bit 255. The second flight 1 carries a cookie."""
    section("linkhs")
    network = octets(7, 8)
    static = Key(octets(150))

    def key(label, version=1):
        return blake2b(32, b"culvert " + label + network + static.public
                       + bytes([version] if version > 1 else []))
    mask_key, cookie_key = key(b"link mask"), key(b"link cookie")

    def flight1(tape, index, cookie, version=1):
        mac_key = key(b"link mac1", version)
        e = Key(tape(32))
        noise = Noise(b"culvert link" + bytes([version]) + network, static.public)
        index = struct.pack("<I", index)
        plain = index + noise.flight(e.public, e.dh(static.public), index.ljust(1148, b"\0"))
        dice = tape(17)
        mac2 = blake2b(16, plain[:96], cookie) if cookie else dice[:16]
        wire = bytearray(chacha20(mask_key, mac2[:12], plain[:36]) + plain[36:])
        wire[35] ^= dice[16] & 0x80
        return e, noise, blake2b(16, mac2 + bytes(wire[:96]), mac_key) + mac2 + bytes(wire)

    tape = Tape()
    e, noise, datagram = flight1(tape, 0x01020304, None)
    show("flight1", datagram)
    r = Key(tape(32))
    mask = blake2b(32, b"flight 2 mask", noise.h)
    plain = noise.flight(r.public, r.dh(e.public), struct.pack("<I", 0x0a0b0c0d).ljust(1180, b"\0"))
    wire = bytearray(struct.pack("<I", 0x01020304) + xor(plain[:32], mask) + plain[32:])
    wire[35] ^= tape(1)[0] & 0x80
    show("flight2", bytes(wire))
    forth, back = noise.hkdf(b"")
    show("hash", noise.h)
    show("forth", b"".join(link_keys(forth)))
    show("back", b"".join(link_keys(back)))

    # Dice: two cookie secrets, then the nonce.
    tape = Tape()
    secret = tape(64)[:32]
    cookie = blake2b(16, b"culvert cookie" + b"\4" + bytes([192, 0, 2, 7]).ljust(16, b"\0")
                     + struct.pack("<H", 4242), secret)
    nonce = tape(24)
    box = crypto_aead_xchacha20poly1305_ietf_encrypt(
        cookie.ljust(1188, b"\0"), datagram[:16], nonce, cookie_key)
    show("cookie", struct.pack("<I", 0x01020304) + nonce + box)
    show("again", flight1(Tape(), 0x01020304, cookie)[2])
    show("version2", flight1(Tape(), 0x01020304, None, 2)[2])


# ---- descriptors ----

def descriptor(signer):
    body = bytes([1]) + octets(7, 8) + signer.public + struct.pack("<I", 20000) + octets(10)
    for i in range(5):
        body += octets(20 + i)
    body += octets(30) + struct.pack("<HBI", 0x0f, 1, 5000)
    body += bytes([2, 4, 192, 0, 2, 7]) + struct.pack("<H", 4242)
    body += bytes([6]) + octets(32, 16) + struct.pack("<H", 443)
    body += bytes([1]) + octets(77)
    body += bytes([1]) + struct.pack("<HH", 1024, 65535)
    return body + signer.sign(b"culvert descriptor 1" + body)


def descriptors():
    section("descriptor")
    signer = Signer(octets(99))
    octet_string = descriptor(signer)
    show("descriptor", octet_string)
    show("digest", blake2b(16, octet_string))
    bucket = blake2b(32, signer.public + struct.pack("<I", 20000))[0]
    show("buckets", bytes([0, bucket >> 4, bucket]))
    show("network", blake2b(8, b"culvert"))
    show("dhtkey", blake2b(20, b"culvert relay" + octets(7, 8)
                           + struct.pack("<IBH", 20000, 8, bucket)))
    return octet_string


def describe(octet_string):
    """Dice of the question: x, then 1232 octets, octet 36 of which also gives bit
    255; of the answer: y, four octets, one for bit 255."""
    section("describe")
    network = octets(7, 8)
    mac_key = blake2b(32, b"culvert describe mac" + network)
    mask_key = blake2b(32, b"culvert describe mask" + network)

    def point(datagram, public, dice):
        masked = bytearray(xor(public, hchacha20(mask_key, datagram[:4] + datagram[52:64])))
        masked[31] ^= dice & 0x80
        return datagram[:4] + bytes(masked) + datagram[36:]

    tape = Tape()
    x = Key(tape(32))
    question = tape(DATAGRAM)
    question = point(question, x.public, question[36])
    mac = blake2b(16, question[:36] + question[52:128], mac_key)
    question = question[:36] + mac + question[52:]
    show("question", question)
    y = Key(tape(32))
    start, dice = tape(4), tape(1)[0]
    key = blake2b(32, b"culvert describe box" + y.dh(x.public) + x.public + y.public)
    plain = struct.pack("<H", len(octet_string)) + octet_string
    box = ChaCha20Poly1305(key).encrypt(bytes(12), plain.ljust(1164, b"\0"), None)
    answer = point(start + bytes(48) + box, y.public, dice)
    mac = blake2b(16, answer[:36] + answer[52:68], blake2b(32, network + mac))
    show("answer", answer[:36] + mac + answer[52:])


def signatures():
    section("signatures")
    signer = Signer(octets(61))
    show("auth", bytes([1]) + signer.public
         + signer.sign(b"culvert link auth v1" + bytes([1]) + octets(5, 64)))
    show("intro", signer.public + signer.sign(b"culvert intro 1" + octets(6)))


def derivations():
    """What nothing above uses: names of links and accounts, and a bucket's hash."""
    section("derivations")
    show("continue", blake2b(32, b"culvert link continue" + octets(9, 64), octets(5, 64)))
    guard = Signer(bytes([1]) + bytes(31))
    seed = blake2b(32, b"guard account" + guard.public, bytes([9]) + bytes(31))
    show("account", Signer(seed).public)
    pairs = sorted(octets(3 * i, 32) + octets(70 + i, 16) for i in (90, 2, 40))
    show("pairs", b"".join(pairs))
    show("bucket", blake2b(16, b"".join(pairs)))


EXIT_BODY = 1169 - 2 - 1  # of a datagram in a backward cell: behind flow and part


def exits():
    """CONNECT to both families, and what EXIT says of one flow: whole, in halves, over."""
    section("exit")
    show("connect", struct.pack("<IH", 0x01020304, 9) + bytes([4, 192, 0, 2, 7])
         + struct.pack("<H", 7000))
    show("connect6", struct.pack("<IH", 0x01020304, 9) + bytes([6]) + octets(70, 16)
         + struct.pack("<H", 7000))
    show("whole", struct.pack("<HB", 9, 0) + octets(80, 40))
    datagram, number = octets(90, 1400), 37
    show("first", struct.pack("<HB", 9, number << 2 | 1) + datagram[:EXIT_BODY])
    show("second", struct.pack("<HB", 9, number << 2 | 2) + datagram[EXIT_BODY:])
    show("over", struct.pack("<H", 9))


# ---- the receivers' half ----

class Read:
    """tunnel.hex: read.path["1.3.plain"]"""

    def __init__(self, name):
        section_of = None
        for line in open(name):
            if line.startswith("# "):
                section_of = line[2:].strip()
                setattr(self, section_of, {})
            else:
                label, _, value = line.partition(" ")
                getattr(self, section_of)[label] = bytes.fromhex(value)


def open_header(datagram, keys):
    mac_key, header_key, _ = keys
    tag, cell = datagram[20:28], datagram[28:]
    plain = xor(datagram[4:20], hchacha20(header_key, tag + cell[:8])[:16])
    assert struct.pack("<Q", siphash(mac_key, datagram[:4] + plain + cell[:16])) == tag
    circuit, command, zero, layer = struct.unpack("<IBBI", plain[6:])
    assert zero == 0
    return int.from_bytes(plain[:6], "little"), circuit, command, layer, cell


def open_control(datagram, keys):
    sequence, circuit, command, layer, cell = open_header(datagram, keys)
    ad = datagram[:4] + struct.pack("<IBBI", circuit, command, 0, layer)
    plain = ChaCha20Poly1305(keys[2]).decrypt(bytes(6) + sequence.to_bytes(6, "little"),
                                              cell[16:] + cell[:16], ad)
    (size,) = struct.unpack("<H", plain[:2])
    assert not any(plain[2 + size:])
    return command, plain[2:2 + size]


def inner(plain):
    command, size = struct.unpack("<BH", plain[:3])
    return command, plain[3:3 + size]


def check_cells(read):
    keys = link_keys(octets(1, 64))
    assert open_header(read.link["relay"], keys)[:4] == (0xa1b2c3d4e5f6, 0x80000007, 1,
                                                          0x7abbccdd)
    assert open_control(read.link["create"], keys) == (2, octets(40, 123))
    for suite in (1, 2):
        for hops in (1, 2, 3, 4):
            name = "%d.%d." % (suite, hops)
            layers = path_layers(suite, hops)
            keys, index, sequence, circuit = path_link(0)
            wire = read.path[name + "forward0"]
            assert wire[:4] == struct.pack("<I", index) and len(wire) == DATAGRAM
            got = open_header(wire, keys)
            assert got[:4] == (sequence, circuit, 1, 0)
            cell = got[4]
            for j, layer in enumerate(layers):
                mine, cell = peel(layer, cell)
                assert mine == (j == hops - 1)
            assert inner(cell) == (1, octets(hops, 1045)) and cell == read.path[name + "plain"]
            got = open_header(read.path[name + "backward0"], keys)
            who, plain = unwrap(layers, got[4], got[3])
            assert who == hops - 1 and inner(plain) == (1, octets(hops, 1100))
    layers = [Layer(octets(50 * i)) for i in range(4)]
    for i in range(4):
        cell = read.onion["forward%d" % i]
        for j in range(i + 1):
            mine, cell = peel(layers[j], cell)
        assert mine and inner(cell) == (1, octets(i, 1000))
        back = read.onion["backward%d" % i]
        who, plain = unwrap(layers, back[4:], struct.unpack("<I", back[:4])[0])
        assert who == i and inner(plain) == (1, octets(i, 1100))


def check_handshake(read):
    """The relay from flight 1, the owner from flight 2."""
    flight1, flight2 = read.handshake["flight1"], read.handshake["flight2"]
    b, identity = Key(octets(200)), octets(90)
    assert flight1[32:40] == b.public[:8]
    xb = b.dh(flight1[:32])
    k1 = blake2b(32, xb + identity + b.public + flight1[:32] + b"culvert hop v1 parameters")
    params = ChaCha20Poly1305(k1).decrypt(bytes(12), flight1[56:] + flight1[40:56], flight1[:40])
    assert params == bytes([2, 1, 1, 3, 1, 1]).ljust(64, b"\0")
    x = Key(Tape()(32))
    prk = blake2b(64, x.dh(flight2[:32]) + x.dh(b.public) + identity + b.public + x.public
                  + flight2[:32] + b"culvert hop v1")
    assert flight2[32:64] == blake2b(32, b"confirm" + flight1 + flight2[:32] + flight2[64:],
                                     prk[32:])
    answer = ChaCha20Poly1305(blake2b(32, b"parameters", prk[:32])).decrypt(
        bytes(12), flight2[80:] + flight2[64:80], flight2[:32])
    assert answer == params
    assert Layer(prk[:32]).forward_key == read.handshake["forward_key"]


def check_linkhs(read):
    """The responder from flight 1, the initiator from flight 2 and the cookie."""
    network, static = octets(7, 8), Key(octets(150))

    def key(label, version=1):
        return blake2b(32, b"culvert " + label + network + static.public
                       + bytes([version] if version > 1 else []))

    def flight1(datagram, cookie, version=1):
        mac2 = datagram[16:32]
        assert blake2b(16, datagram[16:128], key(b"link mac1", version)) == datagram[:16]
        plain = bytearray(chacha20(key(b"link mask"), mac2[:12], datagram[32:68]) + datagram[68:])
        plain[35] &= 0x7f
        if cookie:
            assert mac2 == blake2b(16, bytes(plain[:96]), cookie)
        noise = Noise(b"culvert link" + bytes([version]) + network, static.public)
        e = bytes(plain[4:36])
        noise.mix_hash(e)
        noise.ck, secret = noise.hkdf(static.dh(e))
        payload = ChaCha20Poly1305(secret[:32]).decrypt(bytes(12), bytes(plain[36:]), noise.h)
        noise.mix_hash(bytes(plain[36:]))
        assert payload[:4] == bytes(plain[:4])
        return noise, payload[:4]

    datagram = read.linkhs["flight1"]
    noise, index = flight1(datagram, None)
    mine = Key(Tape()(32)) # the initiator's
    answer = read.linkhs["flight2"]
    assert answer[:4] == index
    e = bytearray(xor(answer[4:36], blake2b(32, b"flight 2 mask", noise.h)))
    e[31] &= 0x7f
    noise.mix_hash(bytes(e))
    noise.ck, secret = noise.hkdf(mine.dh(bytes(e)))
    assert ChaCha20Poly1305(secret[:32]).decrypt(bytes(12), answer[36:], noise.h)[:4] == \
        struct.pack("<I", 0x0a0b0c0d)
    noise.mix_hash(answer[36:])
    assert noise.h == read.linkhs["hash"]
    forth, back = noise.hkdf(b"")
    assert b"".join(link_keys(forth)) == read.linkhs["forth"]
    assert b"".join(link_keys(back)) == read.linkhs["back"]
    box = read.linkhs["cookie"]
    cookie = crypto_aead_xchacha20poly1305_ietf_decrypt(box[28:], datagram[:16], box[4:28],
                                                        key(b"link cookie"))[:16]
    flight1(read.linkhs["again"], cookie)
    flight1(read.linkhs["version2"], None, 2)


def check_describe(read):
    """The asker opens the answer and verifies who signed what is in it."""
    network = octets(7, 8)
    question, answer = read.describe["question"], read.describe["answer"]
    assert question[36:52] == blake2b(16, question[:36] + question[52:128],
                                      blake2b(32, b"culvert describe mac" + network))

    def point(datagram):
        mask = hchacha20(blake2b(32, b"culvert describe mask" + network),
                         datagram[:4] + datagram[52:64])
        out = bytearray(xor(datagram[4:36], mask))
        out[31] &= 0x7f
        return bytes(out)
    x = Key(Tape()(32))
    assert point(question) == x.public
    assert answer[36:52] == blake2b(16, answer[:36] + answer[52:68],
                                    blake2b(32, network + question[36:52]))
    y = point(answer)
    key = blake2b(32, b"culvert describe box" + x.dh(y) + x.public + y)
    plain = ChaCha20Poly1305(key).decrypt(bytes(12), answer[52:], None)
    found = plain[2:2 + struct.unpack("<H", plain[:2])[0]]
    assert found == read.descriptor["descriptor"]
    Ed25519PublicKey.from_public_bytes(found[9:41]).verify(
        found[-64:], b"culvert descriptor 1" + found[:-64])
    auth = read.signatures["auth"]
    Ed25519PublicKey.from_public_bytes(auth[1:33]).verify(
        auth[33:], b"culvert link auth v1" + auth[:1] + octets(5, 64))
    intro = read.signatures["intro"]
    Ed25519PublicKey.from_public_bytes(intro[:32]).verify(intro[32:],
                                                          b"culvert intro 1" + octets(6))


def check_exit(read):
    """What the owner of a circuit makes of the cells of one flow, in order."""
    waiting, got = None, []
    for label in ("whole", "first", "second", "over"):
        flow, rest = struct.unpack("<H", read.exit[label][:2])[0], read.exit[label][2:]
        assert flow == 9
        if not rest:
            got.append(None)
        elif rest[0] & 3 == 0:
            got.append(rest[1:])
        elif rest[0] & 3 == 1:
            waiting = rest[0] >> 2, rest[1:]
        elif waiting and waiting[0] == rest[0] >> 2:
            got.append(waiting[1] + rest[1:])
    assert got == [octets(80, 40), octets(90, 1400), None]


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        for check in (check_cells, check_handshake, check_linkhs, check_describe, check_exit):
            check(Read(sys.argv[2]))
        return
    cells()
    onions()
    handshakes()
    linkhs()
    describe(descriptors())
    signatures()
    paths()
    derivations()
    exits()


if __name__ == "__main__":
    main()
