"""Checkpoints: the signed head of a log, and the chain of keys that sign it.

Source: C2SP tlog-checkpoint, with three extension lines. Each checkpoint is signed by the log's stable key and by the
evolving key that it names, and it names the one key that may follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.records import note
from sensmail.records.errors import Malformed, NotProven
from sensmail.records.note import Note, VerifierKey, decode64, encode64
from sensmail.records.tree import HASH, MAX_SIZE

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN = re.compile(
    r"(?P<log>[^\s+]+)/(?P<ledger>access|governance)/(?P<generation>[1-9][0-9]{0,5})/(?P<first>[0-9a-f]{32})"
)
_NAMES = ("time", "key", "next")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a log is called: `LOG/LEDGER/GENERATION/FIRST KEY`. Whoever holds it holds the first link of the chain."""

    log: str
    ledger: str
    generation: int
    first: bytes  # 16 bytes of the digest of the first evolving key

    @classmethod
    def of(cls, log: str, ledger: str, generation: int, first_key: bytes) -> Origin:
        """Name a new log. Raises Malformed where the name cannot be one."""
        made = cls(log, ledger, generation, _digest(first_key))
        if cls.from_text(made.to_text()) != made:
            raise Malformed(f"log name {log!r}: without spaces and plus signs, such as mail.example.go.kr/records")
        return made

    @classmethod
    def from_text(cls, text: str) -> Origin:
        """Raises Malformed."""
        found = _ORIGIN.fullmatch(text)
        if not found:
            raise Malformed(f"origin {text[:200]!r}: LOG/LEDGER/GENERATION/KEY is expected")
        note.check_name(text)
        return cls(found["log"], found["ledger"], int(found["generation"]), bytes.fromhex(found["first"]))

    def to_text(self) -> str:
        return f"{self.log}/{self.ledger}/{self.generation}/{self.first.hex()}"

    def begins_with(self, key: bytes) -> bool:
        """Whether this was the first evolving key."""
        return _digest(key) == self.first


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The body of a checkpoint.

    Attributes:
        time: of signing, seconds since 1970. key, next: raw public keys of the evolving chain.
    """

    origin: str
    size: int
    root: bytes
    time: int
    key: bytes
    next: bytes

    def text(self) -> str:
        """The text of its note."""
        lines = [self.origin, str(self.size), encode64(self.root)]
        lines += [f"time {self.time}", f"key {encode64(self.key)}", f"next {encode64(self.next)}"]
        return "\n".join(lines) + "\n"

    def sign(self, log_key: Ed25519PrivateKey, key: Ed25519PrivateKey) -> Note:
        """By the stable key, then by the evolving one, which must be the one that the body names."""
        if note.public_bytes(key) != self.key:
            raise ValueError("the evolving key is not the one that the checkpoint names")
        return note.sign(self.text(), self.origin, [log_key, key])


def parse(text: str) -> Checkpoint:
    """Read the text of a note. Raises Malformed."""
    lines = text.split("\n")
    if len(lines) != 7 or lines[6]:
        raise Malformed("checkpoint: six lines are expected: origin, size, root, time, key, next")
    found = [_extension(name, line) for name, line in zip(_NAMES, lines[3:6], strict=True)]
    root, key, following = (decode64(each, "checkpoint") for each in (lines[2], *found[1:]))
    if len(root) != HASH or len(key) != note.PUBLIC or len(following) != note.PUBLIC:
        raise Malformed("checkpoint: root and keys have 32 bytes")
    if not lines[0]:
        raise Malformed("checkpoint: the origin is empty")
    return Checkpoint(lines[0], _number(lines[1]), root, _number(found[0]), key, following)


def verify(signed: Note, log_key: VerifierKey) -> Checkpoint:
    """Read a checkpoint of the log that this key names, both of whose signatures hold.

    Raises:
        Malformed, NotProven.
    """
    body = parse(signed.text)
    if body.origin != log_key.name:
        raise NotProven(f"checkpoint of {body.origin[:200]!r}: the key is for {log_key.name!r}")
    if log_key.public in {body.key, body.next} or body.key == body.next:
        raise NotProven(f"checkpoint at size {body.size}: stable, evolving and next key must be three")
    note.verify(signed, [log_key, VerifierKey(body.origin, body.key)])
    return body


def begin(first: Checkpoint) -> None:
    """Raise NotProven unless this can be the first checkpoint of its log."""
    if not Origin.from_text(first.origin).begins_with(first.key):
        raise NotProven(f"checkpoint at size {first.size}: its key is not the one that the origin begins with")


def follow(before: Checkpoint, after: Checkpoint) -> None:
    """Raise NotProven unless `after` may follow `before`: same log, not smaller, not earlier, same or endorsed key.

    That the larger tree contains the smaller one is another question: see `proof.verify_consistency`.
    """
    where = f"checkpoint at size {after.size} after that at size {before.size}"
    if after.origin != before.origin:
        raise NotProven(f"{where}: of another log")
    if after.size < before.size or (after.size == before.size and after.root != before.root):
        raise NotProven(f"{where}: entries are gone or replaced")
    if after.time < before.time:
        raise NotProven(f"{where}: its time, {after.time}, is before {before.time}")
    if after.key == before.key:
        if after.next != before.next:
            raise NotProven(f"{where}: the same key endorses two different ones")
    elif after.key != before.next:
        raise NotProven(f"{where}: signed by a key that was not endorsed")


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()[:16]


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or (value := int(text)) > MAX_SIZE:
        raise Malformed(f"checkpoint: {text[:40]!r} is not a decimal number below 2^63")
    return value


def _extension(name: str, line: str) -> str:
    found, space, value = line.partition(" ")
    if found != name or not space:
        raise Malformed(f"checkpoint: a line `{name} …` is expected")
    return value
