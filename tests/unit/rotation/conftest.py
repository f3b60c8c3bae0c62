"""A real PostgreSQL, a real key service in its own process, tables of any shape."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.keyd.conftest import ALL, keys, policy, site

from sensmail.fields import row_key, text
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Actor, Sealed, Sealing
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.store import SUPERUSER, Connection, Settings, connect

__all__ = ["keys", "site"]  # fixtures

ACTOR = Actor("kim@example.org", "192.0.2.7", "test")
FIELDS = range(20, 60)  # of the test's data map


def document() -> dict[str, Any]:
    """A policy whose data map has a sealed item for each of FIELDS."""
    made = policy()
    made["data_map"] = [
        {"table": "public.t", "column": f"c{number}", "field": number, "item": f"item{number}", "protection": "sealed",
         "purposes": ["otp_code"], "subject": "subject"}
        for number in FIELDS
    ]  # fmt: skip
    made["applied"]["keys"]["callers"][0]["acts"] = ALL.split()
    return made


@pytest.fixture
def applied() -> dict[str, Any]:
    return document()


@pytest.fixture
def sessions(database: Settings) -> Sessions:
    return Sessions(database)


@pytest.fixture
def quiet() -> Progress:
    return Progress()


@dataclass
class People:
    """`public.people`: a person a row, by default with two columns that are to be sealed."""

    database: Settings
    keys: KeyService
    admin: Connection

    def make(self, count: int, columns: str = "phone text, note bytea", extra: str = "") -> None:
        self.admin.execute(
            f"CREATE TABLE people (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), subject uuid, other int DEFAULT 0, "
            f"{columns}) {extra}"
        )
        if count:
            self.admin.execute(
                "INSERT INTO people (subject, phone, note)"
                " SELECT gen_random_uuid(), '010-' || n, convert_to('쪽지' || n, 'UTF8')"
                " FROM generate_series(1, %s) AS n",
                (count,),
            )

    def wanted(self, *columns: str, login: str = SUPERUSER) -> list[Wanted]:
        """These columns, by default phone and note, as fields from 20 on."""
        names = columns or ("phone", "note")
        return [
            Wanted(self.database.name, "public", "people", name, "subject", number, login)
            for number, name in enumerate(names, start=FIELDS.start)
        ]

    def rows(self, what: str = "id, subject, phone, note") -> list[tuple[Any, ...]]:
        return self.admin.execute(f"SELECT {what} FROM people ORDER BY id").fetchall()

    def opened(self) -> list[tuple[str | None, str | None]]:
        """Phone and note of every row in clear, by the key service; fails for one that is not sealed."""
        found = self.rows()
        phones = self.open(
            [(subject, 20, key, phone and text.unpack(phone.encode())) for key, subject, phone, _ in found]
        )
        notes = self.open([(subject, 21, key, note) for key, subject, _, note in found])
        return list(zip(phones, notes, strict=True))

    def open(self, values: Sequence[tuple[uuid.UUID, int, uuid.UUID, bytes | None]]) -> list[str | None]:
        items = [Sealed(subject, number, row_key(key), value) for subject, number, key, value in values if value]
        answers = iter(self.keys.open_many(items, "own_data", ACTOR))
        result: list[str | None] = []
        for *_, value in values:
            opened = next(answers) if value else None
            assert opened is None or opened.value is not None, opened
            result.append(opened.value.decode() if opened and opened.value is not None else None)
        return result

    def seal(self, subject: uuid.UUID, number: int, key: uuid.UUID, value: str) -> bytes:
        return self.keys.seal([Sealing(subject, number, row_key(key), value.encode())])[0]


@pytest.fixture
def people(database: Settings, keys: KeyService, session: Callable[[str], Connection]) -> People:
    return People(database, keys, session(SUPERUSER))


@pytest.fixture
def bare(database: Settings, session: Callable[[str], Connection]) -> People:
    """The same, without a key service: whoever asks it fails."""
    return People(database, KeyService("/nonexistent"), session(SUPERUSER))


@pytest.fixture
def beside(database: Settings) -> Iterator[Callable[[], Connection]]:
    """Opens further sessions, for writers and readers."""
    opened: list[Connection] = []

    def open_session() -> Connection:
        opened.append(connect(SUPERUSER, settings=database))
        return opened[-1]

    yield open_session
    for connection in opened:
        connection.close()
