"""Every shape of table is handled, or refused by name before anything is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.rotation.conftest import People

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.rotation.errors import NotProtectable, RotationError
from sensmail.rotation.model import KeyColumn, Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import preview, protect, tables
from sensmail.rotation.rowkey import row_keys
from sensmail.store import SUPERUSER, Settings, connect

TABLE = "CREATE TABLE people (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), subject uuid, phone text)"
REFUSED = {
    "no such table": (["DROP TABLE people"], "no such table"),
    "a view": (["ALTER TABLE people RENAME TO p", "CREATE VIEW people AS SELECT * FROM p"], "is a view"),
    "no primary key": (["ALTER TABLE people DROP CONSTRAINT people_pkey"], "no primary key"),
    "key of another type": (
        ["DROP TABLE people", "CREATE TABLE people (id date PRIMARY KEY, subject uuid, phone text)"],
        "primary key column id is of type date",
    ),
    "no subject column": (["ALTER TABLE people DROP COLUMN subject"], "subject column subject does not exist"),
    "subject of another type": (["ALTER TABLE people ALTER subject TYPE text"], "is of type text"),
    "no such column": (["ALTER TABLE people DROP COLUMN phone"], "no such column"),
    "another type": (["ALTER TABLE people ALTER phone TYPE jsonb USING NULL"], "is of type jsonb"),
    "an array": (["ALTER TABLE people ALTER phone TYPE text[] USING NULL"], r"is of type text\[\]"),
    "fixed width": (["ALTER TABLE people ALTER phone TYPE char(20)"], "is of type character"),
    "a domain": (["CREATE DOMAIN d AS text CHECK (VALUE ~ '^0')", "ALTER TABLE people ALTER phone TYPE d"], "public.d"),
    "an index": (["CREATE INDEX by_phone ON people (phone)"], "index public.by_phone"),
    "a unique column": (["ALTER TABLE people ADD UNIQUE (phone)"], "constraint people_phone_key"),
    "an index on an expression": (["CREATE INDEX lowered ON people (lower(phone))"], "index public.lowered"),
    "an index that includes it": (["CREATE INDEX beside ON people (subject) INCLUDE (phone)"], "index public.beside"),
    "an index with a condition": (["CREATE INDEX few ON people (subject) WHERE phone <> ''"], "index public.few"),
    "a check": (["ALTER TABLE people ADD CONSTRAINT digits CHECK (phone ~ '^0')"], "constraint digits"),
    "a default": (["ALTER TABLE people ALTER phone SET DEFAULT 'none'"], "default value"),
    "generated": (
        ["ALTER TABLE people DROP phone", "ALTER TABLE people ADD phone text GENERATED ALWAYS AS ('x') STORED"],
        "is a generated column",
    ),
    "a column generated from it": (
        ["ALTER TABLE people ADD low text GENERATED ALWAYS AS (lower(phone)) STORED"],
        "column low",
    ),
    "a foreign key": (
        ["CREATE TABLE p (phone text PRIMARY KEY)", "ALTER TABLE people ADD FOREIGN KEY (phone) REFERENCES p"],
        "constraint people_phone_fkey",
    ),
    "statistics": (["CREATE STATISTICS pair ON phone, subject FROM people"], "statistics object public.pair"),
    "too short": (["ALTER TABLE people ALTER phone TYPE varchar(30)"], r"varchar\(30\) is too short"),
    "the subject itself": (["ALTER TABLE people DROP subject", "ALTER TABLE people ADD subject text"], "of type text"),
    "inheritance": (["CREATE TABLE young () INHERITS (people)"], "inherit from it"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_and_nothing_written(name: str, bare: People, sessions: Sessions, quiet: Progress) -> None:
    people = bare
    statements, said = REFUSED[name]
    people.admin.execute(TABLE)
    for statement in statements:
        people.admin.execute(statement)
    with pytest.raises(NotProtectable, match=said):
        protect(sessions, people.keys, people.wanted("phone"), quiet)
    with pytest.raises(NotProtectable, match=said):
        preview(sessions, people.wanted("phone"))
    with sessions.engine() as engine:
        assert engine.execute("SELECT count(*) FROM sensmail_rotation.protected_column").fetchall() == [(0,)]


def test_one_unfit_table_stops_all(bare: People, sessions: Sessions, quiet: Progress) -> None:
    people = bare
    people.make(10)
    bad = Wanted(people.database.name, "public", "missing", "x", "subject", 30, SUPERUSER)
    with pytest.raises(NotProtectable, match="no such table"):
        protect(sessions, people.keys, [*people.wanted(), bad], quiet)
    assert all(row[2].startswith("010") for row in people.rows())


def test_row_security(bare: People, sessions: Sessions) -> None:
    people = bare
    people.admin.execute(TABLE)
    people.admin.execute("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
    people.admin.execute('GRANT SELECT, UPDATE ON people TO "sensmail-jobs"')
    with pytest.raises(NotProtectable, match="row security may hide rows"):
        tables(sessions, people.wanted("phone", login="sensmail-jobs"))


def test_no_right_to_read(bare: People, sessions: Sessions) -> None:
    people = bare
    people.admin.execute(TABLE.replace("phone text", "phone varchar(200)"))
    with pytest.raises(NotProtectable, match="grant sensmail-jobs SELECT"):
        tables(sessions, people.wanted("phone", login="sensmail-jobs"))


SHAPES = {
    "smallint": ("k smallint PRIMARY KEY", "n"),
    "composite": (
        'a text COLLATE "und-x-icu", b bigint, c bytea, PRIMARY KEY (b, a, c)',
        "'가' || n, n % 3, decode(lpad(n::text, 4, '0'), 'hex')",
    ),
    "varchar": ("k varchar(9) PRIMARY KEY", "'k' || n"),
    "odd names": ('"a b""; DROP TABLE x" uuid PRIMARY KEY', "gen_random_uuid()"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_keys_of_every_type(
    shape: str, people: People, sessions: Sessions, keys: KeyService, quiet: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensmail.rotation.passes.FIRST_ROWS", 7)
    monkeypatch.setattr("sensmail.rotation.passes.MOST_ROWS", 7)
    key, values = SHAPES[shape]
    people.admin.execute(f'CREATE TABLE "Odd table" ("it\'s" varchar(400), "주체" uuid, {key})')
    people.admin.execute(
        f"INSERT INTO \"Odd table\" SELECT 'v' || n, gen_random_uuid(), {values} FROM generate_series(1, 60) AS n"
    )
    wanted = [Wanted(people.database.name, "public", "Odd table", "it's", "주체", 20, SUPERUSER)]
    (done,) = protect(sessions, keys, wanted, quiet)
    assert done.census["it's"]["active"] == 60


def test_partitioned(people: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> None:
    people.make(0, extra="PARTITION BY HASH (id)")
    for part in range(2):
        people.admin.execute(f"CREATE TABLE p{part} PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER {part})")
    people.admin.execute(
        "INSERT INTO people (subject, phone) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 100)"
    )
    (done,) = protect(sessions, keys, people.wanted(), quiet)
    assert done.census["phone"]["active"] == 100
    assert {phone for phone, _ in people.opened()} == {"x"}
    part = Wanted(people.database.name, "public", "p0", "phone", "subject", 30, SUPERUSER)
    with pytest.raises(NotProtectable, match="is a partition"):
        tables(sessions, [part])


def test_a_table_of_another_database(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress, database: Settings
) -> None:
    name = f"{database.name}_shop"
    people.admin.execute(f"CREATE DATABASE {name}")
    try:
        with connect(SUPERUSER, settings=database, database=name) as shop:
            shop.execute(TABLE)
            shop.execute(
                "INSERT INTO people (subject, phone) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 30)"
            )
            (done,) = protect(
                sessions, keys, [Wanted(name, "public", "people", "phone", "subject", 20, SUPERUSER)], quiet
            )
            assert done.census["phone"]["active"] == 30
            assert shop.execute("SELECT seen FROM sensmail_rotation.pass").fetchall() is not None
    finally:
        people.admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_varchar_that_is_long_enough(people: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> None:
    people.make(10, "phone varchar(70), note bytea")
    (done,) = protect(sessions, keys, people.wanted(), quiet)
    assert done.census["phone"]["active"] == 10


def test_fillfactor_is_advised(bare: People, sessions: Sessions) -> None:
    people = bare
    people.make(1)
    assert "fillfactor = 50" in tables(sessions, people.wanted())[0].notes[0]
    people.admin.execute("ALTER TABLE people SET (fillfactor = 50)")
    assert not tables(sessions, people.wanted())[0].notes


def test_the_same_column_under_another_number(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(3)
    protect(sessions, keys, people.wanted(), quiet)
    other = [Wanted(people.database.name, "public", "people", "phone", "subject", 33, SUPERUSER)]
    with pytest.raises(RotationError, match="is sealed as field 20"):
        protect(sessions, keys, other, quiet)


PARTS = st.one_of(
    st.uuids().map(lambda value: (1, value, value.bytes)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (2, value, value.to_bytes(8, signed=True))),
    st.text(max_size=30).map(lambda value: (3, value, value.encode())),
    st.binary(max_size=30).map(lambda value: (4, value, value)),
)


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_the_wire_form_packs_to_the_canonical_row_key(parts: list[tuple[int, object, bytes]]) -> None:
    columns = [KeyColumn(f"c{n}", kind, "") for n, (kind, _, _) in enumerate(parts)]
    canonical = row_key(*(value for _, value, _ in parts))  # type: ignore[arg-type]
    assert row_keys(columns, [(raw, raw) for _, _, raw in parts]) == [canonical, canonical]
