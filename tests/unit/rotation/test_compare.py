"""`sensmail keys compare`: every sealed value without a key is named, and nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID, uuid4

import pytest

from sensmail.cli.keys_show import compared_text
from sensmail.keyd.client import KeyService
from sensmail.rotation import compare as module
from sensmail.rotation.census import Name
from sensmail.rotation.compare import Bare, Compared, compare
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.store import SUPERUSER, Connection, Settings

TABLES = """
    CREATE SCHEMA "Wei rd";
    CREATE TABLE "Wei rd".people (id uuid PRIMARY KEY, a bytea, b bytea);
    CREATE TABLE public.note (n serial PRIMARY KEY, owner uuid, t text)
"""
COLUMNS = [("Wei rd", "people", "a", "id"), ("Wei rd", "people", "b", "id"), ("public", "note", "t", "owner")]
STATES = ("active", "replaced", "restore_only", "destroyed", "unknown", "tombstone")


class Ring:
    """Counts as the key service does, from a table."""

    def __init__(self) -> None:
        self.states: dict[Name, str] = {}
        self.calls: list[int] = []

    def add(self, state: str, version: int = 1) -> UUID:
        owner = uuid4()
        self.states[owner, version] = state
        return owner

    def census(self, names: Sequence[Name]) -> dict[str, int]:
        self.calls.append(len(names))
        counts = Counter(self.states.get(name, "unknown") for name in names)
        return {state: counts[state] for state in STATES}


@pytest.fixture
def tables(session: Callable[[str], Connection]) -> Connection:
    connection = session(SUPERUSER)
    connection.execute(TABLES)
    return connection


Look = Callable[[Ring], Compared]


@pytest.fixture
def look(database: Settings) -> Look:
    """Compare the tables with a ring."""
    wanted = [Wanted(database.name, *place, number, SUPERUSER) for number, place in enumerate(COLUMNS, start=20)]
    return lambda ring: compare(Sessions(database), cast(KeyService, ring), wanted)


def envelope(version: int) -> bytes:
    return b"\x01\x01" + version.to_bytes(4) + bytes(40)


def text(version: int) -> str:
    return "sealed:v1:" + urlsafe_b64encode(envelope(version)).rstrip(b"=").decode()


def test_each_kind_is_told_apart(tables: Connection, look: Look, database: Settings) -> None:
    ring = Ring()
    owners = {state: ring.add(state) for state in STATES}
    for owner in owners.values():
        tables.execute('INSERT INTO "Wei rd".people VALUES (%s, %s, NULL)', (owner, envelope(1)))
        tables.execute("INSERT INTO public.note (owner, t) VALUES (%s, %s)", (owner, text(1)))
    found = look(ring)
    wanted = {
        Bare(f"{database.name}: {column}", owners[why], 1, why)
        for column in ("Wei rd.people.a", "public.note.t")
        for why in ("unknown", "tombstone", "destroyed")
    }
    assert (set(found.bare), len(found.bare), found.values, found.complete) == (wanted, 6, 12, False)
    shown = compared_text(found)
    assert all(f"{each.column}  {each.subject}  v1  {each.why}: " in shown for each in wanted)


def test_only_purged_people_are_complete(tables: Connection, look: Look) -> None:
    ring = Ring()
    for state in ("active", "replaced", "restore_only", "tombstone"):
        tables.execute('INSERT INTO "Wei rd".people VALUES (%s, %s)', (ring.add(state, 7), envelope(7)))
    found = look(ring)
    assert ([each.why for each in found.bare], found.complete) == (["tombstone"], True)


def test_the_version_counts_not_only_the_subject(tables: Connection, look: Look) -> None:
    ring = Ring()
    owner = ring.add("active", 2)
    tables.execute('INSERT INTO "Wei rd".people VALUES (%s, %s, %s)', (owner, envelope(2), envelope(3)))
    (found,) = look(ring).bare
    assert (found.column.partition(": ")[2], found.version, found.why) == ("Wei rd.people.b", 3, "unknown")


def test_a_few_among_many_cost_few_calls(tables: Connection, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1000)
    ring = Ring()
    owners = [ring.add("active") for _ in range(3000)]
    lost = owners[1700]
    ring.states[lost, 1] = "unknown"
    with tables.cursor() as cursor:
        cursor.executemany('INSERT INTO "Wei rd".people VALUES (%s, %s)', [(each, envelope(1)) for each in owners])
    found = look(ring)
    assert [(each.subject, each.version, each.why) for each in found.bare] == [(lost, 1, "unknown")]
    assert found.values == 3000
    assert len(ring.calls) <= 3 + 2 * 10


@pytest.mark.parametrize("start", ["", "\x01", "plain", "sealed:v1:", "sealed:v1:!!!", "sealed:v2:AQEAAAABAAAA"])
def test_what_is_no_envelope_is_passed_over(tables: Connection, look: Look, start: str) -> None:
    """Plaintext that is still to be sealed is not the matter of this command."""
    tables.execute("INSERT INTO public.note (owner, t) VALUES (%s, %s)", (uuid4(), start))
    tables.execute('INSERT INTO "Wei rd".people VALUES (%s, %s)', (uuid4(), start.encode()))
    assert look(Ring()).values == 0
