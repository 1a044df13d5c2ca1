#!/usr/bin/env python3
"""Membership certificates of RFC 7574 section 8.13, good ones and others, by
python3-cryptography: shares nothing with src/crypto. All are signed by the Ed25519 key whose
seed is 32 times 07, so that they come out the same each time. Prints certificate.txt; compare:

    tests/vectors/certificate.py | diff - tests/vectors/certificate.txt
"""
import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
URI = 'file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3'  # the RFC's example
URI6 = 'file://[2001:db8::1]:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3'
BEGIN, SECONDS = 1767225600, 86400  # 2026-01-01


def made(names=None, critical=True, begin=BEGIN, seconds=SECONDS, extensions=()):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'tracker')])
    start = datetime.datetime.utcfromtimestamp(begin)
    b = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(ISSUER.public_key())
         .serial_number(1000).not_valid_before(start)
         .not_valid_after(start + datetime.timedelta(seconds=seconds)))
    if names is None:
        names = [x509.UniformResourceIdentifier(URI)]
    if names:
        b = b.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    for extension, is_critical in extensions:
        b = b.add_extension(extension, critical=is_critical)
    return b.sign(ISSUER, None).public_bytes(Encoding.DER)


def uri(text):
    return x509.UniformResourceIdentifier(text)


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier('1.3.6.1.4.1.55555.1'), b'\5\0')
USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
GOOD = made()

print('# issuer')
print('public', ISSUER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex())
print('# good')
for label, der in [('v4', GOOD), ('v6', made([uri(URI6)])), ('2060', made(begin=2840140800)),
                   ('extensions', made(extensions=[(UNKNOWN, False), (USAGE, True)]))]:
    print(label, der.hex())
print('# bad')
for label, der in [('not-critical', made(critical=False)),
                   ('two-names', made([uri(URI), uri(URI6)])),
                   ('dns-name', made([x509.DNSName('example.com')])),
                   ('no-name', made([])),
                   ('unknown-critical', made(extensions=[(UNKNOWN, True)])),
                   ('space', made([uri('file://192.0.2.0:6778/ e5')])),
                   ('long', made([uri('file://192.0.2.0:6778/' + 'e5' * 400)])),
                   ('trailing', GOOD + b'\0'),
                   ('version-2', GOOD.replace(bytes.fromhex('a003020102'), bytes.fromhex('a003020101'), 1))]:
    print(label, der.hex())
