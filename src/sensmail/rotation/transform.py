"""What a pass does to rows: seal what is in clear, or seal anew under the newest key. The key service does the work.

A value that cannot be brought to its form is refused by name and left as it is; the rows beside it go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from sensmail.fields import EnvelopeError, parse, text
from sensmail.fields.envelope import MAX_PLAINTEXT, OVERHEAD
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import BadRequest, Closed, Destroyed, KeyServiceError, UnknownSubject
from sensmail.keyd.protocol import MAX_ITEMS, Values
from sensmail.rotation.model import Changes, Chunk, Column, Refusal, Table
from sensmail.rotation.rowkey import row_keys

CALL_BYTES = 32 * 2**20  # of values in one call; the service takes 64 MiB
_BELONGS_TO_ITEM = (BadRequest, Closed, Destroyed, UnknownSubject)  # not to the service: the other items may go on

Found = tuple[int, int, bytes]  # number of the column, number of the row, and the value or its envelope
Item = TypeVar("Item")
Result = TypeVar("Result")


class Transform(Protocol):
    """Turns rows into their changes."""

    def __call__(self, rows: Chunk) -> Changes:
        """Raises KeyServiceError: nothing was changed, the whole chunk may be tried again."""


def claims_sealed(column: Column, value: bytes) -> bool:
    """Whether a value looks sealed. It is then opened to see, and never sealed a second time."""
    return text.claims_sealed(value) if column.text else value[:1] == b"\x01" and len(value) >= OVERHEAD


def envelope_of(column: Column, value: bytes) -> bytes:
    """The envelope of a value that looks sealed. Raises EnvelopeError."""
    envelope = text.unpack(value) if column.text else value
    parse(envelope)
    return envelope


class _Work:
    """The values of some rows, and what becomes of each."""

    def __init__(self, table: Table, rows: Chunk) -> None:
        self.rows, self.columns = rows, table.columns
        self._new = [list(column) for column in rows.values]
        self._changed: set[int] = set()
        self._refused: list[Refusal] = []
        self._row_keys = row_keys(table.key, rows.keys)

    def values(self) -> Iterator[Found]:
        """All that is filled and somebody's."""
        for place, column in enumerate(self.rows.values):
            for number, value in enumerate(column):
                if value is None:
                    continue
                if self.rows.subjects[number] is None:
                    self.refuse(place, number, "the row names no subject")
                else:
                    yield place, number, value

    def asked(self, found: Sequence[Found]) -> Values:
        """As the key service takes them."""
        places, numbers, contents = zip(*found, strict=True)
        return Values(
            [self.rows.subjects[number] or b"" for number in numbers],
            [self.columns[place].field for place in places],
            [self._row_keys[number] for number in numbers],
            contents,
        )

    def put(self, place: int, number: int, envelope: bytes) -> None:
        """A new envelope for a value."""
        self._changed.add(number)
        self._new[place][number] = text.pack(envelope) if self.columns[place].text else envelope

    def refuse(self, place: int, number: int, reason: str) -> None:
        """Leave a value as it is."""
        self._refused.append(Refusal(self.rows.key(number), self.columns[place].name, reason))

    def changes(self) -> Changes:
        """In the order of the rows."""
        if len(self._changed) == len(self.rows):
            return Changes(self.rows, self._new, self._refused)
        changed = sorted(self._changed)

        def of(columns: Sequence[Sequence[Item]]) -> list[list[Item]]:
            return [[column[number] for number in changed] for column in columns]

        rows = Chunk(of(self.rows.keys), of([self.rows.subjects])[0], of(self.rows.values))
        return Changes(rows, of(self._new), self._refused)


class Reseal:
    """Every value under the active key version of its subject."""

    def __init__(self, table: Table, keys: KeyService, job: str) -> None:
        self._table, self._keys, self._job = table, keys, job

    def __call__(self, rows: Chunk) -> Changes:
        work = _Work(self._table, rows)
        sealed: list[Found] = []
        for place, number, value in work.values():
            column = self._table.columns[place]
            try:
                if claims_sealed(column, value):
                    sealed.append((place, number, text.unpack(value) if column.text else value))
                else:
                    work.refuse(place, number, "is in clear; run field_encryption")
            except EnvelopeError as error:
                work.refuse(place, number, str(error))
        for part in batches(sealed, _length):
            answer = self._keys.reseal(work.asked(part), self._job)
            for (place, number, _), envelope in zip(part, answer.envelopes, strict=True):
                if envelope is not None:
                    work.put(place, number, envelope)
            for at, code in answer.refusals.items():
                place, number, envelope = part[at]
                work.refuse(place, number, _reason(envelope, code))
        return work.changes()


class Protect:
    """Every value in clear is sealed; every value that looks sealed is opened once to see that it is."""

    def __init__(self, table: Table, keys: KeyService, job: str) -> None:
        self._table, self._keys, self._job = table, keys, job

    def __call__(self, rows: Chunk) -> Changes:
        work = _Work(self._table, rows)
        clear: list[Found] = []
        sealed: list[Found] = []
        for place, number, value in work.values():
            column = self._table.columns[place]
            if not claims_sealed(column, value):
                if len(value) > MAX_PLAINTEXT:
                    work.refuse(place, number, "is longer than 16 MiB")
                elif not any(rows.subjects[number] or b""):
                    work.refuse(place, number, "its subject id is zero")
                else:
                    clear.append((place, number, value))
                continue
            try:
                sealed.append((place, number, envelope_of(column, value)))
            except EnvelopeError as error:
                work.refuse(place, number, f"looks sealed, but {error}")
        self._seal(work, clear)
        self._check(work, sealed)
        return work.changes()

    def _seal(self, work: _Work, clear: list[Found]) -> None:
        subjects = list({work.rows.subjects[number] or b"" for _, number, _ in clear})
        refused: dict[bytes, str] = {}
        for part in batches(subjects):
            for subject, answer in zip(part, separately(self._adopt, part), strict=True):
                if isinstance(answer, KeyServiceError):
                    refused[subject] = answer.code
        kept = []
        for place, number, value in clear:
            code = refused.get(work.rows.subjects[number] or b"")
            if code:
                work.refuse(place, number, code)
            else:
                kept.append((place, number, value))
        for found in batches(kept, _length):
            made = separately(lambda some: self._keys.seal(work.asked(some)), found)
            for (place, number, _), envelope in zip(found, made, strict=True):
                if isinstance(envelope, KeyServiceError):
                    work.refuse(place, number, envelope.code)
                else:
                    work.put(place, number, envelope)

    def _adopt(self, subjects: Sequence[bytes]) -> list[None]:
        self._keys.adopt([UUID(bytes=each) for each in subjects])
        return [None] * len(subjects)

    def _check(self, work: _Work, sealed: list[Found]) -> None:
        for part in batches(sealed, _length):
            for (place, number, _), code in zip(part, self._keys.check(work.asked(part), self._job), strict=True):
                if code:
                    work.refuse(place, number, f"looks sealed, but does not open here: {code}")


def batches(items: Sequence[Item], size: Callable[[Item], int] = lambda _: 0) -> Iterator[Sequence[Item]]:
    """Parts that fit one call."""
    start, total = 0, 0
    for number, item in enumerate(items):
        total += size(item)
        if number > start and (number - start >= MAX_ITEMS or total > CALL_BYTES):
            yield items[start:number]
            start, total = number, size(item)
    if start < len(items):
        yield items[start:]


def separately(
    call: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | KeyServiceError]:
    """The results of a call that takes all or nothing; what cannot be done is found by halves, and alone is refused."""
    if not items:
        return []
    try:
        return list(call(items))
    except _BELONGS_TO_ITEM as error:
        if len(items) == 1:
            return [error]
        middle = len(items) // 2
        return [*separately(call, items[:middle]), *separately(call, items[middle:])]


def _length(found: Found) -> int:
    return len(found[2])


def _reason(envelope: bytes, code: str) -> str:
    """Why it was refused: what its own header says is plainer than that it does not open."""
    try:
        parse(envelope)
    except EnvelopeError as error:
        return str(error)
    return code
