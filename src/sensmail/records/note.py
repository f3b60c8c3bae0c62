"""Signed notes. Source: C2SP signed-note, Ed25519 (type 0x01) and the frame of every other type.

A note is a text, an empty line, and one line for each signature: `— NAME base64(key id | signature)`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sensmail.records.errors import Malformed, NotProven

ED25519 = 0x01
MAX_BYTES = 262_144
MAX_SIGNATURES = 100
PUBLIC = 32  # bytes
_DASH = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who, and the bytes; nothing is verified yet."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """With its newline."""
        return f"{_DASH}{self.name} {encode64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and its signatures in their order."""

    text: str
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        return (self.text + "\n" + "".join(each.line() for each in self.signatures)).encode()

    def of(self, key: VerifierKey) -> list[bytes]:
        """The signatures that claim to be of this key."""
        return [each.signature for each in self.signatures if (each.name, each.key_id) == (key.name, key.key_id)]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A name and a public key; as text `NAME+id+key` (C2SP vkey).

    Attributes:
        kind: signature type of the specification: 0x01 for a log, 0x04 for a witness.
    """

    name: str
    public: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != PUBLIC:
            raise Malformed(f"key of {self.name}: {PUBLIC} bytes are expected")

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; not a fingerprint."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def to_text(self) -> str:
        """Of the form NAME+id+key."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(bytes([self.kind]) + self.public)}"

    @classmethod
    def from_text(cls, text: str, kind: int = ED25519) -> VerifierKey:
        """Read `to_text`, of the one type that is wanted. Raises Malformed."""
        parts = text.split("+", 2)
        key = decode64(parts[2], "verifier key") if len(parts) == 3 else b""
        if len(key) != 1 + PUBLIC or key[0] != kind:
            raise Malformed(
                f"verifier key {text[:100]!r}: NAME+id+base64 of type {kind:#04x} and {PUBLIC} bytes is expected"
            )
        made = cls(parts[0], key[1:], kind)
        if made.key_id.hex() != parts[1]:
            raise Malformed(f"verifier key {text[:100]!r}: its id must be {made.key_id.hex()}; was it copied whole?")
        return made

    def check(self, message: bytes, signature: bytes) -> None:
        """Raise NotProven unless this key signed the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise NotProven(f"a signature of {self.name}+{self.key_id.hex()} does not verify") from None


def public_bytes(private: Ed25519PrivateKey) -> bytes:
    """The raw public key."""
    return private.public_key().public_bytes_raw()


def sign(text: str, name: str, keys: Sequence[Ed25519PrivateKey]) -> Note:
    """Sign as `name` with each key in turn. Raises Malformed where the text cannot be one of a note."""
    _check_text(text)
    message = text.encode()
    made = (Signature(name, VerifierKey(name, public_bytes(key)).key_id, key.sign(message)) for key in keys)
    return Note(text, tuple(made))


def parse(data: bytes) -> Note:
    """Read a note. Nothing in it may be believed before a signature is verified.

    Raises:
        Malformed: not a note, or larger than any that is written here.
    """
    if len(data) > MAX_BYTES:
        raise Malformed(f"note: {len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"note: not UTF-8 at byte {error.start}") from None
    at = whole.rfind("\n\n")
    if at < 0:
        raise Malformed("note: no empty line stands between text and signatures")
    text, tail = whole[: at + 1], whole[at + 2 :]
    _check_text(text)
    return Note(text, read_signatures(tail))


def read_signatures(lines: str) -> tuple[Signature, ...]:
    """Signature lines alone, as a witness answers. Raises Malformed."""
    if not lines.endswith("\n"):
        raise Malformed("note: the last signature line is cut off")
    found = [_signature(line) for line in lines[:-1].split("\n")]
    if len(found) > MAX_SIGNATURES:
        raise Malformed(f"note: {len(found)} signatures, at most {MAX_SIGNATURES} are read")
    return tuple(found)


def verify(note: Note, keys: Iterable[VerifierKey]) -> None:
    """Raise NotProven unless every one of these keys signed, and every signature of theirs holds."""
    message = note.text.encode()
    for key in keys:
        signatures = note.of(key)
        if not signatures:
            raise NotProven(f"no signature of {key.name}+{key.key_id.hex()}")
        for each in signatures:
            key.check(message, each)


def check_name(name: str) -> None:
    """Raise Malformed unless this can be the name of a key."""
    if not name or "+" in name or any(sign.isspace() for sign in name) or _CONTROL.search(name):
        raise Malformed(f"key name {name[:100]!r}: empty, or with a space, a plus or a control character")


def encode64(data: bytes) -> str:
    """Standard Base 64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def decode64(text: str, what: str) -> bytes:
    """The inverse, of exactly one text a value. Raises Malformed."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        data = b""
    if encode64(data) != text:
        raise Malformed(f"{what}: not Base 64 in its one form")
    return data


def _signature(line: str) -> Signature:
    name, found, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not found:
        raise Malformed("note: a signature line is `— NAME BASE64`")
    check_name(name)
    data = decode64(encoded, f"signature of {name[:100]}")
    if len(data) < 5:
        raise Malformed(f"signature of {name[:100]}: a key id of 4 bytes and a signature are expected")
    return Signature(name, data[:4], data[4:])


def _check_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise Malformed("note: the text must end in a newline and hold no other control character")
