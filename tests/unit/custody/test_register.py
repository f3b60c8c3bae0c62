"""The key register: every event once, dates never changed, and what a crash prevented is made up for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from sensmail.keyd import register
from sensmail.keyd.register import (
    FOUND,
    DroppedRetired,
    DroppedSubjects,
    Line,
    Retired,
    RingDiscarded,
    RootDestroyed,
    RootSeen,
    Seen,
    Why,
)
from sensmail.keys.officer import fingerprint
from sensmail.store import SUPERUSER, Connection

RING, OLD, NEXT = "ab" * 16, "01" * 16, "02" * 16
OFFICERS = tuple(bytes([number] * 32).hex() for number in range(3))
WHY = Why("root", "yearly change", "privacy_officer")
START = Seen(RING, 1, False, (RootSeen(OLD, "file", "software"),), OLD, OFFICERS, 0, 0)
DATES = ("made", "activated", "retired", "dropped", "destroyed")


@pytest.fixture
def book(session: Callable[[str], Connection]) -> Connection:
    return session(register.ROLE)


def shape(connection: Connection) -> dict[str, str]:
    """Each row by kind and key, and which dates it has: a letter a date."""
    return {
        f"{row.kind} {row.key}": "".join(name[:2] if getattr(row, name) else "" for name in DATES)
        for row in register.lines(connection)
    }


def row(connection: Connection, kind: str, key: str) -> Line:
    (found,) = (each for each in register.lines(connection) if (each.kind, each.key) == (kind, key))
    return found


def test_the_first_start_writes_every_kind_of_key(book: Connection) -> None:
    written = register.reconcile(book, START)
    people = " · ".join(fingerprint(bytes.fromhex(each)) for each in OFFICERS)
    assert shape(book) == {
        f"root {OLD}": "maac", "epoch 1": "maac", f"recovery {people} @1": "maac", "subject in use": "maac"
    }  # fmt: skip
    assert {each.remark for each in register.lines(book)} == {FOUND}
    assert len(written) == 5
    assert not any(OFFICERS[1] in line for line in written)


def test_again_writes_nothing(book: Connection) -> None:
    register.reconcile(book, START)
    before = register.lines(book)
    assert register.reconcile(book, START) == []
    assert register.reconcile(book, START, WHY) == []
    assert register.lines(book) == before
    register.reconcile(book, replace(START, epoch=2), WHY)
    assert [each.id for each in register.lines(book)] == [1, 2, 3, 4, 5]  # no hole that an auditor would ask about


def test_an_epoch_is_destroyed_when_no_place_holds_it_any_more(book: Connection) -> None:
    register.reconcile(book, START)
    register.reconcile(book, replace(START, epoch=2, destroying=True), WHY)
    assert shape(book)["epoch 1"] == "maacre"
    register.reconcile(book, replace(START, epoch=2))
    assert shape(book)["epoch 1"] == "maacrede"
    assert shape(book)["epoch 2"] == "maac"
    old, new = row(book, "epoch", "1"), row(book, "epoch", "2")
    assert (old.approver, old.reason, old.destruction) == ("privacy_officer", "yearly change", "software")
    assert (new.remark, new.approver, new.reason) == ("", None, None)


def test_a_root_change(book: Connection) -> None:
    register.reconcile(book, START)
    both = replace(START, roots=(*START.roots, RootSeen(NEXT, "file", "software")))
    register.reconcile(book, both)
    assert (shape(book)[f"root {OLD}"], shape(book)[f"root {NEXT}"]) == ("maac", "ma")
    register.note(book, RootDestroyed(OLD, WHY))
    assert shape(book)[f"root {OLD}"] == "maac", "a root that is in use is not destroyed"
    register.reconcile(book, replace(both, epoch=2, wrapped_by=NEXT), WHY)
    assert (shape(book)[f"root {OLD}"], shape(book)[f"root {NEXT}"]) == ("maacre", "maac")
    register.note(book, RootDestroyed(OLD, WHY))
    before = row(book, "root", OLD)
    assert (before.approver, before.destruction, bool(before.destroyed)) == ("privacy_officer", "software", True)
    register.note(book, RootDestroyed(OLD, Why("root", "again", "somebody")))
    assert row(book, "root", OLD) == before


def test_officers_come_go_and_come_back(book: Connection) -> None:
    register.reconcile(book, replace(START, officers=()))
    assert not [key for key in shape(book) if key.startswith("recovery")]
    others = tuple(reversed(OFFICERS))
    for epoch, officers in enumerate((OFFICERS, others, others, OFFICERS, ()), start=2):
        register.reconcile(book, replace(START, epoch=epoch, officers=officers), WHY)
    found = {key[-2:]: dates for key, dates in shape(book).items() if key.startswith("recovery")}
    assert found == {"@2": "maacre", "@3": "maacre", "@5": "maacre"}


def test_batches_of_subject_keys(book: Connection) -> None:
    register.reconcile(book, START)
    register.note(book, Retired(RING, 10, 500, WHY))
    register.note(book, Retired(RING, 10, 500, WHY))
    register.note(book, Retired(RING, 12, 0, WHY))
    register.note(book, Retired(RING, 14, 7, WHY))
    register.note(book, DroppedSubjects(RING, 15, 3, WHY))
    register.reconcile(book, replace(START, destroying=True, restore_only=507, tombstones=3))
    batches = {"subject replaced @10": "re", "subject replaced @14": "re", "subject purged @15": "dr"}
    assert shape(book).items() >= batches.items()
    register.note(book, DroppedRetired(RING, 20, 507, WHY))
    register.reconcile(book, replace(START, epoch=2, tombstones=3), WHY)
    assert {dates for key, dates in shape(book).items() if "@1" in key and "subject" in key} == {"redrde", "drde"}
    assert row(book, "subject", "replaced @10").count == 500
    assert row(book, "subject", "replaced @14").approver == "privacy_officer"
    assert len(register.lines(book)) == 8


def test_what_a_crash_kept_from_being_noted_is_found_at_the_start(book: Connection) -> None:
    register.reconcile(book, START)
    register.note(book, DroppedSubjects(RING, 5, 2, WHY))
    register.reconcile(book, replace(START, destroying=True, restore_only=9, tombstones=12))
    late = row(book, "subject", "purged @12 in all")
    assert (late.count, late.remark, late.approver) == (10, FOUND, None)
    assert row(book, "subject", "replaced @epoch 1").count == 9
    register.reconcile(book, replace(START, epoch=2, tombstones=12))
    assert shape(book)["subject replaced @epoch 1"] == "redrde"
    assert register.reconcile(book, replace(START, epoch=2, tombstones=12)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records.key_register SET destroyed = now() + interval '1 day' WHERE destroyed IS NOT NULL",
        "UPDATE records.key_register SET retired = NULL",
        "UPDATE records.key_register SET approver = 'somebody else'",
        "UPDATE records.key_register SET made = now() - interval '9 years'",
        "UPDATE records.key_register SET remark = 'nothing to see'",
        "DELETE FROM records.key_register",
        "TRUNCATE records.key_register",
    ],
)
@pytest.mark.parametrize("role", [register.ROLE, SUPERUSER])
def test_what_stands_there_is_never_changed(
    session: Callable[[str], Connection], book: Connection, role: str, statement: str
) -> None:
    """The service has no right to, and a superuser meets the trigger, as long as they do not drop it."""
    register.reconcile(book, START)
    register.reconcile(book, replace(START, epoch=2), WHY)
    before = register.lines(book)
    other = session(role)
    other.execute("SET session_replication_role = replica") if role == SUPERUSER else None
    with pytest.raises(psycopg.errors.DatabaseError) as error:
        other.execute(statement.encode())
    assert isinstance(error.value, (psycopg.errors.RestrictViolation, psycopg.errors.InsufficientPrivilege))
    assert register.lines(book) == before


def test_dates_come_in_order(book: Connection) -> None:
    register.reconcile(book, START)
    with pytest.raises(psycopg.errors.CheckViolation):
        book.execute("UPDATE records.key_register SET retired = now() - interval '1 day' WHERE kind = 'epoch'")
    with pytest.raises(psycopg.errors.CheckViolation):
        book.execute("UPDATE records.key_register SET destroyed = now() WHERE kind = 'epoch'")


def test_jobs_read_and_do_no_more(session: Callable[[str], Connection], book: Connection) -> None:
    register.reconcile(book, START)
    jobs = session("sensmail-jobs")
    assert register.lines(jobs) == register.lines(book)
    for act in (
        "INSERT INTO records.key_register (ring, kind, key, purpose) VALUES ('', '', '', '')",
        "UPDATE records.key_register SET retired = now()",
        "DELETE FROM records.key_register",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            jobs.execute(act.encode())


def test_an_unused_key_file_that_a_recovery_set_aside(book: Connection) -> None:
    """Its own rows end; the root key, which goes on wrapping the recovered one, does not, nor does any other row."""
    register.reconcile(book, replace(START, officers=()))
    recovered = replace(START, ring="cd" * 16, epoch=9)
    register.reconcile(book, recovered)
    register.note(book, RingDiscarded(RING, WHY))
    ended = {(each.ring[:2], each.kind) for each in register.lines(book) if each.destroyed}
    assert ended == {("ab", "epoch"), ("ab", "subject")}
    before = register.lines(book)
    register.note(book, RingDiscarded(RING, WHY))
    assert register.lines(book) == before


def test_two_key_files_do_not_mix(book: Connection) -> None:
    """After a total loss there is a new key file beside the rows of the old one."""
    register.reconcile(book, START)
    other = replace(START, ring="cd" * 16, roots=(RootSeen(NEXT, "file", "software"),), wrapped_by=NEXT)
    register.reconcile(book, other)
    assert [each.retired for each in register.lines(book)] == [None] * 8
