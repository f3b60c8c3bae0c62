"""The checkpoints of a log: signatures, the chain of keys, cosignatures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from sensmail.records import checkpoint, cosignature, note
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.errors import Malformed, NotProven, RecordsError
from sensmail.records.note import Note, VerifierKey
from sensmail.records.verify.result import LogResult

_text = msgspec.json.Decoder(str).decode


def read(lines: Iterable[bytes]) -> Iterator[Note]:
    """Notes as a bundle holds them, a JSON text a line. Raises Malformed."""
    for line in lines:
        try:
            yield note.parse(_text(line).encode())
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Malformed(f"checkpoints: {error}") from None


def follow(
    lines: Iterable[bytes], key: VerifierKey, witnesses: Sequence[VerifierKey], result: LogResult
) -> dict[str, tuple[Checkpoint, int]]:
    """The checkpoints that hold, in order, by their text, each with the time of its newest cosignature or 0.

    At the first that does not hold the chain ends: what comes after it proves nothing.
    """
    chain: dict[str, tuple[Checkpoint, int]] = {}
    last: Checkpoint | None = None
    try:
        for each in read(lines):
            body = checkpoint.verify(each, key)
            if last is None:
                checkpoint.begin(body)
            else:
                checkpoint.follow(last, body)
            chain[each.text] = body, _cosigned(each, body, witnesses, result)
            result.keys += last is None or last.key != body.key
            last = body
    except RecordsError as error:
        where = (last.size, last.time) if last else (0, 0)
        result.find("chain", number=len(chain), size=where[0], time=where[1], what=str(error))
    result.checkpoints = len(chain)
    if last is not None:
        result.stated, result.signed = last.size, last.time
    return chain


def _cosigned(signed: Note, body: Checkpoint, witnesses: Sequence[VerifierKey], result: LogResult) -> int:
    newest = 0
    for witness in witnesses:
        if not signed.of(witness):
            continue
        try:
            at = cosignature.cosigned(signed, witness)
        except (NotProven, Malformed) as error:
            result.find("cosignature", witness=witness.name, size=body.size, time=body.time, what=str(error))
            continue
        result.cosignatures[witness.name] = result.cosignatures.get(witness.name, 0) + 1
        newest = max(newest, at)
    return newest
