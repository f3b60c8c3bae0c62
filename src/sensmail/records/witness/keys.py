"""Keys of a witness: made on its host, once; private ones as encrypted credentials of systemd, public ones as files."""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from sensmail.host.files import Files
from sensmail.host.systemd import CredentialRefused, encrypt_credential
from sensmail.records.cosignature import COSIGNATURE, witness_key
from sensmail.records.errors import Malformed
from sensmail.records.note import VerifierKey, public_bytes
from sensmail.records.witness.errors import WitnessFailure

SIGNING, TLS = "witness-signing", "witness-tls"  # credentials
KEY, CERTIFICATE = "key", "certificate.pem"  # public, in the same directory
_TLS_YEARS = 20  # it is pinned, not renewed


@dataclass(frozen=True)
class Public:
    """What a publisher is told of a witness.

    Attributes:
        key: NAME+id+key. certificate: SHA-256 of the certificate, in hexadecimal.
    """

    key: str
    certificate: str


def ensure(directory: Path, name: str, *, used: bool, check: bool = False) -> tuple[Public | None, list[str]]:
    """Make what is missing, as root.

    Args:
        directory: of credentials and public files; it exists.
        name: of the witness.
        used: whether notes are there that an earlier key cosigned.
        check: only say what would be done.

    Returns:
        What is public, None where it would only be made; and the steps.

    Raises:
        WitnessFailure: a key is missing or of another name, and a new one would be a new witness.
    """
    files, steps = Files(), []
    if not (directory / SIGNING).exists() or not (directory / KEY).exists():
        if used:
            raise WitnessFailure(
                f"{directory}: the key of this witness is missing, and notes that it cosigned are there. Bring the "
                "files "
                f"{SIGNING} and {KEY} back; or keep the notes for the auditors, empty the store, and begin as a new one"
            )
        steps.append(f"make the signing key of {name}")
        if not check:
            private = Ed25519PrivateKey.generate()
            _keep(files, directory / SIGNING, _sealed(SIGNING, private.private_bytes_raw()))
            _keep(files, directory / KEY, f"{witness_key(name, public_bytes(private)).to_text()}\n".encode(), 0o644)
    if not (directory / TLS).exists() or not (directory / CERTIFICATE).exists():
        steps.append("make a key and a certificate for its connections")
        if not check:
            key, certificate = _certificate(name)
            _keep(files, directory / TLS, _sealed(TLS, key))
            _keep(files, directory / CERTIFICATE, certificate, 0o644)
    if check and steps:
        return None, steps
    found = public(directory)
    if VerifierKey.from_text(found.key, COSIGNATURE).name != name:
        raise WitnessFailure(
            f"{directory / KEY}: {found.key.partition('+')[0]} and not {name}. The name belongs to the key: "
            f"set witness_name to it"
        )
    return found, steps


def public(directory: Path) -> Public:
    """What is public of this witness. Raises WitnessFailure."""
    try:
        key = (directory / KEY).read_text(encoding="ascii").strip()
        VerifierKey.from_text(key, COSIGNATURE)
        certificate = ssl.PEM_cert_to_DER_cert((directory / CERTIFICATE).read_text(encoding="ascii"))
    except (OSError, ValueError, Malformed) as error:
        raise WitnessFailure(f"{directory}: {error}; run role witness again") from error
    return Public(key, hashlib.sha256(certificate).hexdigest())


def signing_key(credentials: Path) -> Ed25519PrivateKey:
    """The private key, as systemd hands it over. Raises WitnessFailure."""
    try:
        return Ed25519PrivateKey.from_private_bytes((credentials / SIGNING).read_bytes())
    except (OSError, ValueError) as error:
        raise WitnessFailure(f"credential {SIGNING}: not there, or not of 32 bytes; run role witness again") from error


def check_public(directory: Path, key: VerifierKey) -> None:
    """Raise WitnessFailure unless the verifier key that auditors were given is that of the key in use."""
    if public(directory).key != key.to_text():
        raise WitnessFailure(
            f"{directory / KEY}: not the key in use, {key.to_text()}; bring the right pair of files back"
        )


def _sealed(name: str, secret: bytes) -> bytes:
    try:
        return encrypt_credential(name, secret)
    except CredentialRefused as error:
        raise WitnessFailure(f"{name}: {error}") from error


def _keep(files: Files, path: Path, data: bytes, mode: int = 0o600) -> None:
    beside = path.with_name(f".{path.name}.new")
    files.create(beside, data)
    beside.chmod(mode)
    files.rename(beside, path)
    files.fsync_directory(path.parent)


def _certificate(name: str) -> tuple[bytes, bytes]:
    """A key and a certificate that it signs itself, both PEM. Who connects knows the certificate's digest."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * _TLS_YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, made.public_bytes(serialization.Encoding.PEM)


CREDENTIALS = "CREDENTIALS_DIRECTORY"


def credentials() -> Path:
    """Where systemd put the private keys. Raises WitnessFailure."""
    found = os.environ.get(CREDENTIALS)
    if not found:
        raise WitnessFailure(f"${CREDENTIALS} is not set: start this as sensmail-witness.service")
    return Path(found)
