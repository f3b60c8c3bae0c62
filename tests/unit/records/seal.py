"""The sealer of a test as a process of its own: what the crash tests kill."""

from __future__ import annotations

import sys
from pathlib import Path

from sensmail.records import sealer, service
from sensmail.records.settings import Settings
from sensmail.store import connect
from sensmail.store import settings as database

if __name__ == "__main__":
    engine, directory, batch, life = sys.argv[1:]
    where = database.load(Path(engine))
    service.POLL_S = 0.01
    sealer.KEY_LIFE_S = float(life)
    sealer.BATCH = int(batch)
    service.run(Settings("mail.example.go.kr/records", Path(directory)), lambda: connect(sealer.ROLE, settings=where))
