"""A sealer on a test's database, with everybody's roles and a clock that tests set."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sensmail.ledger import Entry, insert
from sensmail.records.check import Checked, check
from sensmail.records.entry import LEDGERS, Ledger
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

    def close(self) -> None:
        for each in self._opened:
            each.close()
