"""What is handed to a witness: a checkpoint, and the proof that it continues the last. Source: C2SP tlog-witness."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sensmail.records import note
from sensmail.records.errors import Malformed
from sensmail.records.note import Note, decode64, encode64
from sensmail.records.tree import HASH, MAX_SIZE

MAX_BYTES = 16_384
MAX_PROOF = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Submission:
    """The body of `add-checkpoint`.

    Attributes:
        old: size that the witness last cosigned. proof: consistency from there, RFC 6962 section 2.1.2.
    """

    old: int
    proof: tuple[bytes, ...]
    checkpoint: Note

    def to_bytes(self) -> bytes:
        lines = [f"old {self.old}", *map(encode64, self.proof)]
        return ("\n".join(lines) + "\n\n").encode() + self.checkpoint.to_bytes()


def parse(data: bytes) -> Submission:
    """Read a body; nothing in it is verified yet. Raises Malformed."""
    if len(data) > MAX_BYTES:
        raise Malformed(f"submission: {len(data)} bytes, at most {MAX_BYTES} are read")
    head, found, rest = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("submission: old size and proof are ASCII") from None
    old = _OLD.fullmatch(first)
    if not found or not old or int(old[1]) > MAX_SIZE:
        raise Malformed("submission: it begins with `old SIZE`, then the proof, then an empty line")
    if len(lines) > MAX_PROOF:
        raise Malformed(f"submission: {len(lines)} lines of proof, at most {MAX_PROOF} are read")
    proof = tuple(decode64(each, "proof") for each in lines)
    if any(len(each) != HASH for each in proof):
        raise Malformed(f"submission: a line of the proof is a hash of {HASH} bytes")
    return Submission(int(old[1]), proof, note.parse(rest))
