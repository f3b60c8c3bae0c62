"""The records of a log: leaves made again, compared with every root that was signed."""

from __future__ import annotations

from binascii import Error as NotHex
from binascii import unhexlify
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from hashlib import sha256

from sensmail.records import proof
from sensmail.records.bundle import Bundle, Files, Log, part_name
from sensmail.records.entry import SALT, Entry, parse
from sensmail.records.errors import Malformed, NotProven
from sensmail.records.note import decode64
from sensmail.records.tree import Range
from sensmail.records.verify.cuts import split
from sensmail.records.verify.result import LogResult, Point

_HEX = 2 * SALT
_MOST_ACTS = 100_000
#: Acts on the records themselves; a log names them all by this.
OWN = "records."


class _Stop(Exception):
    """The records cannot be followed any further; the finding stands in the result."""


class Records:
    """Grows the tree of one log from its cut."""

    def __init__(
        self, bundle: Bundle, files: Files, log: Log, start: Range, points: list[Point], result: LogResult
    ) -> None:
        self._bundle, self._files, self._result = bundle, files, result
        self._grown = start
        self._points = sorted(points, key=lambda each: (each.body.size, each.body.time))
        self._due = deque(each for each in self._points if each.body.size >= start.size)
        self._parts = [part for part, _ in log.parts]
        self._firsts = [first for _, first in log.parts]
        self._since = 0  # time of the last point that was right
        result.first = result.verified = start.size

    def verify(self, progress: Callable[[int], None]) -> None:
        """Fills in the result. Raises Malformed where the bundle itself cannot be read."""
        try:
            self._compare()
            for part in self._files.parts:
                name = part_name(self._files.ledger, self._files.generation, part)
                for lines in self._bundle.pieces(name):
                    self._take(part, lines)
                    progress(sum(map(len, lines)) + len(lines))
            self._end()
        except _Stop:
            return

    def _take(self, part: int, lines: list[bytes]) -> None:
        at = start = self._grown.size
        leaves: list[bytes] = []
        wrong: tuple[str, dict[str, int | str]] | None = None
        for line in lines:
            try:
                entry, leaf = _record(line)
            except Malformed as error:
                wrong = ("malformed", {"number": at, "part": part, "what": str(error)})
                break
            wrong = self._wrong(entry, at, part)
            if wrong:
                break
            if entry.act.startswith(OWN) and len(self._result.acts) < _MOST_ACTS:
                self._result.acts.append(entry)
            leaves.append(leaf)
            at += 1
        done = start
        while self._due and self._due[0].body.size <= start + len(leaves):
            self._grown.extend(leaves[done - start : self._due[0].body.size - start])
            done = self._grown.size
            self._compare()
        if wrong:
            self._result.find(wrong[0], **wrong[1])
            raise _Stop
        self._grown.extend(leaves[done - start :])
        if all(each.known for each in self._due) and self._grown.size > self._result.verified:
            self._result.find("uncovered", first=self._result.verified)
            raise _Stop

    def _wrong(self, entry: Entry, number: int, part: int) -> tuple[str, dict[str, int | str]] | None:
        """What is not right about where a record stands."""
        if entry.seq > number:
            return "gone", {"first": number, "last": entry.seq - 1, "part": self._part(number)}
        if entry.seq < number:
            return "again", {"number": entry.seq, "part": part}
        if entry.ledger != self._files.ledger or self._part(number) != part:
            return "misplaced", {"number": number, "part": part}
        return None

    def _compare(self) -> None:
        """With every root that was signed for the present size."""
        while self._due and self._due[0].body.size == self._grown.size:
            point = self._due.popleft()
            if self._grown.root() != point.body.root:
                self._differs(point)
                raise _Stop
            if not point.known:
                self._result.verified, self._since = self._grown.size, point.body.time

    def _differs(self, point: Point) -> None:
        first, size = self._result.verified, point.body.size
        if point.known or first == size:
            self._result.find("fork", size=size, time=point.body.time)
            return
        self._result.find(
            "changed", first=first, last=size - 1, part=self._part(first), since_time=self._since, time=point.body.time,
        )  # fmt: skip

    def _end(self) -> None:
        size = self._grown.size
        own = [each for each in self._due if not each.known]
        if own:
            last = own[-1].body
            self._result.find("gone", first=size, last=last.size - 1, part=self._part(size))
        elif self._due:
            last = self._due[-1].body
            self._result.find("behind", first=size, last=last.size - 1, time=last.time)

    def _part(self, number: int) -> int:
        at = bisect_right(self._firsts, number) - 1
        return self._parts[at] if at >= 0 else 0


def held(bundle: Bundle, name: str, points: dict[int, bytes], result: LogResult) -> None:
    """Records that were copied aside before they were deleted. Raises Malformed."""
    before = -1
    for line in bundle.lines(name):
        record, _, rest = line.partition(b"\t")
        size, _, hashes = rest.partition(b"\t")
        entry, leaf = _record(record)
        if not size.isdigit() or len(size) > 19 or entry.seq <= before or entry.ledger != result.ledger:
            raise Malformed(f"{name}: record {entry.seq}: out of order, or of another ledger")
        before = entry.seq
        try:
            path = split(decode64(hashes.decode("ascii", "replace"), "proof"))
            if int(size) not in points:
                raise NotProven(f"no checkpoint at size {int(size)} holds")
            proof.verify_inclusion(entry.seq, leaf, int(size), points[int(size)], path)
        except (Malformed, NotProven) as error:
            result.find("held", number=entry.seq, what=str(error))
            continue
        result.held += 1


def _record(line: bytes) -> tuple[Entry, bytes]:
    """A record and its leaf. Raises Malformed."""
    try:
        salt = unhexlify(line[:_HEX])
    except NotHex:
        salt = b""
    if len(salt) != SALT or line[_HEX : _HEX + 1] != b" ":
        raise Malformed("SALT RECORD is expected")
    text = line[_HEX + 1 :]
    return parse(text), sha256(b"\x00" + salt + text).digest()
