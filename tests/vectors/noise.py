#!/usr/bin/env python3
"""Noise NK and NKpsk0 with 25519, ChaChaPoly and BLAKE2b, written down from the
Noise Protocol Framework specification (revision 34, sections 5, 7.5, 9) with
hashlib, hmac and python3-cryptography: a second implementation, sharing nothing
with src/crypto. Prints noise.txt; compare:

    tests/vectors/noise.py | diff - tests/vectors/noise.txt

Prologue, psk, payloads and keys are those of the public cacophony vector set
(its init_ephemeral, resp_static, resp_ephemeral), so that what others publish
for these inputs can be compared: for NK, flights, hash and transport messages
were found equal. Regenerate noise.txt only together with a reason.
"""
import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey, X25519PublicKey)
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PROLOGUE = b"John Galt"
PSK = b"This is my Austrian perspective!"
RESP_STATIC = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"
INIT_EPHEMERAL = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"
RESP_EPHEMERAL = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"
PAYLOADS = [b"Ludwig von Mises", b"Murray Rothbard"]
TRANSPORT = [b"F. A. Hayek", b"Carl Menger"]


class Key:
    def __init__(self, text):
        self.secret = X25519PrivateKey.from_private_bytes(bytes.fromhex(text))
        self.public = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def dh(self, public):
        return self.secret.exchange(X25519PublicKey.from_public_bytes(public))


def blake2b(data):
    return hashlib.blake2b(data).digest()


def hkdf(ck, ikm, n):
    temp = hmac.new(ck, ikm, hashlib.blake2b).digest()
    out, last = [], b""
    for i in range(n):
        last = hmac.new(temp, last + bytes([i + 1]), hashlib.blake2b).digest()
        out.append(last)
    return out


class State:
    """SymmetricState with the CipherState inside."""

    def __init__(self, name):
        name = name.encode()
        self.h = name.ljust(64, b"\0") if len(name) <= 64 else blake2b(name)
        self.ck, self.k, self.n = self.h, None, 0

    def mix_hash(self, data):
        self.h = blake2b(self.h + data)

    def mix_key(self, ikm):
        self.ck, k = hkdf(self.ck, ikm, 2)
        self.k, self.n = k[:32], 0

    def mix_key_and_hash(self, ikm):
        self.ck, h, k = hkdf(self.ck, ikm, 3)
        self.mix_hash(h)
        self.k, self.n = k[:32], 0

    def encrypt_and_hash(self, plain):
        c = seal(self.k, self.n, self.h, plain)
        self.n += 1
        self.mix_hash(c)
        return c


def seal(k, n, ad, plain):
    return ChaCha20Poly1305(k).encrypt(bytes(4) + n.to_bytes(8, "little"), plain, ad)


def run(name, psk):
    """Both sides mix the same values, so one state stands for both."""
    s, e, re = Key(RESP_STATIC), Key(INIT_EPHEMERAL), Key(RESP_EPHEMERAL)
    st = State(name)
    st.mix_hash(PROLOGUE)
    st.mix_hash(s.public)

    if psk:
        st.mix_key_and_hash(psk)
    st.mix_hash(e.public)
    if psk:
        st.mix_key(e.public)
    st.mix_key(e.dh(s.public))
    flight1 = e.public + st.encrypt_and_hash(PAYLOADS[0])

    st.mix_hash(re.public)
    if psk:
        st.mix_key(re.public)
    st.mix_key(e.dh(re.public))
    flight2 = re.public + st.encrypt_and_hash(PAYLOADS[1])

    to_responder, to_initiator = hkdf(st.ck, b"", 2)
    print("#", name)
    for label, value in [
            ("flight1", flight1), ("flight2", flight2), ("hash", st.h),
            ("initiator_to_responder", to_responder), ("responder_to_initiator", to_initiator),
            ("transport1", seal(to_responder[:32], 0, b"", TRANSPORT[0])),
            ("transport2", seal(to_initiator[:32], 0, b"", TRANSPORT[1]))]:
        print(label, value.hex())


run("Noise_NK_25519_ChaChaPoly_BLAKE2b", None)
run("Noise_NKpsk0_25519_ChaChaPoly_BLAKE2b", PSK)
print("# HMAC-BLAKE2b-512 by hashlib and hmac: key length, data length (octets 0, 1, 2, ...)")
for key_len, data_len in [(0, 0), (1, 0), (32, 64), (64, 1), (64, 128), (128, 200), (129, 3),
                          (300, 1000)]:
    key, data = (bytes(i & 255 for i in range(n)) for n in (key_len, data_len))
    print("hmac", key_len, data_len, hmac.new(key, data, hashlib.blake2b).hexdigest())
print("# HKDF(ck = octets 0..63, ikm = octets 0..31), three outputs")
for out in hkdf(bytes(range(64)), bytes(range(32)), 3):
    print("hkdf", out.hex())
