"""Records: what goes in, what is refused, what shows that one is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest

from sensmail.ledger import Entry, Inserts, RecordSwallowed, UnknownDetail, insert, missing_openings
from sensmail.store import SUPERUSER, Connection

Session = Callable[[str], Connection]
TRIGGER = (
    "CREATE FUNCTION public.eat() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; END $$;"
    "CREATE TRIGGER a BEFORE INSERT ON records.inbox FOR EACH ROW EXECUTE FUNCTION public.eat()"
)


def opening(number: int | None) -> Entry:
    return Entry("access", "open", "kim", subject=uuid4(), purpose="request", opening=number, detail={"fields": [5, 8]})


def test_a_record_holds_everything_that_was_given_and_the_server_adds_number_and_time(session: Session) -> None:
    who = uuid4()
    entry = Entry(
        "governance", "keys.roll", "홍길동", "192.0.2.7", who, "psql", "request", "failed", "a.service", 7,
        {"reason": "\"'\\ $1 %s 가", "fields": [1, 2], "count": 3},
    )  # fmt: skip
    ids = insert(session("sensmail-keyd"), [entry])
    row = session(SUPERUSER).execute("SELECT *, now() - at < '1 min' FROM records.inbox").fetchall()
    assert [(each[0], *each[2:]) for each in row] == [
        (ids[0], "governance", "keys.roll", "홍길동", "192.0.2.7", who, "psql", "request", "failed", "a.service", 7,
         {"reason": "\"'\\ $1 %s 가", "fields": [1, 2], "count": 3}, None, "", True)
    ]  # fmt: skip


def test_a_record_lives_and_dies_with_the_transaction_of_its_act(session: Session) -> None:
    jobs = session("sensmail-jobs")
    with jobs.transaction(force_rollback=True):
        assert len(insert(jobs, [opening(None)] * 3)) == 3
    assert session(SUPERUSER).execute("SELECT count(*) FROM records.inbox").fetchone() == (0,)
    assert insert(jobs, []) == []


@pytest.mark.parametrize("number", [None, 5])
@pytest.mark.parametrize(
    "body",
    ["RETURN NULL", "IF NEW.act = 'open' THEN RETURN NULL; END IF; RETURN NEW"],
)
def test_a_record_that_a_trigger_swallows_is_noticed(session: Session, number: int | None, body: str) -> None:
    session(SUPERUSER).execute(TRIGGER.format(body))
    other = Entry("governance", "keys.roll", opening=6 if number else None)
    with pytest.raises(RecordSwallowed, match="kept fewer than 2 records"):
        insert(session("sensmail-keyd"), [opening(number), other])
    assert session(SUPERUSER).execute("SELECT count(*) FROM records.inbox").fetchone() == (0,)


def test_a_record_that_a_trigger_renumbers_is_noticed(session: Session) -> None:
    session(SUPERUSER).execute(TRIGGER.format("NEW.opening := NEW.opening + 90; RETURN NEW"))
    with pytest.raises(RecordSwallowed, match="changed what it kept of 1 records"):
        insert(session("sensmail-keyd"), [opening(5)])


def test_a_rule_that_swallows_is_noticed(session: Session) -> None:
    session(SUPERUSER).execute("CREATE RULE eat AS ON INSERT TO records.inbox DO INSTEAD NOTHING")
    with pytest.raises((RecordSwallowed, psycopg.Error)):
        insert(session("sensmail-keyd"), [opening(1)])


@pytest.mark.parametrize("statement", ["UPDATE {} SET act = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("role", ["sensmail-keyd", "sensmail-jobs", SUPERUSER])
@pytest.mark.parametrize("replica", [False, True])
def test_nobody_changes_or_removes_a_record(session: Session, statement: str, role: str, replica: bool) -> None:
    insert(session("sensmail-keyd"), [opening(1)])
    them = session(role)
    if replica and role == SUPERUSER:
        them.execute("SET session_replication_role = replica")
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RestrictViolation)):
        them.execute(statement.format("records.inbox"))


@pytest.mark.parametrize(
    ("role", "column"),
    [("sensmail-keyd", "account"), ("sensmail-keyd", "detail"), ("sensmail-jobs", "opening"), ("dovecot", "id")],
)
def test_writers_read_no_records(session: Session, role: str, column: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session(role).execute(f"SELECT {column} FROM records.inbox")


@pytest.mark.parametrize("column", ["at", "id", "opening"])
def test_jobs_set_neither_time_nor_number(session: Session, column: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session("sensmail-jobs").execute(f"INSERT INTO records.inbox ({column}) VALUES (DEFAULT)")


def test_a_number_is_used_once(session: Session) -> None:
    keyd = session("sensmail-keyd")
    insert(keyd, [opening(1)])
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(keyd, [opening(2), opening(1)])
    assert missing_openings(keyd, 2) == [range(2, 3)]


def test_missing_openings_are_found_at_both_ends_and_between(session: Session) -> None:
    keyd = session("sensmail-keyd")
    assert missing_openings(keyd, 0) == []
    assert missing_openings(keyd, 3) == [range(1, 4)]
    insert(keyd, [opening(number) for number in (2, 3, 6, 9)])
    assert missing_openings(keyd, 8) == [range(1, 2), range(4, 6), range(7, 9)]
    assert missing_openings(keyd, 6) == [range(1, 2), range(4, 6)]
    assert missing_openings(keyd, 9, after=3) == [range(4, 6), range(7, 9)]
    assert missing_openings(keyd, 3, after=1) == []


def test_detail_takes_only_listed_keys() -> None:
    with pytest.raises(UnknownDetail, match=r"value is not on the list in sensmail\.ledger\.entry"):
        Entry("access", "open", detail={"value": "secret"})


async def ends(session: Session, *, idle: bool) -> None:
    connection = session("sensmail-keyd")
    inserts = Inserts(connection)
    inserts.join()
    assert len(await inserts.insert([opening(1)])) == 1
    session(SUPERUSER).execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
    if idle:
        await asyncio.sleep(0.2)  # the loop notices
    with pytest.raises(psycopg.OperationalError):
        async with asyncio.timeout(5):
            await inserts.insert([opening(2)])


@pytest.mark.parametrize("idle", [True, False])
def test_a_lost_session_is_told_and_never_waited_for(session: Session, idle: bool) -> None:
    asyncio.run(ends(session, idle=idle))


@pytest.mark.parametrize("body", ["RETURN NULL", "NEW.opening = 9; RETURN NEW"])
def test_a_record_that_a_trigger_takes_or_changes_is_noticed_in_the_loop_too(session: Session, body: str) -> None:
    session(SUPERUSER).execute(TRIGGER.format(body))

    async def swallowed() -> None:
        inserts = Inserts(session("sensmail-keyd"))
        inserts.join()
        await inserts.insert([opening(3)])

    with pytest.raises(RecordSwallowed):
        asyncio.run(swallowed())


def test_a_session_that_was_lent_to_a_thread_goes_on_with_what_it_prepared(session: Session) -> None:
    async def lent() -> None:
        connection = session("sensmail-keyd")
        inserts = Inserts(connection)
        for number in (1, 3):
            inserts.join()
            await inserts.insert([opening(number)])
            inserts.leave()
            await asyncio.to_thread(insert, connection, [opening(number + 1)])

    asyncio.run(lent())
    assert session(SUPERUSER).execute("SELECT count(*) FROM records.inbox").fetchall() == [(4,)]
