"""Live signature algorithms: keys as a DNSKEY holds them, signatures as an RRSIG does
(RFC 7574 sections 6.1 and 8.9; RFC 3110, 4034, 5702, 6605, 8080), and the membership
certificates of section 8.13. The cryptography is Debian's python3-cryptography."""
import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

RSASHA1, RSASHA256, ECDSAP256SHA256, ECDSAP384SHA384, ED25519 = 5, 8, 13, 14, 15
ALGORITHMS = {'rsasha1': RSASHA1, 'rsasha256': RSASHA256, 'ecdsap256sha256': ECDSAP256SHA256,
              'ecdsap384sha384': ECDSAP384SHA384, 'ed25519': ED25519}
_HASH = {RSASHA1: hashes.SHA1, RSASHA256: hashes.SHA256, ECDSAP256SHA256: hashes.SHA256,
         ECDSAP384SHA384: hashes.SHA384}
_CURVE = {ECDSAP256SHA256: (ec.SECP256R1, 32), ECDSAP384SHA384: (ec.SECP384R1, 48)}


def make_key(algorithm, bits=1024):
    """A private key. RSA keys are short by default: these are tests."""
    if algorithm == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVE:
        return ec.generate_private_key(_CURVE[algorithm][0]())
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def swarm_id(algorithm, key):
    """Algorithm octet and public key field of a DNSKEY."""
    public = key.public_key()
    if algorithm == ED25519:  # RFC 8080 section 3
        field = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    elif algorithm in _CURVE:  # RFC 6605 section 4: X | Y
        n, size = public.public_numbers(), _CURVE[algorithm][1]
        field = n.x.to_bytes(size, 'big') + n.y.to_bytes(size, 'big')
    else:  # RFC 3110 section 2: length of the exponent, exponent, modulus
        n = public.public_numbers()
        exponent = n.e.to_bytes((n.e.bit_length() + 7) // 8, 'big')
        modulus = n.n.to_bytes((n.n.bit_length() + 7) // 8, 'big')
        length = bytes([len(exponent)]) if len(exponent) < 256 else b'\0' + len(exponent).to_bytes(2, 'big')
        field = length + exponent + modulus
    return bytes([algorithm]) + field


class PublicKey:
    """What a viewer reads out of a swarm ID."""

    def __init__(self, swarm_id):
        self.algorithm, field = swarm_id[0], swarm_id[1:]
        if self.algorithm == ED25519:
            self.key, self.signature_size = ed25519.Ed25519PublicKey.from_public_bytes(field), 64
        elif self.algorithm in _CURVE:
            curve, size = _CURVE[self.algorithm]
            x, y = int.from_bytes(field[:size], 'big'), int.from_bytes(field[size:], 'big')
            self.key, self.signature_size = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key(), 2 * size
        else:
            length, at = (field[0], 1) if field[0] else (int.from_bytes(field[1:3], 'big'), 3)
            exponent, modulus = field[at:at + length], field[at + length:]
            self.key = rsa.RSAPublicNumbers(int.from_bytes(exponent, 'big'),
                                            int.from_bytes(modulus, 'big')).public_key()
            self.signature_size = len(modulus)  # section 8.9

    def verifies(self, signature, text):
        try:
            if self.algorithm == ED25519:
                self.key.verify(signature, text)
            elif self.algorithm in _CURVE:
                half = len(signature) // 2
                dss = encode_dss_signature(int.from_bytes(signature[:half], 'big'),
                                           int.from_bytes(signature[half:], 'big'))
                self.key.verify(dss, text, ec.ECDSA(_HASH[self.algorithm]()))
            else:
                self.key.verify(signature, text, padding.PKCS1v15(), _HASH[self.algorithm]())
            return True
        except InvalidSignature:
            return False


def sign(algorithm, key, text):
    if algorithm == ED25519:
        return key.sign(text)
    if algorithm in _CURVE:  # RFC 6605: r | s
        size = _CURVE[algorithm][1]
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(_HASH[algorithm]())))
        return r.to_bytes(size, 'big') + s.to_bytes(size, 'big')
    return key.sign(text, padding.PKCS1v15(), _HASH[algorithm]())


def membership_certificate(issuer_key, ip, port, swarm, when, seconds=600):
    """DER; section 8.13: a critical subject alternative name with one file: URL."""
    host = f'[{ip}]' if ':' in ip else ip
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'member')])
    start = datetime.datetime.utcfromtimestamp(when)
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
               .public_key(issuer_key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(start).not_valid_after(start + datetime.timedelta(seconds=seconds))
               .add_extension(x509.SubjectAlternativeName(
                   [x509.UniformResourceIdentifier(f'file://{host}:{port}/{swarm.hex()}')]), critical=True))
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, algorithm).public_bytes(serialization.Encoding.DER)


def read_certificate(der):
    """(the URL, whether the extension is critical)."""
    extension = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)[0], extension.critical


def certificate_holds(der, public, when):
    """Whether an Ed25519 authority signed it and it is good at that time."""
    c = x509.load_der_x509_certificate(der)
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(c.signature, c.tbs_certificate_bytes)
    except InvalidSignature:
        return False
    now = datetime.datetime.utcfromtimestamp(when)
    return c.version == x509.Version.v3 and c.not_valid_before <= now <= c.not_valid_after
