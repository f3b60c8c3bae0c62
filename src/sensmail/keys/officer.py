"""An officer's own key, made and kept offline: X25519, PKCS#8 encrypted under a passphrase.

The private file is PBES2 (RFC 8018) with scrypt (RFC 7914 section 7) and AES-256-CBC, written here because the
library's own encryption derives the key by 2,048 rounds of PBKDF2 only. OpenSSL 1.1 and later read it. The public half
is a PEM file of SubjectPublicKeyInfo (RFC 8410).
"""

from __future__ import annotations

import os
import unicodedata
from base64 import encodebytes
from hashlib import scrypt, sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sensmail.keys.errors import OfficerKeyError

MIN_PASSPHRASE = 14  # characters
_DIGITS, _GROUP = 24, 4  # 10**24 tries to find another key with the same digits
_COST, _BLOCK, _PARALLEL = 2**14, 8, 5  # 16 MiB: OpenSSL's own reader allows 32
_SALT_BYTES, _KEY_BYTES, _BLOCK_BYTES = 16, 32, 16


def fingerprint(public: bytes) -> str:
    """24 digits in groups of four, to read out loud in any language; `public` is the raw key of 32 bytes."""
    digest = sha256(b"sensmail officer v1\0" + public).digest()
    digits = f"{int.from_bytes(digest) % 10**_DIGITS:0{_DIGITS}d}"
    return " ".join(digits[at : at + _GROUP] for at in range(0, _DIGITS, _GROUP))


def create(private: Path, public: Path, passphrase: str) -> X25519PublicKey:
    """Make a new key in two new files; neither is ever replaced.

    Raises:
        OfficerKeyError: the passphrase is too short, or a file is there or cannot be written.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise OfficerKeyError(f"the passphrase has {len(passphrase)} characters; take at least {MIN_PASSPHRASE}")
    key = X25519PrivateKey.generate()
    clear = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    half = key.public_key()
    write_new(private, encrypt(clear, passphrase), 0o600)
    write_new(public, half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return half


def refuse_existing(*paths: Path) -> None:
    """Before anything is asked of a person. Raises OfficerKeyError when one of these files is there."""
    for path in paths:
        if path.exists():
            raise OfficerKeyError(f"{path}: is there already and is never replaced; name another file")


def encrypt(clear: bytes, passphrase: str) -> bytes:
    """EncryptedPrivateKeyInfo as PEM, from a PKCS#8 structure."""
    salt, start = os.urandom(_SALT_BYTES), os.urandom(_BLOCK_BYTES)
    key = scrypt(_bytes(passphrase), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=_KEY_BYTES)
    padding = PKCS7(8 * _BLOCK_BYTES).padder()
    encryptor = Cipher(AES256(key), CBC(start)).encryptor()
    sealed = encryptor.update(padding.update(clear) + padding.finalize()) + encryptor.finalize()
    derivation = _sequence(_oid("2b06010401da47040b"), _sequence(_octets(salt), *map(_integer, _SCRYPT)))
    cipher = _sequence(_oid("60864801650304012a"), _octets(start))
    scheme = _sequence(_oid("2a864886f70d01050d"), _sequence(derivation, cipher))
    body = encodebytes(_sequence(scheme, _octets(sealed)))
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body + b"-----END ENCRYPTED PRIVATE KEY-----\n"


def load_private(path: Path, passphrase: str) -> X25519PrivateKey:
    """Read an officer's private key. A damaged file may give another key: it is then none of the three of a slot.

    Raises:
        OfficerKeyError: no such file, a wrong passphrase, a file without encryption, or another kind of key.
    """
    try:
        key = load_pem_private_key(read(path), _bytes(passphrase) or b"\0")  # without any: not encrypted
    except TypeError:
        fix = "whoever has the file has the key: make a new one with `sensmail keys officer new`"
        raise OfficerKeyError(f"{path}: is not encrypted; {fix}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise OfficerKeyError(f"{path}: wrong passphrase, or not a private key as PEM; try again") from None
    if not isinstance(key, X25519PrivateKey):
        raise OfficerKeyError(f"{path}: an officer's key is X25519; this is {type(key).__name__}")
    return key


def load_public(path: Path) -> X25519PublicKey:
    """Read an officer's public key.

    Raises:
        OfficerKeyError: no such file, or not the public half of an officer's key.
    """
    try:
        key = load_pem_public_key(read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise OfficerKeyError(f"{path}: not a public key as PEM; name the officer's .pub file") from None
    if not isinstance(key, X25519PublicKey):
        raise OfficerKeyError(f"{path}: an officer's key is X25519; this is {type(key).__name__}")
    return key


_SCRYPT = (_COST, _BLOCK, _PARALLEL)


def _bytes(passphrase: str) -> bytes:
    """NFC, so that the same Hangul syllables are the same bytes whatever keyboard they came from."""
    return unicodedata.normalize("NFC", passphrase).encode()


def read(path: Path) -> bytes:
    """A whole file. Raises OfficerKeyError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise OfficerKeyError(f"{path}: cannot be read: {error.strerror}") from error


def write_new(path: Path, data: bytes, mode: int) -> None:
    """A new file, durable; one that is there is never replaced. Raises OfficerKeyError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except FileExistsError:
        raise OfficerKeyError(f"{path}: is there already and is never replaced; name another file") from None
    except OSError as error:
        raise OfficerKeyError(f"{path}: cannot be written: {error.strerror}") from error


# DER (X.690), as far as the structure above needs it: no length above 255


def _der(tag: int, content: bytes) -> bytes:
    length = [len(content)] if len(content) < 0x80 else [0x81, len(content)]
    return bytes([tag, *length]) + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _der(0x04, content)


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1))


def _oid(content: str) -> bytes:
    return _der(0x06, bytes.fromhex(content))
