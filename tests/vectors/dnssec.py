#!/usr/bin/env python3
"""The examples of RFC 5702, 6605 and 8080 as octets: what was signed, public
key, signature, and where the private key is given, that key in PEM. Written
with python3-cryptography and bare arithmetic; shares nothing with src/crypto.
Prints dnssec.txt; compare:

    tests/vectors/dnssec.py | diff - tests/vectors/dnssec.txt

The signatures that RFC 8080 prints cover 3 labels, though the name has 2. No RFC has an example for RSASHA1
(algorithm 5) with the key at hand: RFC 3110's formula is applied to the key of
RFC 5702 instead.
"""
import base64
import calendar
import hashlib
import time

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat)


def name(text):
    return b"".join(bytes([len(x)]) + x.encode() for x in text.split(".")) + b"\0"


def when(text):
    return text if isinstance(text, int) else calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S"))


def signed(owner, kind, rdata, algorithm, expires, begins, tag, signer, labels):
    """RFC 4034 section 3.1.8.1: the RRSIG without its signature, then the record."""
    head = (kind.to_bytes(2, "big") + bytes([algorithm, labels]) + (3600).to_bytes(4, "big") +
            when(expires).to_bytes(4, "big") + when(begins).to_bytes(4, "big") +
            tag.to_bytes(2, "big") + name(signer))
    record = (name(owner) + kind.to_bytes(2, "big") + b"\0\1" + (3600).to_bytes(4, "big") +
              len(rdata).to_bytes(2, "big") + rdata)
    return head + record


def show(title, message, public, signature, pem=None):
    print("#", title)
    print("message", message.hex())
    print("public", public.hex())
    print("signature", signature.hex())
    if pem:
        print("pem", pem.hex())


def b64(text):
    return base64.b64decode(text)


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


A, MX = 1, 15

# RFC 5702 section 6.1
public = b64("AwEAAcFcGsaxxdgiuuGmCkVImy4h99CqT7jwY3pexPGcnUFtR2Fh36BponcwtkZ4cAgtvd4Qs8PkxUdp6p/DlUmObdk=")
message = signed("www.example.net", A, bytes([192, 0, 2, 91]), 8, "20300101000000", "20000101000000",
                 9033, "example.net", 3)
show("RSASHA256, RFC 5702 section 6.1", message, public,
     b64("kRCOH6u7l0QGy9qpC9l1sLncJcOKFLJ7GhiUOibu4teYp5VE9RncriShZNz85mwlMgNEacFYK/lPtPiVYP4bwg=="))

modulus = int.from_bytes(public[4:], "big")
private = int.from_bytes(
    b64("UR44xX6zB3eaeyvTRzmskHADrPCmPWnr8dxsNwiDGHzrMKLN+i/HAam+97HxIKVWNDH2ba9Mf1SA8xu9dcHZAQ=="), "big")
prefix = bytes.fromhex("3021300906052b0e03021a05000414")
digest = prefix + hashlib.sha1(message).digest()
block = b"\0\1" + b"\xff" * (64 - 3 - len(digest)) + b"\0" + digest
show("RSASHA1, RFC 3110 section 3", message, public,
     pow(int.from_bytes(block, "big"), private, modulus).to_bytes(64, "big"))

# RFC 6605 section 6
key = ec.derive_private_key(
    int.from_bytes(b64("GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ="), "big"), ec.SECP256R1())
show("ECDSAP256SHA256, RFC 6605 section 6.1",
     signed("www.example.net", A, bytes([192, 0, 2, 1]), 13, "20100909100439", "20100812100439",
            55648, "example.net", 3),
     b64("GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="),
     b64("qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw=="),
     pem(key))
key = ec.derive_private_key(
    int.from_bytes(b64("WURgWHCcYIYUPWgeLmiPY2DJJk02vgrmTfitxgqcL4vwW7BOrbawVmVe0d9V94SR"), "big"),
    ec.SECP384R1())
show("ECDSAP384SHA384, RFC 6605 section 6.2",
     signed("www.example.net", A, bytes([192, 0, 2, 1]), 14, "20100909102025", "20100812102025",
            10771, "example.net", 3),
     b64("xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8"
         "/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40"),
     b64("/L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuz"
         "WTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm"),
     pem(key))

# RFC 8080 section 6.1
exchange = (10).to_bytes(2, "big") + name("mail.example.com")
for seed, public, tag, signature in (
        ("ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=", "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
         3613, "Edk+IB9KNNWg0HAjm7FazXyrd5m3Rk8zNZbvNpAcM+eysqcUOMIjWoevFkjH5GaMWeG96GUVZu6ECKOQmemHDg=="),
        ("DSSF3o0s0f+ElWzj9E/Osxw8hLpk55chkmx0LYN5WiY=", "zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
         35217, "5LL2obmzdqjWI+Xto5eP5adXt/T5tMhasWvwcyW4L3SzfcRawOle9bodhC+oip9ayUGjY9T/rL4rN3bOuESGDA==")):
    show("ED25519, RFC 8080 section 6.1",
         signed("example.com", MX, exchange, 15, 1440021600, 1438207200, tag, "example.com", 3),
         b64(public), b64(signature),
         pem(ed25519.Ed25519PrivateKey.from_private_bytes(b64(seed))))
