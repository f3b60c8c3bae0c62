"""Where a log was cut: every kept checkpoint from before is still a prefix of what remains."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

from sensmail.records import checkpoint, note, proof
from sensmail.records.bundle import Cut, Log
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.errors import Malformed, RecordsError
from sensmail.records.note import VerifierKey, decode64
from sensmail.records.tree import HASH, MAX_SIZE, Range
from sensmail.records.verify.result import CutSeen, LogResult

MAX_HASHES = 130  # of a proof in a tree of 2^63


def ranges(
    log: Log, key: VerifierKey, chain: dict[str, tuple[Checkpoint, int]], result: LogResult
) -> list[Range] | None:
    """The compact range at each cut, each shown to be a prefix of a signed checkpoint; None where one is not."""
    found = []
    for each in log.cuts:
        try:
            found.append(_covered(each, key, chain))
        except RecordsError as error:
            result.find("cut", size=each.size, time=each.made // 1_000_000, what=str(error))
            return None
    return found


def link(
    lines: Iterable[bytes], cuts: list[Range], chain: dict[str, tuple[Checkpoint, int]], result: LogResult
) -> None:
    """Every checkpoint below the last cut, and every earlier cut, by its proof to the cut that follows it."""
    sizes = [each.size for each in cuts]
    wanted: dict[tuple[int, int], list[tuple[bytes, int]]] = {}
    for body, _ in chain.values():
        at = bisect_left(sizes, body.size)
        if body.size > 0 and at < len(cuts):
            wanted.setdefault((body.size, sizes[at]), []).append((body.root, body.time))
    for earlier, later in pairwise(cuts):
        wanted.setdefault((earlier.size, later.size), []).append((earlier.root(), 0))
    roots = {each.size: each.root() for each in cuts}
    for line in lines:
        size, cut, hashes = _link(line)
        for root, time in wanted.pop((size, cut), []):
            _compare(size, root, cut, roots[cut], hashes, time, result)
    for (size, cut), rest in wanted.items():
        for root, time in rest:
            if size == cut:
                _compare(size, root, cut, roots[cut], [], time, result)
            else:
                result.find("link", size=size, cut=cut, time=time, what="no proof is there")


def split(data: bytes) -> list[bytes]:
    """Hashes that stand one after the other. Raises Malformed."""
    if len(data) % HASH or len(data) > MAX_HASHES * HASH:
        raise Malformed(f"proof: {len(data)} bytes; at most {MAX_HASHES} hashes of {HASH} bytes are expected")
    return [data[at : at + HASH] for at in range(0, len(data), HASH)]


def seen(cut: Cut, bodies: Sequence[Checkpoint]) -> CutSeen:
    """As the bundle says, and the checkpoints on either side of the last record that was deleted."""
    after = max((each.time for each in bodies if each.size < cut.size), default=0)
    before = min((each.time for each in bodies if each.size >= cut.size), default=0)
    return CutSeen(cut.size, cut.range, cut.made // 1_000_000, after, before)


def _covered(cut: Cut, key: VerifierKey, chain: dict[str, tuple[Checkpoint, int]]) -> Range:
    found = Range.from_bytes(cut.size, decode64(cut.range, "compact range"))
    signed = note.parse(cut.note.encode())
    body = checkpoint.verify(signed, key)
    if signed.text not in chain:
        raise Malformed(f"the checkpoint at size {body.size} that covers it is not in the chain")
    proof.verify_consistency(cut.size, found.root(), body.size, body.root, split(decode64(cut.proof, "proof")))
    return found


def _compare(
    size: int, root: bytes, cut: int, cut_root: bytes, hashes: list[bytes], time: int, result: LogResult
) -> None:
    try:
        proof.verify_consistency(size, root, cut, cut_root, hashes)
    except RecordsError as error:
        result.find("link", size=size, cut=cut, time=time, what=str(error))


def _link(line: bytes) -> tuple[int, int, list[bytes]]:
    parts = line.split(b" ")
    if len(parts) != 3 or not all(each.isdigit() and len(each) < 20 for each in parts[:2]):
        raise Malformed("links: SIZE CUT PROOF is expected")
    size, cut = int(parts[0]), int(parts[1])
    if max(size, cut) > MAX_SIZE:
        raise Malformed("links: a size beyond 2^63 - 1")
    return size, cut, split(decode64(parts[2].decode("ascii", "replace"), "links"))
