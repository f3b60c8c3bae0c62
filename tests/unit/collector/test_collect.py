"""Each line once: real journal files, the real journalctl, a real PostgreSQL, and kills in between."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sensmail.records.collector.clock import Clock
from sensmail.records.collector.collect import MOST_LINES, Collector
from sensmail.records.collector.names import Names
from sensmail.records.collector.store import ROLE, Overtaken, Store
from sensmail.store import SUPERUSER, Connection, Settings, connect
from unit.collector.conftest import HOST, KEY, LOGGER, SSHD, JournalFiles, login

Session = Callable[[str], Connection]
PATIENCE_S = 60.0


def logins(first: int, last: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines that become one record each, told apart by what stands as method."""
    return ((login(number), dict(SSHD)) for number in range(first, last + 1))


def rows(session: Connection, what: str = "detail->>'method'", where: str = "act = 'ssh.login'") -> list[Any]:
    return [
        each[0] for each in session.execute(f"SELECT {what} FROM records.inbox WHERE {where} ORDER BY id").fetchall()
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.05)


def collect(files: JournalFiles, session: Session, until: Callable[[], bool]) -> None:
    """Collect in a thread until `until` holds."""
    stop = threading.Event()
    collector = Collector(Store(session(ROLE), HOST), Names(KEY), Clock(), files.options)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            collector.run(stop.is_set)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: bool(failed) or until())
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    if failed:
        raise failed[0]


def expect(files: JournalFiles, session: Session, number: int) -> None:
    admin = session(SUPERUSER)
    collect(files, session, lambda: len(rows(admin)) >= number)
    assert rows(admin) == [f"key{each}" for each in range(1, number + 1)], "each once, in order"


def test_each_line_once_over_several_runs(files: JournalFiles, session: Session) -> None:
    for first, last in ((1, 10), (11, 11), (12, 3000)):
        files.write(logins(first, last))
        expect(files, session, last)
    assert rows(session(SUPERUSER), "act", "act LIKE 'journal.%'") == ["journal.begin"]


def test_lines_that_come_while_it_follows(files: JournalFiles, session: Session) -> None:
    files.write(logins(1, 5))
    admin = session(SUPERUSER)

    def until() -> bool:
        seen = len(rows(admin))
        if seen == 5 and files.written == 5:
            files.write(logins(6, 9))
        return seen == 9

    collect(files, session, until)


def test_what_a_record_holds(files: JournalFiles, session: Session) -> None:
    files.write([(login(1), SSHD), ("Failed password for hunter2 from ::1 port 1 ssh2", SSHD)])
    files.write([(login(2), LOGGER | {"SYSLOG_IDENTIFIER": "sshd"}), ("x" * 9000, SSHD), (b"Failed \xff\0", SSHD)])  # type: ignore[list-item]
    admin = session(SUPERUSER)
    collect(files, session, lambda: len(rows(admin, "act", "act = 'journal.refused'")) == 3)
    first = admin.execute(
        "SELECT account, origin, purpose, outcome, unit, clock, at - acted_at BETWEEN '59 min' AND '61 min' FROM "
        "records.inbox WHERE act = 'ssh.login' ORDER BY id LIMIT 1"
    ).fetchone()
    assert first == ("root", "192.0.2.7", "administration", "done", "ssh.service", "unknown", True)
    reasons = rows(admin, "detail->>'reason'", "act = 'journal.refused'")
    assert sorted(reasons) == [
        "claims to be of sshd, and is not by its unit, program and user",
        "sshd: a line of more than 4096 bytes",
        "sshd: a login or its end in another form than known",
    ]
    whole = admin.execute("SELECT string_agg(inbox::text, ' ') FROM records.inbox").fetchone()
    assert whole
    assert "hunter2" not in whole[0]


def test_a_number_left_out_is_a_gap(files: JournalFiles, session: Session) -> None:
    files.write(logins(1, 20))
    files.leave_out(after=10, by=7)
    expect(files, session, 20)
    gaps = rows(session(SUPERUSER), "detail", "act = 'journal.gap'")
    assert [{key: gap[key] for key in ("first", "last", "count")} for gap in gaps] == [
        {"first": 11, "last": 17, "count": 7}
    ]


def test_a_file_that_was_rotated_away_is_a_gap(files: JournalFiles, session: Session) -> None:
    files.write(logins(1, 10))
    expect(files, session, 10)
    (files.directory / "one.journal").unlink()
    files.write(logins(11, 12), file="two")
    expect(files, session, 12)
    gaps = rows(session(SUPERUSER), "detail", "act = 'journal.gap'")
    assert [gap["reason"] for gap in gaps] == ["the last line that was read is no longer there"]
    assert gaps[0]["from"] <= gaps[0]["to"]


def test_a_second_collector_of_the_host_writes_nothing(files: JournalFiles, session: Session) -> None:
    files.write(logins(1, 5))
    late = Store(session(ROLE), HOST)
    expect(files, session, 5)
    place = Store(session(ROLE), HOST).place
    assert place is not None
    with pytest.raises((Overtaken, psycopg.errors.UniqueViolation)):
        late.write([], place, {})
    stale = Store(session(ROLE), HOST)
    files.write(logins(6, 7))
    expect(files, session, 7)
    with pytest.raises(Overtaken):
        stale.write([], place, {})


def test_records_and_place_are_kept_together_or_not_at_all(files: JournalFiles, session: Session) -> None:
    files.write(logins(1, 5))
    admin = session(SUPERUSER)
    admin.execute("ALTER TABLE records.journal_position ADD CHECK (false)")
    with pytest.raises(psycopg.errors.CheckViolation):
        expect(files, session, 5)
    assert rows(admin) == [], "no record without its place"
    admin.execute("ALTER TABLE records.journal_position DROP CONSTRAINT journal_position_check")
    expect(files, session, 5)


def test_a_record_that_the_database_does_not_take_stops_nothing(files: JournalFiles, session: Session) -> None:
    files.write(logins(1, 5))
    admin = session(SUPERUSER)
    admin.execute("ALTER TABLE records.inbox ADD CHECK (detail->>'method' IS DISTINCT FROM 'key3')")
    collect(files, session, lambda: "key5" in rows(admin))
    assert rows(admin) == ["key1", "key2", "key4", "key5"]
    assert len(rows(admin, "id", "act = 'journal.refused'")) == 1


def test_it_may_add_records_and_see_addresses_and_nothing_else(session: Session) -> None:
    them = session(ROLE)
    assert them.execute("SELECT count(*) FROM records.known_address").fetchone() == (0,)
    for statement in (
        "SELECT account FROM records.inbox", "SELECT * FROM accounts.subject", "SELECT * FROM mail.app_password",
        "DELETE FROM records.journal_position", "INSERT INTO records.inbox (opening) VALUES (1)",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            them.execute(statement)


def test_reads_of_every_personal_table_are_noted_also_of_partitions_to_come(session: Session) -> None:
    admin = session(SUPERUSER)
    admin.execute("SELECT records.make_part('access', 1202611, 0)")
    noted = "SELECT has_table_privilege('sensmail_audit', %s, 'SELECT')"
    for table in ("accounts.subject", "records.inbox", "records.access", "records.access_1202611"):
        assert admin.execute(noted, (table,)).fetchone() == (True,), table


@contextmanager
def process(files: JournalFiles, settings: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        str(Path(__file__).with_name("collecting.py")),
        str(settings),
        str(files.directory),
        HOST,
    ]
    with (settings.parent / "log").open("ab") as log:
        child = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_points_of_a_burst_it_loses_and_doubles_nothing(
    files: JournalFiles, database: Settings, tmp_path: Path, seed: int
) -> None:
    """100,000 lines; kill -9 of the collector, and of its session as a restart of PostgreSQL ends it."""
    chance, lines = random.Random(seed), 100_000 if seed == 1 else 20_000
    settings = tmp_path / "engine.toml"
    settings.write_text(f'[database]\nhost = "{database.host}"\nport = {database.port}\nname = "{database.name}"\n')
    files.write(logins(1, lines))
    with connect(SUPERUSER, settings=database) as admin:
        for _ in range(12):
            with process(files, settings):
                before = len(rows(admin))
                wait_for(lambda before=before: len(rows(admin, "id")) > before or before >= lines)  # type: ignore[misc]
                time.sleep(chance.random() * 0.5)
                if chance.random() < 0.5:
                    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (ROLE,))
                    time.sleep(chance.random() * 0.5)
        with process(files, settings):
            wait_for(lambda: len(rows(admin, "id")) >= lines)
            time.sleep(1)
        found = Counter(rows(admin))
        assert not [key for key, times in found.items() if times > 1], "none doubled"
        assert found.keys() == {f"key{number}" for number in range(1, lines + 1)}, "none lost"
        assert rows(admin, "act", "act = 'journal.gap'") == []
    assert lines > MOST_LINES * 5, "many transactions"
