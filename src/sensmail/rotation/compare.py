"""Which sealed values have no key in the key file, by name: after a restore, and as a check at any time.

A batch that the key service knows whole is done; any other is halved until the values without a key are found, so that
a million good rows cost few calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from sensmail.keyd.client import KeyService
from sensmail.rotation.census import Name, scan
from sensmail.rotation.model import Column, Table, Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.protect import tables
from sensmail.rotation.reseal import all_wanted
from sensmail.store import Connection

Census = Callable[[Sequence[Name]], Mapping[str, int]]

BATCH = 20_000
_BARE = ("unknown", "tombstone", "destroyed")


@dataclass(frozen=True)
class Bare:
    """Values of one subject, column and key version that no key opens, and why: unknown, tombstone or destroyed."""

    column: str
    subject: UUID
    version: int
    why: str


@dataclass
class Compared:
    """What was looked at, and what has no key."""

    values: int = 0
    bare: list[Bare] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing is lost: what has no key belongs to subjects that were purged."""
        return all(each.why == "tombstone" for each in self.bare)


def compare(sessions: Sessions, keys: KeyService, data_map: Sequence[Wanted]) -> Compared:
    """Look at every sealed value in these columns, and in those that were ever protected.

    Raises:
        NotProtectable, KeyServiceError, StoreError, psycopg.Error.
    """
    result = Compared()
    with sessions.engine() as engine:
        wanted = all_wanted(engine, data_map)
    for table in tables(sessions, wanted):
        with sessions.on(table) as connection:
            for column in table.columns:
                _compare(connection, table, column, keys.census, result)
    return result


def _compare(connection: Connection, table: Table, column: Column, census: Census, result: Compared) -> None:
    names = (each for each in scan(connection, table, column) if not isinstance(each, str))
    while batch := list(islice(names, BATCH)):
        result.values += len(batch)
        found = _bare(sorted(set(batch)), census)
        result.bare += (Bare(f"{table}.{column.name}", *name, why) for name, why in found)


def _bare(names: Sequence[Name], census: Census) -> Iterator[tuple[Name, str]]:
    counts = census(names)
    if not any(counts.get(state) for state in _BARE):
        return
    if len(names) == 1:
        yield names[0], next(state for state in _BARE if counts.get(state))
        return
    middle = len(names) // 2
    yield from _bare(names[:middle], census)
    yield from _bare(names[middle:], census)
