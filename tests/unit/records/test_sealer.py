"""Sealing: dense numbers, one commit a batch, keys that evolve, and a stop where somebody else had a hand in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from sensmail.ledger import Entry, highest_opening, insert, missing_openings
from sensmail.records import checkpoint, entry, note, rows, sealer
from sensmail.records.errors import Busy, DatabaseOlder, HeadChanged, KeysUnusable, Standby
from sensmail.records.note import VerifierKey
from sensmail.records.sealer import ROLE, Sealer
from sensmail.store import SUPERUSER
from unit.records.rig import LOG, Rig

MONTH_US = 31 * 86400 * 1_000_000


def test_records_leave_the_inbox_numbered_in_the_order_of_their_ids(rig: Rig) -> None:
    with rig.session("sensmail-jobs") as jobs:
        for number in range(6):
            insert(jobs, [Entry("governance" if number % 3 == 2 else "access", "open", f"kim{number}")])
    one = rig.sealer()
    assert one.heads() == {"access": 4, "governance": 2}
    assert rig.rows("SELECT count(*) FROM records.inbox") == [(0,)]
    assert rig.rows("SELECT seq, account FROM records.access ORDER BY seq") == [
        (0, "kim0"), (1, "kim1"), (2, "kim3"), (3, "kim4"),
    ]  # fmt: skip
    assert rig.rows("SELECT seq, account FROM records.governance ORDER BY seq") == [(0, "kim2"), (1, "kim5")]
    rig.sound()


def test_what_is_stored_is_what_was_given(rig: Rig) -> None:
    detail = {"reason": 'a\n"b"\\ 한글 \x1f\x01', "fields": ["name"], "count": 3}
    texts = {
        "client": 'Mozilla "5.0"\\\t\x1f',
        "account": "홍길동\x1f",
        "purpose": "own_data",
        "unit": r"a\x2db.service",
    }
    rig.write(role="sensmail-keyd", detail=detail, opening=7, **{k: v for k, v in texts.items() if k != "account"})
    rig.sealer()
    part = rig.rows("SELECT part FROM records.part WHERE ledger = 'access'")[0][0]
    assert isinstance(part, int)
    kept = rows.kept(rig.session("sensmail-jobs"), "access", part, 0, 10)
    found = entry.parse(kept.lines[0])
    assert json.loads(bytes(found.detail)) == detail
    assert (found.client, found.purpose, found.unit) == (texts["client"], texts["purpose"], texts["unit"])
    assert (found.opening, found.seq, found.sealed, found.at) == (7, 0, rig.now, found.received)
    rig.sound()


def test_the_time_of_the_act_may_be_another_than_that_of_its_arrival(rig: Rig) -> None:
    rig.write(2)
    rig.tamper(
        "ALTER TABLE records.inbox DISABLE TRIGGER only_added",
        "UPDATE records.inbox SET acted_at = '2025-11-01 00:00:00.000001Z', clock = 'unsynchronised' WHERE id = 1",
        "ALTER TABLE records.inbox ENABLE ALWAYS TRIGGER only_added",
    )
    rig.sealer()
    query = "SELECT at = '2025-11-01 00:00:00.000001Z', at < received, clock FROM records.access ORDER BY seq"
    assert rig.rows(query) == [(True, True, "unsynchronised"), (False, False, "")]
    rig.sound()


def test_an_unfit_detail_is_sealed_as_text_and_stops_nothing(rig: Rig) -> None:
    jobs = rig.session("sensmail-jobs")
    for detail in ('{"A": 1.5}', '{"a": {"b": 1e400}}'):
        jobs.execute(
            "INSERT INTO records.inbox (ledger, act, account, origin, client, purpose, outcome, unit, detail) "
            "VALUES ('access', 'open', '', '', '', '', 'done', '', %s)",
            (detail,),
        )
    rig.sealer()
    assert [json.loads(json.dumps(each[0])) for each in rig.rows("SELECT detail FROM records.access ORDER BY seq")] == [
        {"unfit": '{"A": 1.5}'}, {"unfit": '{"a": {"b": 1' + "0" * 400 + "}}"},
    ]  # fmt: skip
    rig.sound()


def test_a_batch_takes_no_more_than_it_may(rig: Rig) -> None:
    one = rig.sealer()
    rig.write(25)
    assert [one.seal(10) for _ in range(4)] == [10, 10, 5, 0]
    rig.sound()


def test_a_record_that_commits_late_comes_with_the_next_batch(rig: Rig) -> None:
    one, slow = rig.sealer(), rig.session("sensmail-jobs")
    slow.execute("BEGIN")
    insert(slow, [Entry("access", "open", "late")])
    rig.write(2)
    assert one.seal() == 2
    slow.execute("COMMIT")
    assert one.seal() == 1
    assert rig.rows("SELECT account FROM records.access WHERE seq = 2") == [("late",)]
    rig.sound()


def test_a_record_that_commits_between_reading_and_moving_comes_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, slow, move = rig.sealer(), rig.session("sensmail-jobs"), rows.move
    slow.execute("BEGIN")
    insert(slow, [Entry("access", "open", "late")])
    rig.write(2)

    def later(*given: Any) -> int:
        slow.execute("COMMIT")
        return move(*given)

    with monkeypatch.context() as patch:
        patch.setattr(rows, "move", later)
        assert one.seal() == 2
    assert one.seal() == 1
    rig.sound()


def test_every_month_has_a_partition_and_the_numbers_go_on(rig: Rig) -> None:
    one = rig.sealer()
    for _ in range(3):
        rig.write(4)
        one.seal()
        rig.now += MONTH_US
    one.seal()
    assert rig.rows("SELECT part, first FROM records.part WHERE ledger = 'access' ORDER BY part") == [
        (1202511, 0), (1202512, 4), (1202601, 8),
    ]  # fmt: skip
    assert rig.rows("SELECT count(*), min(seq), max(seq) FROM records.access_1202512") == [(4, 4, 7)]
    rig.sound()


def test_a_clock_that_steps_back_makes_no_time_run_backwards(rig: Rig) -> None:
    one = rig.sealer()
    rig.write(1)
    rig.now += MONTH_US
    one.seal()
    rig.now -= 2 * MONTH_US
    rig.write(1)
    one.seal()
    assert rig.rows("SELECT count(DISTINCT sealed), count(DISTINCT part) FROM records.access") == [(1, 1)]
    rig.sealer()
    rig.sound()


def test_the_key_changes_with_time_and_at_every_start(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rig.sealer()
    turns = "SELECT ledger::text, turn FROM records.head ORDER BY ledger"
    assert rig.rows(turns) == [("access", 0), ("governance", 0)]
    one.seal()
    assert rig.rows(turns) == [("access", 0), ("governance", 0)]
    monkeypatch.setattr(sealer, "KEY_LIFE_S", 0.0)
    one.seal()
    one.seal()
    assert rig.rows(turns) == [("access", 2), ("governance", 2)]
    rig.sealer()
    assert rig.rows(turns) == [("access", 3), ("governance", 3)]
    assert rig.check().checkpoints == 4
    rig.sound()


def test_the_key_in_use_is_not_on_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rig.sealer()
    for _ in range(3):
        for log in one._logs.values():
            data = b"".join(each.read_bytes() for each in rig.directory.iterdir())
            assert log.current.private.private_bytes_raw() not in data
            assert log.following.private.private_bytes_raw() in data
        monkeypatch.setattr(sealer, "KEY_LIFE_S", 0.0)
        one.seal()
    assert {each.stat().st_mode & 0o777 for each in rig.directory.iterdir()} == {0o600}


def test_an_idle_log_is_signed_anew_now_and_then(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rig.sealer()
    before = rig.rows("SELECT note FROM records.head ORDER BY ledger")
    rig.now += 5_000_000
    one.seal()
    assert rig.rows("SELECT note FROM records.head ORDER BY ledger") == before
    monkeypatch.setattr(sealer, "IDLE_S", 0.0)
    one.seal()
    after = rig.rows("SELECT note FROM records.head ORDER BY ledger")
    for old, new in zip(before, after, strict=True):
        older, newer = (checkpoint.parse(note.parse(str(each[0]).encode()).text) for each in (old, new))
        checkpoint.follow(older, newer)
        assert newer.time == older.time + 5


def test_a_second_sealer_waits_its_turn(rig: Rig) -> None:
    rig.sealer()
    with pytest.raises(Busy):
        Sealer(rig.session(ROLE), rig.directory, LOG).start()
    rig.sealer()
    rig.sound()


def test_a_read_only_database_is_named(rig: Rig) -> None:
    session = rig.session(ROLE)
    session.execute("SET default_transaction_read_only = on")
    with pytest.raises(Standby, match="read-only"):
        Sealer(session, rig.directory, LOG).start()


CHANGES: dict[str, Callable[[Rig], None]] = {
    "head": lambda rig: rig.tamper(
        "ALTER TABLE records.head DISABLE TRIGGER only_grows", "UPDATE records.head SET size = size + 1"
    ),
    "swallowed": lambda rig: rig.tamper(
        "CREATE FUNCTION public.eat() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER eat BEFORE INSERT ON records.access FOR EACH ROW EXECUTE FUNCTION public.eat()",
    ),
    "kept back": lambda rig: rig.tamper(
        "CREATE FUNCTION public.eat() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER eat BEFORE DELETE ON records.inbox FOR EACH ROW WHEN (OLD.id = 2) "
        "EXECUTE FUNCTION public.eat()",
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_who_meddles_with_a_batch_stops_it_and_nothing_is_lost(rig: Rig, how: str) -> None:
    one = rig.sealer()
    rig.write(3)
    CHANGES[how](rig)
    with pytest.raises(HeadChanged):
        one.seal()
    assert rig.rows("SELECT count(*) FROM records.inbox") == [(3,)]
    assert rig.rows("SELECT count(*) FROM records.access") == [(0,)]


def test_a_head_that_was_changed_while_nobody_sealed_is_not_taken_up(rig: Rig) -> None:
    rig.write(3)
    rig.sealer()
    rig.end_sealers()
    rig.tamper(
        "ALTER TABLE records.head DISABLE TRIGGER only_grows",
        "UPDATE records.head SET size = 2, range = (SELECT range FROM records.head WHERE ledger = 'governance') || "
        "substring(range for 32) WHERE ledger = 'access'",
    )
    with pytest.raises(HeadChanged, match="range"):
        rig.sealer()


def test_a_head_that_somebody_else_signed_is_not_taken_up(rig: Rig) -> None:
    rig.sealer()
    rig.end_sealers()
    other = rig.rows("SELECT note FROM records.head WHERE ledger = 'governance'")[0][0]
    rig.tamper(
        "ALTER TABLE records.head DISABLE TRIGGER only_grows",
        f"UPDATE records.head SET note = replace('{other}', E'\\ntime 1', E'\\ntime 2') WHERE ledger = 'governance'",
    )
    with pytest.raises(HeadChanged, match="not what this host signed"):
        rig.sealer()


def put_back(rig: Rig, between: Callable[[Sealer], None]) -> None:
    """A database from before `between`, as a restore leaves it."""
    rig.write(3)
    one = rig.sealer()
    saved = rig.rows("SELECT ledger::text, size, range, sealed, part, turn, note FROM records.head")
    between(one)
    rig.end_sealers()
    with rig.session(SUPERUSER) as admin:
        admin.execute("ALTER TABLE records.head DISABLE TRIGGER only_grows")
        for ledger, *head in saved:
            admin.execute(
                "UPDATE records.head SET (size, range, sealed, part, turn, note) = (%s, %s, %s, %s, %s, %s) "
                "WHERE ledger = %s::records.ledger",
                (*head, ledger),
            )


def test_a_database_from_before_a_batch_is_named(rig: Rig) -> None:
    def more(one: Sealer) -> None:
        rig.write(2)
        one.seal()

    put_back(rig, more)
    with pytest.raises(DatabaseOlder, match="had reached size 5, the database is at generation 1, size 3"):
        rig.sealer()


def test_a_database_from_before_a_change_of_keys_is_named(rig: Rig) -> None:
    put_back(rig, lambda _: rig.sealer() and None)
    with pytest.raises(KeysUnusable, match="put back to an older state"):
        rig.sealer()


def test_an_empty_database_beside_used_keys_is_named(rig: Rig) -> None:
    rig.write(1)
    rig.sealer()
    rig.end_sealers()
    rig.tamper(
        "SET session_replication_role = replica",
        *(f"ALTER TABLE records.{table} DISABLE TRIGGER ALL" for table in ("head", "log", "checkpoint")),
        *(f"DELETE FROM records.{table}" for table in ("head", "log", "checkpoint")),
    )
    with pytest.raises(DatabaseOlder, match="knows no such log"):
        rig.sealer()


@pytest.mark.parametrize("name", ["log.key", "access.keys"])
@pytest.mark.parametrize("content", [None, b"", b"x" * 31])
def test_lost_or_damaged_keys_are_named(rig: Rig, name: str, content: bytes | None) -> None:
    rig.sealer()
    rig.end_sealers()
    path = rig.directory / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(KeysUnusable, match=name):
        rig.sealer()


def test_the_verifier_key_in_the_database_is_that_of_the_log(rig: Rig) -> None:
    rig.sealer()
    (text, signed) = rig.rows(
        "SELECT log_key, note FROM records.log JOIN records.head USING (ledger, generation) WHERE ledger = 'access'"
    )[0]
    body = checkpoint.verify(note.parse(str(signed).encode()), VerifierKey.from_text(str(text)))
    checkpoint.begin(body)


@pytest.mark.parametrize("table", ["access", "governance", "part", "log", "checkpoint", "cut", "access_1202511"])
@pytest.mark.parametrize("what", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_what_is_sealed_is_only_added_also_for_a_superuser_in_replica_mode(rig: Rig, table: str, what: str) -> None:
    rig.write(1)
    rig.sealer()
    column = {"log": "origin", "checkpoint": "note", "cut": "size", "part": "first"}.get(table, "seq")
    admin = rig.session(SUPERUSER)
    admin.execute("SET session_replication_role = replica")
    with pytest.raises(psycopg.errors.RestrictViolation):
        admin.execute(what.format(f"records.{table}", column, column))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records.access SET act = 'x'", "DELETE FROM records.access", "TRUNCATE records.inbox",
        "UPDATE records.inbox SET act = 'x'", "DELETE FROM records.head",
        "DROP TABLE records.access_1202511",
        "SELECT records.drop_part('access', 1202511)", "UPDATE records.log SET origin = 'x'",
        "CREATE TABLE records.x ()", "SELECT * FROM accounts.subject",
        "INSERT INTO records.part VALUES ('access', 1, 1)",
        "UPDATE records.head SET size = size - 1 WHERE size > 0",
    ],
)  # fmt: skip
def test_the_sealer_itself_may_do_no_more_than_it_needs(rig: Rig, statement: str) -> None:
    rig.write(1)
    rig.sealer()
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RestrictViolation)):
        rig.session(ROLE).execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["sensmail-jobs", "sensmail-keyd"])
def test_nobody_else_takes_records_out_or_adds_sealed_ones(rig: Rig, role: str) -> None:
    rig.write(1)
    for statement in (
        "DELETE FROM records.inbox", "INSERT INTO records.access SELECT * FROM records.access",
        "SELECT records.make_part('access', 1202601, 0)", "UPDATE records.head SET size = 1",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rig.session(role).execute(statement)  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.RestrictViolation):
        rig.tamper("DELETE FROM records.inbox")


def test_a_partition_goes_only_before_a_cut_and_in_order(rig: Rig) -> None:
    rig.write(2)
    one = rig.sealer()
    rig.now += MONTH_US
    rig.write(2)
    one.seal()
    for part in (1202511, 1202512, 1202601):
        with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.UndefinedTable)):
            rig.tamper(f"SELECT records.drop_part('access', {part})")
    hashes = rig.rows("SELECT range FROM records.head WHERE ledger = 'access'")[0][0]
    assert isinstance(hashes, bytes)
    rig.session(SUPERUSER).execute(
        "INSERT INTO records.cut (ledger, generation, size, range, opening) VALUES ('access', 1, 2, %s, 0)",
        (_range_of(rig, 2),),
    )
    rig.tamper("SELECT records.drop_part('access', 1202511)")
    assert rig.rows("SELECT to_regclass('records.access_1202511'), count(*) FROM records.access") == [(None, 2)]
    found = rig.check()
    assert (found.findings, found.first, found.size) == ([], 2, 4)


def _range_of(rig: Rig, size: int) -> bytes:
    kept = rows.kept(rig.session("sensmail-jobs"), "access", 1202511, 0, size)
    grown = sealer.Range()
    grown.extend(list(map(entry.leaf_of, kept.lines, kept.salts)))
    return grown.to_bytes()


def test_openings_are_counted_in_the_inbox_the_ledger_and_above_the_cut(rig: Rig) -> None:
    keyd = rig.session("sensmail-keyd")
    for opening in (1, 2, 4):
        insert(keyd, [Entry("access", "open", opening=opening)])
    rig.sealer()
    insert(keyd, [Entry("access", "open", opening=6)])
    assert highest_opening(keyd) == 6
    assert missing_openings(keyd, 7) == [range(3, 4), range(5, 6), range(7, 8)]
    assert missing_openings(keyd, 5, after=3) == [range(5, 6)]
    rig.tamper("INSERT INTO records.cut (ledger, generation, size, range, opening) VALUES ('access', 1, 2, '', 4)")
    assert missing_openings(keyd, 7) == [range(5, 6), range(7, 8)]
    assert missing_openings(keyd, 3) == []
    rig.tamper("INSERT INTO records.cut (ledger, generation, size, range, opening) VALUES ('access', 1, 9, '', 9)")
    assert highest_opening(keyd) == 9
