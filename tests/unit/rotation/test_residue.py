"""Plaintext in the files of the server: none in table, index and statistics after protect, in WAL only from before."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.rotation.conftest import People

from sensmail.keyd.client import KeyService
from sensmail.rotation import residue
from sensmail.rotation.errors import Busy
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import protect
from sensmail.store import Connection, Settings

CANARIES = 400


@pytest.fixture
def canaries(people: People) -> list[bytes]:
    """Values that are found nowhere else; an index and statistics hold other columns, and a few of them often."""
    names = [f"canary-{secrets.token_hex(8)}" for _ in range(CANARIES)]
    people.make(0)
    for name in names:
        people.admin.execute(
            "INSERT INTO people (subject, phone, note) SELECT gen_random_uuid(), %s, %s FROM generate_series(1, 5)",
            (name, name.encode()),
        )
    people.admin.execute("ANALYZE people")
    people.admin.execute("CHECKPOINT")
    return [name.encode() for name in names]


def files(where: Settings, folder: str) -> Iterator[Path]:
    return (path for path in (Path(where.host) / "data" / folder).rglob("*") if path.is_file())


def found(where: Settings, folder: str, canaries: list[bytes]) -> dict[str, int]:
    """How many of the canaries each file holds."""
    wanted, pattern = set(canaries), re.compile(rb"canary-[0-9a-f]{16}")
    counts = {path.name: len(wanted & set(pattern.findall(path.read_bytes()))) for path in files(where, folder)}
    return {name: count for name, count in counts.items() if count}


def test_no_plaintext_in_any_file_of_the_table(
    people: People, canaries: list[bytes], sessions: Sessions, keys: KeyService, quiet: Progress, database: Settings
) -> None:
    assert sum(found(database, "base", canaries).values()) >= CANARIES
    protect(sessions, keys, people.wanted(), quiet, rewrite=False)
    people.admin.execute("VACUUM people")
    people.admin.execute("CHECKPOINT")
    assert sum(found(database, "base", canaries).values()) > 0  # sealing alone leaves old rows and statistics behind

    (done,) = protect(sessions, keys, people.wanted(), quiet)
    assert found(database, "base", canaries) == {}
    assert done.protected_from["phone"] is not None
    assert canaries_in_new_wal(people, database, canaries) == 0

    # Old WAL files are renamed and written over as time goes on; until then they keep what was in them.
    people.admin.execute("CHECKPOINT")
    assert sum(found(database, "pg_wal", canaries).values()) >= CANARIES
    for _ in range(30):
        people.admin.execute(
            "CREATE TABLE noise AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 14000) AS n"
        )
        people.admin.execute("DROP TABLE noise")
        people.admin.execute("CHECKPOINT")
        if not found(database, "pg_wal", canaries):
            break
    assert found(database, "pg_wal", canaries) == {}


def canaries_in_new_wal(people: People, where: Settings, canaries: list[bytes]) -> int:
    """In what was written since the last switch: behind that, a file may hold what was in it before."""
    people.admin.execute(
        "SELECT pg_log_standby_snapshot()" if people.admin.info.server_version >= 160000 else "CHECKPOINT"
    )
    query = "SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_lsn())"
    name, offset = people.admin.execute(query).fetchall()[0]
    new = (Path(where.host) / "data" / "pg_wal" / name).read_bytes()[:offset]
    assert new.strip(b"\0")
    return sum(canary in new for canary in canaries)


def test_rows_that_a_transaction_still_sees_stop_the_rewrite(
    people: People, canaries: list[bytes], sessions: Sessions, keys: KeyService, quiet: Progress, database: Settings,
    beside: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A rewrite would carry them over: no date before they are gone."""
    old = beside()
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    old.execute("SELECT count(*) FROM pg_class")
    monkeypatch.setattr(residue, "WAIT_S", 0.5)
    with pytest.raises(Busy, match="keep old rows alive"):
        protect(sessions, keys, people.wanted(), quiet)
    with sessions.engine() as engine:
        assert (
            engine.execute("SELECT protected_from FROM sensmail_rotation.protected_column").fetchall() == [(None,)] * 2
        )
    old.execute("COMMIT")
    (done,) = protect(sessions, keys, people.wanted(), quiet)
    assert done.protected_from["note"] is not None
    assert found(database, "base", canaries) == {}


def test_the_rewrite_waits_for_a_lock_and_gives_way(
    people: People,
    sessions: Sessions,
    keys: KeyService,
    beside: Callable[[], Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people.make(100)
    protect(sessions, keys, people.wanted(), Progress(), rewrite=False)
    monkeypatch.setattr(residue, "LOCK_TIMEOUT", "100ms")
    holder, reader, waited = beside(), beside(), []

    class Watch(Progress):
        def waiting(self, why: str) -> None:
            waited.append(why)

    holder.execute("BEGIN")
    holder.execute("LOCK people IN ROW SHARE MODE")
    threading.Timer(1.5, lambda: holder.execute("COMMIT")).start()
    start = time.monotonic()
    protect(sessions, keys, people.wanted(), Watch())
    assert time.monotonic() - start > 1
    assert any("locked by others" in why for why in waited)
    assert reader.execute("SELECT count(*) FROM people").fetchall() == [(100,)]
