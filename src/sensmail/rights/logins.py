"""When each account of this host last logged in, from what Debian keeps for longer than a month.

- /var/log/lastlog: written by sshd, a record a user id (lastlog(8), struct lastlog of <lastlog.h>: int32 time, 32 + 256
  bytes of line and host). Debian 13 dropped the program lastlog, but its sshd still writes the file.
- /var/lib/lastlog/lastlog2.db: written by pam_lastlog2, where the package libpam-lastlog2 is installed.

wtmp is turned over every month and the journal kept as long as role base says, so neither can tell half a year.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sensmail.rights.host import Account

_RECORD = struct.Struct("=I32s256s")
_LASTLOG, _LASTLOG2 = "var/log/lastlog", "var/lib/lastlog/lastlog2.db"


@dataclass(frozen=True)
class Logins:
    """Last logins by account, and the files that say so; without any, nothing can be said."""

    last: dict[str, datetime]
    sources: tuple[str, ...]


def read(accounts: dict[str, Account], root: Path = Path("/")) -> Logins:
    """The last login of each account, the later where two files speak of it. Raises OSError, sqlite3.Error."""
    last: dict[str, datetime] = {}
    sources = []
    for name, reader in ((_LASTLOG, _lastlog), (_LASTLOG2, _lastlog2)):
        path = root / name
        if path.is_file():
            sources.append(f"/{name}")
            for account, moment in reader(path, accounts).items():
                last[account] = max(moment, last.get(account, moment))
    return Logins(last, tuple(sources))


def _lastlog(path: Path, accounts: dict[str, Account]) -> dict[str, datetime]:
    found = {}
    with path.open("rb") as file:
        for account in accounts.values():
            file.seek(account.uid * _RECORD.size)
            record = file.read(_RECORD.size)
            if len(record) == _RECORD.size and (seconds := _RECORD.unpack(record)[0]):
                found[account.name] = datetime.fromtimestamp(seconds, UTC)
    return found


def _lastlog2(path: Path, accounts: dict[str, Account]) -> dict[str, datetime]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT Name, Time FROM Lastlog2 WHERE Time > 0").fetchall()
    return {name: datetime.fromtimestamp(seconds, UTC) for name, seconds in rows if name in accounts}
