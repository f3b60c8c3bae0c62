"""Deletion: what is over goes, files and all; what is not, or is held, stays; and everything is still proven."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from sensmail.ledger import Entry, highest_opening, insert, missing_openings
from sensmail.records import hold, note, prune, retention
from sensmail.records.errors import NotProven, RecordsError
from sensmail.records.hold import Criteria, Order
from sensmail.records.prune import Pruned
from sensmail.records.sealer import Sealer
from sensmail.records.verify import show
from sensmail.records.verify.whole import Held, verify

from .rig import Rig
from .test_check import FREE
from .test_verify import WITNESS_KEY, cosign, given, head

MONTH_US, DAY_US = 31 * 86400 * 1_000_000, 86400 * 1_000_000
MARK = "mark-of-an-old-record"
ORDER = Order("kim", "lawsuit 2026-1", "privacy_officer")


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A year and 366 days at the longest for access, five years for governance."""
    file = tmp_path / "policy.json"
    applied = {"access_log_retention": "P1Y", "access_right_retention": "P5Y"}
    file.write_text(json.dumps({"applied": applied | {"unwitnessed_deletion": "refused"}}))
    monkeypatch.setattr(retention, "POLICY", file)
    return file


@pytest.fixture
def year(rig: Rig, policy: Path) -> tuple[Rig, Sealer]:
    """Ten records a month from 2025-11 to 2027-01, two keys a month, each checkpoint cosigned."""
    made = rig.sealer()
    for number in range(15):
        rig.write(4, client=f"{MARK}-{number}", role="sensmail-keyd", opening=None)
        made.seal()
        cosign(rig)
        made = rig.sealer()
        with rig.session("sensmail-keyd") as keyd:
            insert(keyd, [Entry("access", "open", "lee", opening=6 * number + each + 1) for each in range(6)])
        made.seal()
        cosign(rig)
        rig.now += MONTH_US
    rig.now -= MONTH_US
    return rig, made


def now(rig: Rig) -> datetime:
    return datetime.fromtimestamp(rig.now / 1e6, UTC)


def pruned(rig: Rig, **change: object) -> Pruned:
    with rig.session(prune.ROLE) as session:
        return prune.prune(session, [WITNESS_KEY], now(rig), "timer", **change)  # type: ignore[arg-type]


def looked(rig: Rig, witnesses: bool = True) -> Pruned:
    with rig.session(prune.ROLE) as session:
        return prune.look(session, [WITNESS_KEY] if witnesses else [], now(rig))


def going(found: Pruned) -> list[list[int]]:
    return [[part.number for part in each.going] for each in found.plans]


def verified(rig: Rig, path: Path, *checkpoints: note.Note) -> str:
    sealer = rig.sealer()
    sealer.seal()
    cosign(rig)
    rig.export(path, sealer)
    found = verify(path, given(rig, witness=True, checkpoints=checkpoints))
    assert found.all() == [], show.text(found)
    return show.text(found)


def test_what_is_over_goes_and_the_rest_is_proven(year: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, _ = year
    last_year = head(rig)
    files = Path(str(rig.rows("SHOW data_directory")[0][0]))
    old = [
        files / str(rig.rows(f"SELECT pg_relation_filepath('records.access_{part}')")[0][0])
        for part in (1202511, 1202512)
    ]
    rig.tamper("CHECKPOINT")
    assert all(MARK.encode() in each.read_bytes() for each in old)
    planned = looked(rig)
    assert going(planned) == [[1202511, 1202512, 1202601], []]
    assert planned.plans[0].staying is not None
    assert planned.plans[0].staying.number == 1202602
    assert rig.rows("SELECT count(*) FROM records.access") == [(150,)]
    done = pruned(rig)
    assert going(done) == going(planned)
    assert rig.rows("SELECT min(seq), count(*) FROM records.access") == [(30, 120)]
    rig.tamper("CHECKPOINT")
    assert not any(each.exists() and each.read_bytes() for each in old)
    text = verified(rig, tmp_path / "bundle.zip", last_year)
    assert "kept 366 days" in text
    assert "120 (30 … 149)" in text
    rig.sound()
    assert rig.rows("SELECT count(*) FROM records.link")[0][0] == 3
    assert rig.rows(
        "SELECT account, detail->>'first', detail->>'count' FROM records.governance WHERE act = 'records.prune'"
    ) == [("timer", "0", "30")]


def test_it_goes_on_month_by_month(year: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, sealer = year
    first = note.parse(
        str(
            rig.rows("SELECT note FROM records.checkpoint WHERE ledger = 'access' AND size > 0 ORDER BY size")[0][0]
        ).encode()
    )
    for _ in range(3):
        pruned(rig)
        rig.write(1)
        sealer = rig.sealer()
        sealer.seal()
        cosign(rig)
        rig.now += MONTH_US
    assert rig.rows("SELECT size FROM records.cut WHERE ledger = 'access' ORDER BY size") == [(30,), (40,), (50,)]
    verified(rig, tmp_path / "bundle.zip", first)
    rig.sound()


def test_nothing_more_to_do_changes_nothing(year: tuple[Rig, Sealer]) -> None:
    rig, _ = year
    assert pruned(rig).changed
    rig.sealer()
    assert not looked(rig).changed
    assert not pruned(rig).changed
    assert rig.rows("SELECT count(*) FROM records.cut") == [(1,)]


def test_openings_before_the_cut_are_no_gap(year: tuple[Rig, Sealer]) -> None:
    rig, _ = year
    pruned(rig)
    assert rig.rows("SELECT opening FROM records.cut") == [(18,)]
    with rig.session("sensmail-keyd") as keyd:
        assert missing_openings(keyd, 90) == []
        assert missing_openings(keyd, 92) == [range(91, 93)]
        assert highest_opening(keyd) == 90


def test_only_what_a_witness_has_cosigned_goes(year: tuple[Rig, Sealer]) -> None:
    rig, _ = year
    rig.tamper("ALTER TABLE records.cosigned DISABLE TRIGGER USER", "DELETE FROM records.cosigned WHERE size > 25")
    found = looked(rig)
    assert going(found) == [[1202511, 1202512], []]
    assert "cosigned 24 records" in found.plans[0].why
    assert going(looked(rig, witnesses=False)) == [[], []]
    assert "unwitnessed_deletion" in looked(rig, witnesses=False).plans[0].why


def test_a_cosignature_of_somebody_else_is_none(year: tuple[Rig, Sealer]) -> None:
    rig, _ = year
    rig.tamper(
        "ALTER TABLE records.cosigned DISABLE TRIGGER USER",
        "UPDATE records.cosigned SET note = replace(note, 'witness.example', 'mallory.example')",
    )
    assert going(looked(rig)) == [[], []]


def test_a_policy_may_allow_deletion_without_a_witness(year: tuple[Rig, Sealer], policy: Path) -> None:
    rig, _ = year
    policy.write_text(policy.read_text().replace("refused", "allowed"))
    assert going(looked(rig, witnesses=False)) == [[1202511, 1202512, 1202601], []]
    rig.tamper("ALTER TABLE records.cosigned DISABLE TRIGGER USER", "DELETE FROM records.cosigned")
    assert going(looked(rig)) == [[], []]  # one is set up


def test_the_law_asks_more_from_fifty_thousand_persons_on(policy: Path) -> None:
    assert retention.load(49_999).days == {"access": 366, "governance": 1827}
    assert retention.load(50_000).days == {"access": 731, "governance": 1827}


def test_a_late_event_goes_with_the_month_that_sealed_it(rig: Rig, policy: Path) -> None:
    sealer = rig.sealer()
    rig.write(2)
    sealer.seal()
    rig.now += MONTH_US
    with rig.session("sensmail-jobs") as jobs:
        insert(jobs, [Entry("access", "late", "kim")])
    rig.tamper(
        "ALTER TABLE records.inbox DISABLE TRIGGER only_added",
        "UPDATE records.inbox SET acted_at = '2025-11-25 00:00Z'",
        "ALTER TABLE records.inbox ENABLE ALWAYS TRIGGER only_added",
    )  # fmt: skip
    sealer.seal()
    for _ in range(12):
        rig.now += MONTH_US
        sealer.seal()
    cosign(rig)
    assert going(pruned(rig))[0] == [1202511]
    assert rig.rows("SELECT act FROM records.access") == [("late",)]


def test_a_hold_keeps_what_matches_and_blocks_nothing(year: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, _ = year
    with rig.session("sensmail-jobs") as jobs:
        one = hold.place(jobs, Criteria(account="kim2@example.test", until=now(rig)), ORDER)
        other = hold.place(jobs, Criteria(account="lee", since=now(rig)), ORDER)  # matches nothing yet
    assert looked(rig).held == 3
    done = pruned(rig)
    assert done.held == 3
    assert going(done)[0] == [1202511, 1202512, 1202601]
    query = "SELECT seq, entry->>'client' FROM records.held WHERE account = entry->>'account' ORDER BY seq"
    assert rig.rows(query) == [(2, f"{MARK}-0"), (12, f"{MARK}-1"), (22, f"{MARK}-2")]
    assert "3 records under a legal hold" in verified(rig, tmp_path / "held.zip")
    with pytest.raises(psycopg.errors.RestrictViolation, match="a hold stands"):
        rig.tamper("DELETE FROM records.held")
    with rig.session("sensmail-jobs") as jobs:
        hold.release(jobs, other, ORDER)
        assert looked(rig).released == 0
        hold.release(jobs, one, ORDER)
        with pytest.raises(RecordsError, match="it was released"):
            hold.release(jobs, one, ORDER)
        assert [each.number for each in hold.holds(jobs) if each.released is None] == []
    assert looked(rig).released == 3
    assert pruned(rig).released == 3
    assert rig.rows("SELECT count(*) FROM records.held") == [(0,)]
    verified(rig, tmp_path / "released.zip")
    acts = "SELECT act, count(*) FROM records.governance GROUP BY act ORDER BY act"
    assert rig.rows(acts) == [("records.export", 2), ("records.hold", 2), ("records.prune", 1), ("records.release", 2)]


@pytest.mark.parametrize(
    ("criteria", "matches"),
    [
        (Criteria(subject=UUID(int=7)), True),
        (Criteria(subject=UUID(int=8)), False),
        (Criteria(account="kim"), True),
        (Criteria(account="Kim"), False),
        (Criteria(subject=UUID(int=7), account="lee"), False),
        (Criteria(since=datetime(2025, 11, 1, tzinfo=UTC), until=datetime(2025, 11, 30, tzinfo=UTC)), True),
        (Criteria(subject=UUID(int=7), until=datetime(2025, 11, 1, tzinfo=UTC)), False),
    ],
)
def test_every_criterion_that_is_given_must_match(rig: Rig, criteria: Criteria, matches: bool) -> None:
    with rig.session("sensmail-jobs") as jobs:
        hold.place(jobs, criteria, ORDER)
    query = "SELECT records.is_held(%s, 'kim', '2025-11-15 00:00Z')"
    assert rig.rows(query, UUID(int=7)) == [(matches,)]


def test_a_hold_needs_its_words(rig: Rig) -> None:
    jobs = rig.session("sensmail-jobs")
    with pytest.raises(RecordsError, match="nothing would ever"):
        hold.place(jobs, Criteria(), ORDER)
    with pytest.raises(RecordsError, match="approver"):
        hold.place(jobs, Criteria(account="kim"), Order("kim", "why", " "))
    with pytest.raises(RecordsError, match="ends before"):
        hold.place(jobs, Criteria(since=now(rig), until=now(rig) - timedelta(days=1)), ORDER)
    assert rig.rows("SELECT count(*) FROM records.hold") == [(0,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records.access SET origin = '192.0.2.9' WHERE seq = 12",
        "DELETE FROM records.access WHERE seq = 12",
        "DELETE FROM records.access WHERE seq >= 30 AND seq < 34",
        "UPDATE records.checkpoint SET note = replace(note, E'\\ntime ', E'\\ntime 1') WHERE ledger = 'access'",
    ],
)
def test_a_log_that_was_changed_is_not_pruned(year: tuple[Rig, Sealer], change: str) -> None:
    rig, _ = year
    rig.tamper(*FREE[:1], "ALTER TABLE records.checkpoint DISABLE TRIGGER USER", change)
    rig.tamper("ALTER TABLE records.cosigned DISABLE TRIGGER USER", "DELETE FROM records.cosigned WHERE size = 30")
    rows = rig.rows("SELECT count(*) FROM records.access")
    with pytest.raises(NotProven):
        pruned(rig)
    assert rig.rows("SELECT count(*) FROM records.access") == rows
    assert rig.rows("SELECT count(*) FROM records.cut") == [(0,)]


def test_only_one_role_drops_and_only_before_a_cut(year: tuple[Rig, Sealer]) -> None:
    rig, _ = year
    for role in ("sensmail-jobs", "sensmail-sealer", "sensmail-keyd"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), rig.session(role) as session:
            session.execute("SELECT records.drop_part('access', 1202511)")
    with rig.session(prune.ROLE) as session:
        with pytest.raises(psycopg.errors.RestrictViolation, match="not before a cut"):
            session.execute("SELECT records.drop_part('access', 1202511)")
        for statement in ("DELETE FROM records.access", "DROP TABLE records.access_1202511", "DELETE FROM records.cut"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)


def test_a_deletion_that_nobody_recorded_is_found(year: tuple[Rig, Sealer], tmp_path: Path) -> None:
    """A superuser who can compute a range cuts by hand, and does it right; but the governance ledger knows nothing."""
    rig, _ = year
    pruned(rig)
    rig.tamper(
        "ALTER TABLE records.inbox DISABLE TRIGGER USER", "DELETE FROM records.inbox WHERE act = 'records.prune'"
    )
    sealer = rig.sealer()
    cosign(rig)
    rig.export(tmp_path / "bundle.zip", sealer)
    found = verify(tmp_path / "bundle.zip", given(rig, witness=True))
    assert [each.code for each in found.all()] == ["cut_unrecorded"]


def test_a_deletion_before_its_time_is_found(year: tuple[Rig, Sealer], policy: Path, tmp_path: Path) -> None:
    rig, _ = year
    shorter = retention.Terms({"access": 30, "governance": 1827}, unwitnessed=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "load", lambda *_: shorter)
        pruned(rig)
    rig.tamper(
        "ALTER TABLE records.inbox DISABLE TRIGGER USER",
        "UPDATE records.inbox SET detail = detail || '{\"days\": 366}' WHERE act = 'records.prune'",
    )
    sealer = rig.sealer()
    cosign(rig)
    rig.export(tmp_path / "bundle.zip", sealer)
    found = verify(tmp_path / "bundle.zip", given(rig, witness=True))
    assert [each.code for each in found.all()] == ["cut_early"], show.text(found)
    assert verify(tmp_path / "bundle.zip", Held()).logs[0].cuts[0].days == 366


def test_a_prune_that_waits_for_a_hold_sees_it(year: tuple[Rig, Sealer]) -> None:
    rig, _ = year
    jobs = rig.session("sensmail-jobs")
    with ThreadPoolExecutor(1) as pool:
        with jobs.transaction():
            hold.place(jobs, Criteria(account="kim2@example.test"), ORDER)
            waiting = pool.submit(pruned, rig)
            query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sensmail-prune' AND wait_event = 'advisory'"
            end = time.monotonic() + 20
            while rig.rows(query) != [(1,)] and time.monotonic() < end:
                time.sleep(0.01)
            assert not waiting.done()
        assert waiting.result(30).held == 3


def test_a_reader_delays_a_prune_and_ends_nothing(year: tuple[Rig, Sealer], monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits the sealer gets its turn; in the end everything is as before."""
    rig, sealer = year
    monkeypatch.setattr(prune, "_LOCK_WAIT", "50ms")
    monkeypatch.setattr(prune, "_PAUSE_S", 0.01)
    monkeypatch.setattr(prune, "_TRIES", 3)
    reader = rig.session("sensmail-jobs")
    with reader.transaction():
        reader.execute("SELECT count(*) FROM records.access")
        with pytest.raises(RecordsError, match="stayed in use"):
            pruned(rig)
        sealer.seal()
    assert rig.rows("SELECT (SELECT count(*) FROM records.cut), (SELECT count(*) FROM records.access)") == [(0, 150)]
    assert pruned(rig).changed


LINKS = {
    "a proof changed": "UPDATE records.link SET proof = overlay(proof PLACING sha256('x') FROM 1) WHERE size = 14",
    "a proof gone": "DELETE FROM records.link WHERE size = 14",
    "a checkpoint of another tree": "UPDATE records.link SET proof = (SELECT proof FROM records.link WHERE size = 24) "
    "WHERE size = 14",
}


@pytest.mark.parametrize("what", LINKS)
def test_a_checkpoint_that_no_longer_links_is_found(year: tuple[Rig, Sealer], tmp_path: Path, what: str) -> None:
    rig, _ = year
    pruned(rig)
    rig.tamper("ALTER TABLE records.link DISABLE TRIGGER USER", LINKS[what])
    sealer = rig.sealer()
    cosign(rig)
    rig.export(tmp_path / "bundle.zip", sealer)
    found = verify(tmp_path / "bundle.zip", given(rig, witness=True))
    assert {each.code for each in found.all()} == {"link"}
    assert "the checkpoint at size 14" in show.text(found)


@pytest.mark.parametrize("column", ["range", "proof"])
def test_a_cut_that_is_not_that_of_the_log_is_found(year: tuple[Rig, Sealer], tmp_path: Path, column: str) -> None:
    rig, _ = year
    pruned(rig)
    change = f"UPDATE records.cut SET {column} = overlay({column} PLACING sha256('x') FROM 1)"
    rig.tamper("ALTER TABLE records.cut DISABLE TRIGGER USER", change)
    rig.export(tmp_path / "bundle.zip")
    found = verify(tmp_path / "bundle.zip", given(rig))
    assert "cut" in {each.code for each in found.all()}, show.text(found)


def test_a_held_record_that_was_changed_is_found(year: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, _ = year
    with rig.session("sensmail-jobs") as jobs:
        hold.place(jobs, Criteria(account="kim2@example.test"), ORDER)
    pruned(rig)
    rig.tamper(
        "ALTER TABLE records.held DISABLE TRIGGER USER",
        "UPDATE records.held SET entry = replace(entry::text, '192.0.2.1', '192.0.2.2')::json WHERE seq = 12",
    )
    sealer = rig.sealer()
    cosign(rig)
    rig.export(tmp_path / "bundle.zip", sealer)
    found = verify(tmp_path / "bundle.zip", given(rig, witness=True))
    assert [(each.code, each.facts["number"]) for each in found.all()] == [("held", 12)]
    assert found.logs[0].held == 2
