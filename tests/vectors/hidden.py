#!/usr/bin/python3
"""Keys, slots and the end-to-end layer of hidden swarms, written down from
docs/protocol/tunnel.md with hashlib, hmac, PyNaCl and python3-cryptography: a
second implementation, sharing nothing with src/tunnel. Prints hidden.txt:

    tests/vectors/hidden.py | diff - tests/vectors/hidden.txt
    tests/vectors/hidden.py --check tests/vectors/hidden.txt

The second reads it as the other end does: opens the slot, both flights and all datagrams.
Network id, swarm id, secret, period and all keys are runs of octets that the
tests write down as well. Regenerate hidden.txt only together with a reason.
"""
import hashlib
import hmac
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey, X25519PublicKey)
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl import bindings
from nacl.signing import SigningKey, VerifyKey


def run(first, n):
    return bytes((first + i) & 255 for i in range(n))


def b2(out, parts, key=b""):
    return hashlib.blake2b(b"".join(parts), digest_size=out, key=key).digest()


NETWORK, SWARM, SECRET, PERIOD = b"culvert!", run(1, 32), run(100, 32), 20601


def swarm(secret):
    s = b2(32, [b"culvert hs v1", NETWORK, struct.pack("<H", len(SWARM)), SWARM],
           secret or bytes(32))
    offset = struct.unpack("<Q", b2(32, [b"offset"], s)[:8])[0] % 86400
    return s, offset


def period_keys(s):
    p = struct.pack("<I", PERIOD)
    return b2(32, [b"seal", p], s), b2(32, [b"psk", p], s)


def slot_key(s, j):
    return SigningKey(b2(32, [b"slot", struct.pack("<IB", PERIOD, j)], s))


def contact(i):
    return (run(10 * i, 32) + run(20 * i, 16) + run(30 * i, 32) + run(40 * i, 32) +
            struct.pack("<IB", 1780000000 + i, i))


def signed(value):
    return b"3:seqi1780000123e1:v900:" + value


# ---- Noise NKpsk0 and what follows ----
class Key:
    def __init__(self, seed):
        self.secret = X25519PrivateKey.from_private_bytes(seed)
        self.public = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def dh(self, public):
        return self.secret.exchange(X25519PublicKey.from_public_bytes(public))


def hkdf(ck, ikm, n):
    temp = hmac.new(ck, ikm, hashlib.blake2b).digest()
    out, last = [], b""
    for i in range(n):
        last = hmac.new(temp, last + bytes([i + 1]), hashlib.blake2b).digest()
        out.append(last)
    return out


class State:
    def __init__(self):
        name = b"Noise_NKpsk0_25519_ChaChaPoly_BLAKE2b"
        self.h = name.ljust(64, b"\0")
        self.ck, self.k, self.n = self.h, None, 0

    def mix_hash(self, data):
        self.h = hashlib.blake2b(self.h + data).digest()

    def mix_key(self, ikm):
        self.ck, k = hkdf(self.ck, ikm, 2)
        self.k, self.n = k[:32], 0

    def mix_key_and_hash(self, ikm):
        self.ck, h, k = hkdf(self.ck, ikm, 3)
        self.mix_hash(h)
        self.k, self.n = k[:32], 0

    def decrypt(self, sealed):
        text = ChaCha20Poly1305(self.k).decrypt(struct.pack("<4xQ", self.n), sealed, self.h)
        self.n += 1
        self.mix_hash(sealed)
        return text

    def encrypt(self, text):
        out = ChaCha20Poly1305(self.k).encrypt(struct.pack("<4xQ", self.n), text, self.h)
        self.n += 1
        self.mix_hash(out)
        return out


MASK = (1 << 64) - 1


def rotl(x, b):
    return (x << b | x >> (64 - b)) & MASK


def siphash(key, data):
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
         k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[2] = (v[2] + v[3]) & MASK
            v[1], v[3] = rotl(v[1], 13) ^ v[0], rotl(v[3], 16) ^ v[2]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[1]) & MASK
            v[0] = (v[0] + v[3]) & MASK
            v[1], v[3] = rotl(v[1], 17) ^ v[2], rotl(v[3], 21) ^ v[0]
            v[2] = rotl(v[2], 32)

    tail = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 255])
    for i in range(0, len(tail), 8):
        m = struct.unpack_from("<Q", tail, i)[0]
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def datagram(direction, n, text):
    key, mask, salt = direction[:32], direction[32:48], direction[48:56]
    wire = (struct.unpack("<I", direction[56:60])[0] + n) & 0x7fffffff
    sealed = ChaCha20Poly1305(key).encrypt(salt + struct.pack("<I", wire), text, None)
    text, tag = sealed[:-16], sealed[-16:]
    return struct.pack("<I", wire ^ siphash(mask, tag) & 0xffffffff) + tag + text


def opened(direction, n, wire):
    """The number first, then what is sealed under it."""
    key, mask, salt = direction[:32], direction[32:48], direction[48:56]
    masked, tag, text = wire[:4], wire[4:20], wire[20:]
    number = struct.unpack("<I", masked)[0] ^ siphash(mask, tag) & 0xffffffff
    assert number == (struct.unpack("<I", direction[56:60])[0] + n) & 0x7fffffff
    return ChaCha20Poly1305(key).decrypt(salt + struct.pack("<I", number), text + tag, None)


IP, AUTH, MEETING = run(10, 32), run(30, 32), run(81, 32) + run(91, 16) + run(111, 20)


def begun(service, psk):
    st = State()
    st.mix_hash(b"culvert e2e v1" + NETWORK + struct.pack("<I", PERIOD) + IP + AUTH)
    st.mix_hash(service)
    st.mix_key_and_hash(psk)
    return st


def effort(service, stamp, flight1):
    h = b2(32, [service, struct.pack("<I", PERIOD), stamp, b2(32, [flight1])])
    return 256 - int.from_bytes(h, "big").bit_length()


SERVICE, INITIATOR, RESPONDER = run(51, 32), run(61, 32), run(71, 32)


# ---- what is written ----
def produce():
    for name, secret in (("open", None), ("secret", SECRET)):
        s, offset = swarm(secret)
        seal, psk = period_keys(s)
        print(f"# swarm {name}")
        print("s", s.hex())
        print("offset", struct.pack("<I", offset).hex())
        print("seal", seal.hex())
        print("psk", psk.hex())
        for j in (0, 7, 15, 16):  # 16: the pointer
            print(f"slot{j}", slot_key(s, j).verify_key.encode().hex())

    # a slot of two contacts, sealed and signed
    s, _ = swarm(None)
    seal, psk = period_keys(s)
    plain = bytes([2]) + contact(1) + contact(2)
    nonce = run(77, 24)
    value = nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plain.ljust(860, b"\0"), None, nonce, seal)
    assert len(value) == 900
    print("# slot")
    print("value", value.hex())
    print("signature", slot_key(s, 7).sign(signed(value)).signature.hex())

    service, initiator, responder = Key(SERVICE), Key(INITIATOR), Key(RESPONDER)
    st = begun(service.public, psk)
    st.mix_hash(initiator.public)
    st.mix_key(initiator.public)
    st.mix_key(initiator.dh(service.public))
    flight1 = initiator.public + st.encrypt(MEETING)
    st.mix_hash(responder.public)
    st.mix_key(responder.public)
    st.mix_key(responder.dh(initiator.public))
    flight2 = responder.public + st.encrypt(b"")
    to_seeder, to_viewer = hkdf(st.ck, b"", 2)
    print("# e2e")
    print("flight1", flight1.hex())
    print("flight2", flight2.hex())
    for n in (0, 1):
        print(f"to_seeder{n}", datagram(to_seeder, n, b"from the viewer %d" % n).hex())
        print(f"to_viewer{n}", datagram(to_viewer, n, b"from the seeder %d" % n).hex())

    print("# stamp")
    for i in range(400):
        stamp = struct.pack("<I", i) + bytes(12)
        bits = effort(service.public, stamp, flight1)
        if bits >= 6:
            print("stamp", stamp.hex() + "%02x" % bits)
            break


# ---- and how the other end reads it ----
def check(path):
    read, part = {}, None
    for line in open(path):
        if line.startswith("# "):
            part = line[2:].strip()
        else:
            name, value = line.split()
            read[part, name] = bytes.fromhex(value)

    # a viewer, of a slot: whose it is, then what it says
    s, _ = swarm(None)
    seal, psk = period_keys(s)
    value = read["slot", "value"]
    VerifyKey(read["swarm open", "slot7"]).verify(signed(value), read["slot", "signature"])
    plain = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(value[24:], None, value[:24], seal)
    assert plain == (bytes([2]) + contact(1) + contact(2)).ljust(860, b"\0")

    # the seeder, of flight 1, which it opens with its service key alone
    service, responder = Key(SERVICE), Key(RESPONDER)
    flight1, flight2 = read["e2e", "flight1"], read["e2e", "flight2"]
    assert len(flight1) == 116 and len(flight2) == 48
    seeder = begun(service.public, psk)
    seeder.mix_hash(flight1[:32])
    seeder.mix_key(flight1[:32])
    seeder.mix_key(service.dh(flight1[:32]))
    assert seeder.decrypt(flight1[32:]) == MEETING
    seeder.mix_hash(responder.public)
    seeder.mix_key(responder.public)
    seeder.mix_key(responder.dh(flight1[:32]))
    assert responder.public + seeder.encrypt(b"") == flight2

    # the viewer, of flight 2
    initiator = Key(INITIATOR)
    viewer = begun(service.public, psk)
    viewer.mix_hash(initiator.public)
    viewer.mix_key(initiator.public)
    viewer.mix_key(initiator.dh(service.public))
    viewer.encrypt(MEETING)
    viewer.mix_hash(flight2[:32])
    viewer.mix_key(flight2[:32])
    viewer.mix_key(initiator.dh(flight2[:32]))
    assert viewer.decrypt(flight2[32:]) == b""
    to_seeder, to_viewer = hkdf(viewer.ck, b"", 2)
    assert (to_seeder, to_viewer) == tuple(hkdf(seeder.ck, b"", 2))
    for n in (0, 1):
        assert opened(to_seeder, n, read["e2e", f"to_seeder{n}"]) == b"from the viewer %d" % n
        assert opened(to_viewer, n, read["e2e", f"to_viewer{n}"]) == b"from the seeder %d" % n

    stamp = read["stamp", "stamp"]
    assert effort(service.public, stamp[:16], flight1) == stamp[16]


if sys.argv[1:2] == ["--check"]:
    check(sys.argv[2])
else:
    produce()
