"""The runner: order, one transaction a file, and refusal of what was edited or is unknown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from sensmail.store import SUPERUSER, Connection, StoreError, migrate
from sensmail.store.migrate import Applied, Migration

Open = Callable[[str], Connection]
BUILT_IN = migrate.available()


def _next(text: str, offset: int = 1) -> Migration:
    number = len(BUILT_IN) + offset
    return Migration(number, f"{number:04d}_test.sql", text)


def _row(file: Migration) -> Applied:
    return Applied(file.number, file.name, file.sha256, datetime(2026, 1, 2, tzinfo=UTC))


def test_everything_is_applied_once(session: Open) -> None:
    admin = session(SUPERUSER)
    assert [row.name for row in migrate.applied(admin)] == [file.name for file in BUILT_IN]
    assert migrate.run(admin) == ()


def test_new_file_is_applied_as_the_owner(session: Open) -> None:
    admin = session(SUPERUSER)
    files = [*BUILT_IN, _next("CREATE TABLE accounts.probe (id int)")]
    assert migrate.run(admin, files) == (files[-1],)
    owner = admin.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'probe'").fetchone()
    assert owner == ("sensmail_owner",)


def test_failed_file_leaves_nothing_and_the_next_run_resumes(session: Open) -> None:
    admin = session(SUPERUSER)
    first, broken = (
        _next("CREATE TABLE accounts.one (id int)"),
        _next("CREATE TABLE accounts.two (id int); SELECT 1/0", 2),
    )
    with pytest.raises(StoreError, match=rf"{broken.name} was rolled back: division by zero"):
        migrate.run(admin, [*BUILT_IN, first, broken])
    assert admin.execute("SELECT to_regclass('accounts.one') IS NOT NULL, to_regclass('accounts.two')").fetchone() == (
        True,
        None,
    )
    mended = _next("CREATE TABLE accounts.two (id int)", 2)
    assert migrate.run(admin, [*BUILT_IN, first, mended]) == (mended,)


def test_killed_in_the_middle_of_a_file(session: Open) -> None:
    admin, victim = session(SUPERUSER), session(SUPERUSER)
    slow = _next("CREATE TABLE accounts.three (id int); SELECT pg_sleep(60)")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            migrate.run(victim, [*BUILT_IN, slow])
        except StoreError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    while admin.execute(sleeping).fetchone() is None:
        assert thread.is_alive()
    admin.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
    thread.join(timeout=10)
    assert failures
    assert admin.execute("SELECT to_regclass('accounts.three')").fetchone() == (None,)
    quick = _next("CREATE TABLE accounts.three (id int)")
    assert migrate.run(admin, [*BUILT_IN, quick]) == (quick,)


def test_two_runs_at_once_apply_each_file_once(session: Open) -> None:
    files = [*BUILT_IN, _next("CREATE TABLE accounts.race (id int); SELECT pg_sleep(0.2)")]
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda connection=connection: results.append(len(migrate.run(connection, files))))
        for connection in (session(SUPERUSER), session(SUPERUSER))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(results) == [0, 1]


def test_another_run_that_never_ends_is_named(session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, waiter = session(SUPERUSER), session(SUPERUSER)
    monkeypatch.setattr(migrate, "_LOCK_WAIT", "50ms")
    holder.execute("SELECT pg_advisory_lock(%s)", (migrate._LOCK_KEY,))
    with pytest.raises(StoreError, match="another migration run is at work"):
        migrate.run(waiter)
    holder.execute("SELECT pg_advisory_unlock(%s)", (migrate._LOCK_KEY,))
    assert migrate.run(waiter) == ()


def test_edited_file_is_refused() -> None:
    file = _next("SELECT 1")
    edited = Migration(file.number, file.name, "SELECT 2")
    with pytest.raises(StoreError, match=r"differs from .* applied at 2026-01-02 .* put the change into a new one"):
        migrate.pending([*BUILT_IN, edited], [*map(_row, BUILT_IN), _row(file)])


def test_unknown_newer_migration_is_refused() -> None:
    with pytest.raises(StoreError, match="does not know: it was deployed by a newer release"):
        migrate.pending(BUILT_IN, [*map(_row, BUILT_IN), _row(_next("SELECT 1"))])


def test_hole_in_the_register_is_refused() -> None:
    files = [*BUILT_IN, _next("SELECT 1"), _next("SELECT 2", 2)]
    with pytest.raises(StoreError, match=r"register store\.migration was altered by hand"):
        migrate.pending(files, [*map(_row, BUILT_IN), _row(files[-1])])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a.sql", "0003_b.sql"], "0003_b.sql: number 0002 was expected"),
        (["0001_a.sql", "0001_b.sql"], "0001_b.sql: number 0002 was expected"),
        (["1_a.sql"], "name it NNNN_words.sql"),
    ],
)
def test_badly_numbered_files_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(StoreError, match=message):
        migrate.available(tmp_path)


def test_mail_roles_cannot_touch_the_register(session: Open) -> None:
    for role in ("postfix", "dovecot", "sensmail-jobs"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session(role).execute("SELECT * FROM store.migration")
