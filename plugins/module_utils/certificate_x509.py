# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make and judge keys and certificates. Pure: bytes in, bytes or words out. Needs cryptography."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PEM = serialization.Encoding.PEM
MIN_RSA_BITS = 2048
# a clock that is a little behind must not see a certificate of the future
BACKDATE = timedelta(hours=1)


class CertificateError(Exception):
    """A key or certificate cannot be used. The message says which, why, and what to do."""


@dataclass(frozen=True)
class Pair:
    """A private key and the chain that begins with its certificate, both in PEM."""

    key: bytes
    chain: bytes

    def load(self) -> tuple[PrivateKey, list[x509.Certificate]]:
        """Read both.

        Raises:
            CertificateError: one is not what it should be.
        """
        return load_key(self.key), load_chain(self.chain)


def load_key(pem: bytes) -> PrivateKey:
    """Read a private key.

    Raises:
        CertificateError: it is none, is encrypted, or of a kind that mail and web clients do not accept.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError("the private key is encrypted: give it without a passphrase") from error
    except ValueError as error:
        raise CertificateError("the private key is not in PEM, or is damaged") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise CertificateError(f"the private key is RSA of {key.key_size} bits, at least {MIN_RSA_BITS} are needed")
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)):
        raise CertificateError("the private key is neither ECDSA nor RSA nor Ed25519")
    return key


def load_chain(pem: bytes) -> list[x509.Certificate]:
    """Read certificates, the host's own first.

    Raises:
        CertificateError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError("the chain holds no certificate in PEM, or a damaged one") from error


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Every name and address that the certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    dns = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return frozenset(dns | {str(address) for address in names.get_values_for_type(x509.IPAddress)})


def covers(certified: Iterable[str], name: str) -> bool:
    """True when a client that asked for `name` accepts; a star stands for one label (RFC 9525)."""
    return name in certified or f"*.{name.partition('.')[2]}" in certified


def public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    """A public key in a form that can be compared."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def faults(pair: Pair, names: Sequence[str], now: datetime, spare: timedelta) -> list[str]:
    """What speaks against serving this pair; empty when nothing does.

    Args:
        pair: key and chain.
        names: what clients ask for.
        now: the time, with its zone.
        spare: how long the certificate must still be valid.
    """
    try:
        key, chain = pair.load()
    except CertificateError as error:
        return [str(error)]
    leaf = chain[0]
    found = []
    if public_bytes(key.public_key()) != public_bytes(leaf.public_key()):
        found.append("the private key does not belong to the first certificate of the chain")
    if missing := [name for name in names if not covers(names_of(leaf), name.lower())]:
        found.append(f"it is not for {', '.join(missing)}, but for {', '.join(sorted(names_of(leaf))) or 'nothing'}")
    for number, certificate in enumerate(chain, 1):
        found += _dates(certificate, f"certificate {number} of the chain", now, spare)
    for number, (lower, upper) in enumerate(pairwise(chain), 1):
        if not signed_by(lower, upper):
            found.append(f"certificate {number} of the chain is not signed by certificate {number + 1}")
    return found


def _dates(certificate: x509.Certificate, what: str, now: datetime, spare: timedelta) -> list[str]:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return [f"{what} is valid from {start:%Y-%m-%d} only"]
    if now >= end:
        return [f"{what} expired on {end:%Y-%m-%d}"]
    return [f"{what} expires soon, on {end:%Y-%m-%d}"] if now + spare >= end else []


def signed_by(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    """True when `upper` issued `lower`."""
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def new_key() -> ec.EllipticCurvePrivateKey:
    """An ECDSA key that every client of the last ten years accepts."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """The private key, unencrypted: whoever may read the file is decided by its owner and mode."""
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def make_ca(name: str, now: datetime, life: timedelta) -> Pair:
    """A certificate authority that may sign certificates of hosts and nothing below it."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(subject, subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(key_pem(key), certificate.public_bytes(PEM))


def make_leaf(authority: Pair, names: Sequence[str], now: datetime, life: timedelta) -> Pair:
    """A certificate for a server, never valid for longer than its authority.

    Raises:
        CertificateError: the authority's key or certificate is damaged.
    """
    ca_key, (ca, *_) = authority.load()
    key = new_key()
    life = min(life, ca.not_valid_after_utc - now)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= 64 else [])
    issuer_key = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(subject, ca.subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=not list(subject))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
        .sign(ca_key, None if isinstance(ca_key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return Pair(key_pem(key), certificate.public_bytes(PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
