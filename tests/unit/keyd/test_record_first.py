"""No plaintext without a record: whatever happens to the caller, the service or the database, or a superuser does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import BadRequest, Unavailable
from sensmail.keyd.protocol import Actor, Sealed, Sealing
from sensmail.ledger import missing_openings
from sensmail.store import SUPERUSER, connect

from .conftest import ACTOR, EMAIL, Site

Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def value(keys: KeyService) -> Sealed:
    [subject] = keys.new_subjects()
    return Sealed(
        subject, EMAIL, row_key(subject), keys.seal([Sealing(subject, EMAIL, row_key(subject), b"secret")])[0]
    )


def gaps(site: Site, through: int) -> list[range]:
    with connect("sensmail-keyd", settings=site.database) as connection:
        return missing_openings(connection, through)


def trigger(site: Site, timing: str, body: str) -> None:
    with site.superuser() as admin:
        admin.execute(
            "CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
            f"$$ BEGIN {body}; END $$;"
            f"CREATE TRIGGER a {timing} INSERT ON records.inbox FOR EACH ROW EXECUTE FUNCTION public.meddle()"
        )


def test_a_callers_rollback_takes_no_record_back(site: Site, keys: KeyService, value: Sealed) -> None:
    with connect("sensmail-jobs", settings=site.database) as caller, caller.transaction(force_rollback=True):
        assert keys.open(value, "own_data", ACTOR) == b"secret"
    assert site.rows() == [("open", "done", 1)]


@pytest.mark.parametrize("how", ["BEGIN; LOCK TABLE records.inbox", "SELECT pg_advisory_lock(1)"])
def test_kill_9_between_record_and_answer(site: Site, value: Sealed, until: Until, how: str) -> None:
    """The record is held up on its way: before it is written, and after. Neither way an answer was given."""
    if "advisory" in how:
        trigger(site, "AFTER", "PERFORM pg_advisory_xact_lock(1); RETURN NULL")
    holder, watcher = site.superuser(), site.superuser()
    holder.execute(how)
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(KeyService(site.socket).open(value, "own_data", ACTOR))
        except Unavailable as error:
            answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'sensmail-keyd' "
        "AND datname = current_database()"
    )
    until(lambda: watcher.execute(waiting).fetchone() == (1,))
    site.stop(signal.SIGKILL)
    asking.join()
    holder.close()
    [answer] = answers
    assert isinstance(answer, Unavailable)
    assert "secret" not in str(answer)
    until(lambda: watcher.execute(waiting.replace("wait_event_type = 'Lock' AND", "")).fetchone() == (0,))
    watcher.close()
    site.start()
    until(lambda: site.client().status().settled > 0)
    numbers = [row[2] for row in site.rows()]
    assert numbers == list(range(1, len(numbers) + 1)), "every number that was issued has its record, void or not"
    assert site.rows()[1:] == [("open", "void", number) for number in numbers[1:]]
    assert site.client().open(value, "own_data", ACTOR) == b"secret"
    assert gaps(site, site.client().status().settled) == []


def test_a_killed_database_session_is_replaced_without_anybody_noticing(
    site: Site, keys: KeyService, value: Sealed
) -> None:
    keys.open(value, "own_data", ACTOR)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sensmail-keyd'"
    for _ in range(3):
        with site.superuser() as admin:
            assert admin.execute(kill).fetchall()
        assert keys.open(value, "own_data", ACTOR) == b"secret"
    assert [row[1] for row in site.rows()].count("done") == 4
    assert gaps(site, keys.status().settled) == []


def test_no_database_no_plaintext_and_it_goes_on_when_it_is_back(site: Site, keys: KeyService, value: Sealed) -> None:
    name = site.database.name
    with connect(SUPERUSER, settings=site.database, database="postgres") as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        for _ in range(2):
            with pytest.raises(Unavailable, match="nothing was opened"):
                keys.open(value, "own_data", ACTOR)
        for refused in (lambda: keys.roll("kim", "why"), lambda: keys.retire("kim", "why")):
            with pytest.raises(Unavailable):
                refused()
        with pytest.raises(Unavailable):
            keys.destroy_subjects([value.subject], "kim", "why", "privacy_officer")
        with pytest.raises(Unavailable):
            keys.reseal([value], "job")
        assert keys.status().epoch == 1
        assert "connected" not in keys.status().database
        with pytest.raises(Unavailable):
            keys.new_subjects()
        with pytest.raises(Unavailable):
            keys.adopt([uuid4()])
        assert keys.status().counts["subjects"] == 1
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert keys.open(value, "own_data", ACTOR) == b"secret"
    assert gaps(site, keys.status().settled) == []


def test_a_read_only_session_is_refused(site: Site, keys: KeyService, value: Sealed) -> None:
    with site.superuser() as admin:
        admin.execute('ALTER ROLE "sensmail-keyd" SET default_transaction_read_only = on')
    try:
        site.stop()
        site.start()
        with pytest.raises(Unavailable, match="read-only"):
            keys.open(value, "own_data", ACTOR)
    finally:
        with site.superuser() as admin:
            admin.execute('ALTER ROLE "sensmail-keyd" RESET default_transaction_read_only')
    assert site.rows() == []


def test_records_are_durable_whatever_the_defaults(site: Site, keys: KeyService, value: Sealed) -> None:
    """The cluster of these tests has synchronous_commit off; a trigger tells what the service's session has."""
    trigger(site, "BEFORE", "NEW.client := current_setting('synchronous_commit'); RETURN NEW")
    keys.open(value, "own_data", ACTOR)
    assert site.rows("client") == [("on",)]


def test_a_swallowed_record_opens_nothing(site: Site, keys: KeyService, value: Sealed) -> None:
    trigger(site, "BEFORE", "RETURN NULL")
    with pytest.raises(Unavailable, match="look for triggers and rules"):
        keys.open(value, "own_data", ACTOR)
    with pytest.raises(Unavailable):
        keys.roll("kim", "why")
    with site.superuser() as admin:
        admin.execute("DROP TRIGGER a ON records.inbox")
    assert keys.open(value, "own_data", ACTOR) == b"secret"
    assert site.rows() == [("open", "done", 1)], "the number of the swallowed record is used again"


@pytest.mark.parametrize("how", ["trigger", "delete"])
def test_a_record_that_a_superuser_removes_leaves_a_gap(site: Site, keys: KeyService, value: Sealed, how: str) -> None:
    with site.superuser() as admin:
        admin.execute("ALTER TABLE records.inbox DISABLE TRIGGER only_added")
        if how == "trigger":
            trigger(site, "AFTER", "DELETE FROM records.inbox WHERE id = NEW.id AND NEW.opening = 2; RETURN NULL")
        for _ in range(3):
            keys.open(value, "own_data", ACTOR)
        if how == "delete":
            admin.execute("SET session_replication_role = replica")
            admin.execute("DELETE FROM records.inbox WHERE opening = 2")
    assert gaps(site, keys.status().settled) == [range(2, 3)]


def test_a_number_taken_by_somebody_else_stops_nothing(site: Site, keys: KeyService, value: Sealed) -> None:
    with site.superuser() as admin:
        admin.execute(
            "INSERT INTO records.inbox (ledger, act, account, origin, client, purpose, outcome, unit, opening, detail) "
            "SELECT 'access', 'forged', '', '', '', '', 'done', '', n, '{}' FROM generate_series(1, 2) n"
        )
    answers = []
    for _ in range(3):
        try:
            answers.append(keys.open(value, "own_data", ACTOR))
        except Unavailable:
            answers.append(b"")
    assert answers[-1] == b"secret"
    assert [row[1] for row in site.rows()].count("done") == 2 + len([each for each in answers if each])
    assert gaps(site, keys.status().settled) == []


def test_records_that_the_database_refuses_harm_nobody_else(site: Site, value: Sealed, until: Until) -> None:
    with site.superuser() as admin:
        admin.execute("ALTER TABLE records.inbox ADD CHECK (account <> 'mallory')")
    results: dict[str, object] = {}

    def ask(name: str) -> None:
        for _ in range(20):
            try:
                results[name] = KeyService(site.socket).open(value, "own_data", Actor(name))
            except BadRequest as error:
                results[name] = type(error)

    asking = [threading.Thread(target=ask, args=(name,)) for name in ("mallory", "kim", "lee", "park")]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert results == {"mallory": BadRequest, "kim": b"secret", "lee": b"secret", "park": b"secret"}
    assert [row[1] for row in site.rows()].count("done") == 60
    site.stop()
    site.start()
    until(lambda: (status := site.client().status()).issued == status.settled)
    through = site.client().status().settled
    assert through in range(60, 63), "what was refused was given back, and used but for what came back last"
    assert sorted(row[2] for row in site.rows()) == list(range(1, through + 1))


def test_one_slow_record_holds_up_no_other_and_settles_last(site: Site, value: Sealed, until: Until) -> None:
    """Records are committed in parallel. A crash then leaves no gap below those that were kept."""
    trigger(site, "AFTER", "IF NEW.account = 'slow' THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN NULL")
    holder, watcher = site.superuser(), site.superuser()
    holder.execute("SELECT pg_advisory_lock(1)")
    slow: list[object] = []

    def ask() -> None:
        try:
            slow.append(KeyService(site.socket).open(value, "own_data", Actor("slow")))
        except Unavailable as error:
            slow.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = "
    until(lambda: watcher.execute(f"{waiting} current_database()").fetchone() == (1,))
    with site.client() as keys:
        for _ in range(3):
            assert keys.open(value, "own_data", ACTOR) == b"secret"
        assert not slow
        assert keys.status().settled == 0, "number 1 has no record yet"
    site.stop(signal.SIGKILL)
    asking.join()
    assert isinstance(slow[0], Unavailable)
    holder.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE usename = 'sensmail-keyd' AND datname = current_database()"
    )
    site.start()
    until(lambda: site.client().status().settled > 0)
    rows = {row[2]: row[1] for row in site.rows()}
    assert [rows[number] for number in range(1, 5)] == ["void", "done", "done", "done"]
    assert gaps(site, site.client().status().settled) == []
    holder.close()
    watcher.close()


def test_sessions_that_are_all_lost_at_once_leave_no_gap(site: Site, value: Sealed, until: Until) -> None:
    """Each writer is in the middle of a commit when its session is ended; both then settle what is in doubt."""
    until(lambda: site.client().status().database == "connected")
    trigger(site, "AFTER", "PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL")
    holder, watcher = site.superuser(), site.superuser()
    holder.execute("SELECT pg_advisory_lock(1)")
    answers: list[bytes] = []
    asking = [
        threading.Thread(target=lambda: answers.append(KeyService(site.socket).open(value, "own_data", ACTOR)))
        for _ in range(2)
    ]
    own = "FROM pg_stat_activity WHERE usename = 'sensmail-keyd' AND datname = current_database()"
    waiting = f"SELECT count(*) {own} AND wait_event_type = 'Lock'"
    for number, each in enumerate(asking, 1):
        each.start()
        until(lambda number=number: watcher.execute(waiting).fetchone() == (number,))
    watcher.execute(f"SELECT pg_terminate_backend(pid) {own}")
    holder.close()
    watcher.close()
    for each in asking:
        each.join()
    assert answers == [b"secret", b"secret"], "each was recorded over a new session"
    with site.client() as keys:
        assert gaps(site, keys.status().settled) == []
        assert [row[1] for row in site.rows()].count("void") == 2
        assert "fault of this program" not in site.log


def test_a_clean_stop_gives_unused_numbers_back(site: Site, keys: KeyService, value: Sealed) -> None:
    for _ in range(3):
        keys.open(value, "own_data", ACTOR)
        assert site.stop() == 0
        site.start()
    assert [row[2] for row in site.rows()] == [1, 2, 3]
    status = keys.status()
    assert (status.issued, status.settled) == (3, 3)


def test_a_hundred_clients_at_once(site: Site, keys: KeyService, until: Until) -> None:
    subjects = keys.new_subjects(100)
    envelopes = keys.seal([Sealing(each, EMAIL, row_key(each), each.bytes) for each in subjects])
    wrong: list[UUID] = []

    def ask(subject: UUID, envelope: bytes) -> None:
        with KeyService(site.socket) as mine:
            for _ in range(5):
                found = mine.open(Sealed(subject, EMAIL, row_key(subject), envelope), "own_data", ACTOR)
                if found != subject.bytes:
                    wrong.append(subject)

    asking = [threading.Thread(target=ask, args=pair) for pair in zip(subjects, envelopes, strict=True)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert not wrong
    rows = site.rows("opening, subject_id")
    assert sorted(row[0] for row in rows) == list(range(1, 501))
    assert {each: [row[1] for row in rows].count(each) for each in subjects} == dict.fromkeys(subjects, 5)
