"""A sealer on a test's database, with everybody's roles and a clock that tests set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensmail.ledger import Entry, insert
from sensmail.records.check import Checked, check
from sensmail.records.entry import LEDGERS, Ledger
from sensmail.records.export import Asked, Exported, export
from sensmail.records.note import VerifierKey
from sensmail.records.sealer import ROLE, Sealer
from sensmail.store import SUPERUSER, Connection, Settings, connect

LOG = "mail.example.go.kr/records"


class Rig:
    """Sessions of one database and the sealer's directory."""

    def __init__(self, database: Settings, directory: Path) -> None:
        self.database, self.directory = database, directory
        self.now = 1_764_040_000_000_000
        self._opened: list[Connection] = []

    def session(self, role: str) -> Connection:
        self._opened.append(connect(role, settings=self.database))
        return self._opened[-1]

    def sealer(self, clock: Callable[[], int] | None = None) -> Sealer:
        """Started, on a session of its own; whoever sealed before has ended."""
        self.end_sealers()
        made = Sealer(self.session(ROLE), self.directory, LOG, clock or (lambda: self.now))
        made.start()
        return made

    def end_sealers(self) -> None:
        for each in self._opened:
            if not each.closed and each.info.user == ROLE:
                each.close()
        patience = time.monotonic() + 10  # the server gives up the lock a moment after the session is closed
        held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sensmail-sealer'"
        while self.rows(held) != [(0,)] and time.monotonic() < patience:
            time.sleep(0.01)

    def check(self, ledger: Ledger = "access", log_key: VerifierKey | None = None) -> Checked:
        return check(lambda: self.session("sensmail-jobs"), ledger, log_key)

    def sound(self) -> None:
        """Both ledgers are as they were signed."""
        assert [self.check(ledger).findings for ledger in LEDGERS] == [[], []]

    def write(self, count: int = 1, ledger: str = "access", role: str = "sensmail-jobs", **change: object) -> None:
        entries = [Entry(ledger, "open", f"kim{n}@example.test", "192.0.2.1", **change) for n in range(count)]  # type: ignore[arg-type]
        with self.session(role) as connection:
            insert(connection, entries)

    def rows(self, query: str, *given: object) -> list[tuple[object, ...]]:
        with connect(SUPERUSER, settings=self.database) as admin:
            return admin.execute(query, given).fetchall()  # type: ignore[arg-type]

    def tamper(self, *statements: str) -> None:
        """As a superuser who knows how."""
        with connect(SUPERUSER, settings=self.database) as admin, admin.transaction():
            for each in statements:
                admin.execute(each)  # type: ignore[arg-type]

    def log_key(self, ledger: str = "access", generation: int = 1) -> VerifierKey:
        query = "SELECT log_key FROM records.log WHERE ledger = %s AND generation = %s"
        return VerifierKey.from_text(str(self.rows(query, ledger, generation)[0][0]))

    def export(self, path: Path, sealer: Sealer | None = None, **change: Any) -> Exported:
        """A bundle, while a sealer works beside it."""
        stop = threading.Event()

        def seal() -> None:
            while not stop.wait(0.02):
                assert sealer is not None
                sealer.seal()

        beside = threading.Thread(target=seal)
        if sealer is not None:
            beside.start()
        given = {"clock": lambda: self.now / 1e6, "patience_s": 20.0 if sealer else 0.0} | change
        try:
            return export(self.session("sensmail-jobs"), path, Asked("kim", "yearly audit"), **given)
        finally:
            stop.set()
            if sealer is not None:
                beside.join()

    def close(self) -> None:
        for each in self._opened:
            each.close()
