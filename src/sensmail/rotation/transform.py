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
from sensmail.keyd.protocol import MAX_ITEMS, Sealed, Sealing
from sensmail.rotation.model import Changes, Column, Refusal, Row, Table
from sensmail.rotation.rowkey import packer

CALL_BYTES = 32 * 2**20  # of values in one call; the service takes 64 MiB
_BELONGS_TO_ITEM = (BadRequest, Closed, Destroyed, UnknownSubject)  # not to the service: the other items may go on

Item = TypeVar("Item")
Result = TypeVar("Result")


class Transform(Protocol):
    """Turns rows into their changes."""

    def __call__(self, rows: Sequence[Row]) -> Changes:
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
    """The values of some rows, sorted by what is to be done; results are put back by position."""

    def __init__(self, table: Table, rows: Sequence[Row]) -> None:
        self.rows, self.columns = rows, table.columns
        self.new: dict[int, list[bytes | None]] = {}
        self.refused: list[Refusal] = []
        self._pack = packer(table.key)

    def values(self) -> Iterator[tuple[int, int, UUID, bytes, bytes]]:
        """Row number, column number, subject, row key and value of all that is filled."""
        known: dict[bytes, UUID] = {}
        for number, row in enumerate(self.rows):
            if row.subject is None:
                for column, value in zip(self.columns, row.values, strict=True):
                    if value is not None:
                        self.refused.append(Refusal(row, column.name, "the row names no subject"))
                continue
            subject = known.get(row.subject)
            if subject is None:
                subject = known[row.subject] = UUID(bytes=row.subject)
            key = self._pack(row.key)
            for place, value in enumerate(row.values):
                if value is not None:
                    yield number, place, subject, key, value

    def put(self, number: int, place: int, envelope: bytes) -> None:
        """A new envelope for a value."""
        new = self.new.get(number)
        if new is None:
            new = self.new[number] = list(self.rows[number].values)
        new[place] = text.pack(envelope) if self.columns[place].text else envelope

    def refuse(self, number: int, place: int, reason: str) -> None:
        """Leave a value as it is."""
        self.refused.append(Refusal(self.rows[number], self.columns[place].name, reason))

    def changes(self) -> Changes:
        """In the order of the rows."""
        return Changes([(self.rows[number], tuple(self.new[number])) for number in sorted(self.new)], self.refused)


class Reseal:
    """Every value under the active key version of its subject."""

    def __init__(self, table: Table, keys: KeyService, job: str) -> None:
        self._table, self._keys, self._job = table, keys, job

    def __call__(self, rows: Sequence[Row]) -> Changes:
        work = _Work(self._table, rows)
        places, items = [], []
        for number, place, subject, key, value in work.values():
            column = self._table.columns[place]
            try:
                if not claims_sealed(column, value):
                    work.refuse(number, place, "is in clear; run field_encryption")
                    continue
                items.append(Sealed(subject, column.field, key, envelope_of(column, value)))
            except EnvelopeError as error:
                work.refuse(number, place, str(error))
                continue
            places.append((number, place))
        for at, part in batches(items, lambda item: len(item.envelope)):
            for where, made in zip(places[at:], self._keys.reseal(part, self._job), strict=False):
                if made.refusal:
                    work.refuse(*where, made.refusal)
                elif made.envelope is not None:
                    work.put(*where, made.envelope)
        return work.changes()


class Protect:
    """Every value in clear is sealed; every value that looks sealed is opened once to see that it is."""

    def __init__(self, table: Table, keys: KeyService, job: str) -> None:
        self._table, self._keys, self._job = table, keys, job

    def __call__(self, rows: Sequence[Row]) -> Changes:
        work = _Work(self._table, rows)
        clear: list[tuple[int, int, Sealing]] = []
        sealed: list[tuple[int, int, Sealed]] = []
        for number, place, subject, key, value in work.values():
            column = self._table.columns[place]
            if not claims_sealed(column, value):
                if len(value) > MAX_PLAINTEXT or not subject.int:
                    work.refuse(number, place, "is longer than 16 MiB" if subject.int else "its subject id is zero")
                else:
                    clear.append((number, place, Sealing(subject, column.field, key, value)))
                continue
            try:
                sealed.append((number, place, Sealed(subject, column.field, key, envelope_of(column, value))))
            except EnvelopeError as error:
                work.refuse(number, place, f"looks sealed, but {error}")
        self._seal(work, clear)
        self._check(work, sealed)
        return work.changes()

    def _seal(self, work: _Work, clear: list[tuple[int, int, Sealing]]) -> None:
        subjects = list({item.subject for _, _, item in clear})
        refused: dict[UUID, str] = {}
        for _, part in batches(subjects):
            for subject, answer in zip(part, separately(self._adopt, part), strict=True):
                if isinstance(answer, KeyServiceError):
                    refused[subject] = answer.code
        kept = []
        for number, place, item in clear:
            if item.subject in refused:
                work.refuse(number, place, refused[item.subject])
            else:
                kept.append((number, place, item))
        for _, entries in batches(kept, lambda entry: len(entry[2].value)):
            made = separately(self._keys.seal, [item for _, _, item in entries])
            for (number, place, _), envelope in zip(entries, made, strict=True):
                if isinstance(envelope, KeyServiceError):
                    work.refuse(number, place, envelope.code)
                else:
                    work.put(number, place, envelope)

    def _adopt(self, subjects: Sequence[UUID]) -> list[None]:
        self._keys.adopt(subjects)
        return [None] * len(subjects)

    def _check(self, work: _Work, sealed: list[tuple[int, int, Sealed]]) -> None:
        for _, entries in batches(sealed, lambda entry: len(entry[2].envelope)):
            answers = self._keys.check([item for _, _, item in entries], self._job)
            for (number, place, _), refusal in zip(entries, answers, strict=True):
                if refusal:
                    work.refuse(number, place, f"looks sealed, but does not open here: {refusal}")


def batches(
    items: Sequence[Item], size: Callable[[Item], int] = lambda _: 0, most: int = MAX_ITEMS
) -> Iterator[tuple[int, Sequence[Item]]]:
    """Parts that fit one call, each with its first position."""
    start, total = 0, 0
    for number, item in enumerate(items):
        total += size(item)
        if number > start and (number - start >= most or total > CALL_BYTES):
            yield start, items[start:number]
            start, total = number, size(item)
    if start < len(items):
        yield start, items[start:]


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
