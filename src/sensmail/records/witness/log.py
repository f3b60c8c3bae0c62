"""One log that a witness watches: judged, written down, cosigned; in this order, one submission at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.host.files import Files
from sensmail.records import checkpoint, cosignature
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.note import Note, Signature, VerifierKey, public_bytes
from sensmail.records.witness.judge import judge
from sensmail.records.witness.store import NoteFile
from sensmail.records.witness.submission import Submission
from sensmail.records.witness.watch import Seen

KEEP_S = 60  # a head that only became younger is written down this often; size, root and keys always before the answer


class Signer:
    """The witness's name and key."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.name, self._private = name, private
        self.key = cosignature.witness_key(name, public_bytes(private))

    def cosign(self, text: str, now: int) -> Signature:
        return cosignature.cosign(text, self.name, self._private, now)


class Log:
    """Not for several threads at once.

    Args:
        key: verifier key of the log; its name is the origin.
        directory: of the store.
        clock: seconds since 1970.

    Raises:
        StoreDamaged, OSError: see NoteFile.
    """

    def __init__(
        self,
        key: VerifierKey,
        signer: Signer,
        directory: Path,
        files: Files | None = None,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.key, self._signer, self._clock = key, signer, clock
        self.stem = stem(key.name)
        self.file = NoteFile(path(directory, key.name), self._verify, files)
        self.newest = self.file.last()
        self.seen = self._seen(self.newest) if self.newest else None
        self._kept = self.seen.body if self.seen else None

    def submit(self, given: Submission) -> Signature:
        """The cosignature of what may be cosigned; durable before it is made known.

        Raises:
            Refusal: not cosigned. OSError: it is not known what is durable; this witness must end.
        """
        last = self.seen.body if self.seen else None
        body = judge(self.key, last, given)
        now = self._clock()
        line = self._signer.cosign(given.checkpoint.text, now)
        signers = {self.key.key_id, VerifierKey(self.key.name, body.key).key_id}  # what else came along is left out
        checked = [
            each for each in given.checkpoint.signatures if each.name == self.key.name and each.key_id in signers
        ]
        note = Note(given.checkpoint.text, (*checked, line))
        if self._to_be_kept(body):
            self.file.add(note)
            self._kept = body
        if body != last:
            self.seen = Seen(body, now)
        self.newest = note
        return line

    def _to_be_kept(self, body: Checkpoint) -> bool:
        kept = self._kept
        return kept is None or (body.size, body.key) != (kept.size, kept.key) or body.time - kept.time >= KEEP_S

    def _verify(self, note: Note) -> None:
        checkpoint.verify(note, self.key)
        cosignature.cosigned(note, self._signer.key)

    def _seen(self, note: Note) -> Seen:
        return Seen(checkpoint.parse(note.text), cosignature.cosigned(note, self._signer.key))


def stem(origin: str) -> str:
    """What a log is called in paths: ledger, generation and first key tell it from every other. Raises Malformed."""
    found = Origin.from_text(origin)
    return f"{found.ledger}-{found.generation}-{found.first.hex()}"


def path(directory: Path, origin: str) -> Path:
    """The file of a log's notes. Raises Malformed."""
    return directory / f"{stem(origin)}.notes"
