"""Persons with a sealed name, loaded in bulk: `python -m keys_kill.rows DATABASE COUNT IDS`.

Writes the tenant's id and the persons' ids into the file IDS, a line each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID, uuid4

from keys_kill.actor import FIELD, text
from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Sealing
from sensmail.store import SUPERUSER, Settings, connect

CHUNK = 10_000
_COPY = "COPY accounts.subject (id, tenant_id, address, quota_bytes, send_limit_per_hour, name) FROM STDIN"


def load(database_at: Settings, count: int) -> tuple[UUID, list[UUID]]:
    """A tenant and `count` persons, each with value number 0 for a name; returns their ids."""
    tenant, ids = uuid4(), list[UUID]()
    with connect(SUPERUSER, settings=database_at) as database, KeyService() as keys:
        database.execute("INSERT INTO accounts.tenant (id, name) VALUES (%s, 'kill test')", (tenant,))
        while len(ids) < count:
            some = keys.new_subjects(min(CHUNK, count - len(ids)))
            sealed = keys.seal([Sealing(each, FIELD, row_key(each), text(each, 0)) for each in some])
            with database.cursor() as cursor, cursor.copy(_COPY) as rows:
                for each, name in zip(some, sealed, strict=True):
                    rows.write_row((each, tenant, f"s{each.hex}@kill.test", 1, 0, name))
            ids += some
        database.execute("VACUUM ANALYZE accounts.subject")
    return tenant, ids


if __name__ == "__main__":
    place, number, file = sys.argv[1:]
    tenant, ids = load(Settings(host=place), int(number))
    Path(file).write_text("\n".join(map(str, [tenant, *ids])))
