"""What every sealed value of this database is under the present keys: opened, or why not; also after resealing it.

Prints for each person `now` and `restored`: the value where it opens, else a refusal in brackets.
"""

import json
import sys

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Actor, Sealed
from sensmail.store import connect

FIELD = 5  # emergency_email
WHO = Actor("erasure-test")
with connect("sensmail-jobs") as database:
    rows = database.execute(
        "SELECT id, emergency_email FROM accounts.subject WHERE emergency_email IS NOT NULL"
    ).fetchall()
with KeyService() as keys:
    values = [Sealed(subject, FIELD, row_key(subject), bytes(value)) for subject, value in rows]
    now = keys.open_many(values, "request", WHO) if values else []
    again = keys.reseal(values, "erasure test")
    moved = [old._replace(envelope=new) if new else old for old, new in zip(values, again.envelopes, strict=True)]
    restored = keys.open_many(moved, "request", WHO) if moved else []


def shown(value: bytes | None, refusal: str) -> str:
    return value.decode() if value is not None else f"({refusal})"


found = {
    str(value.subject): {
        "now": shown(first.value, first.refusal),
        "restored": shown(then.value, again.refusals.get(number, then.refusal)),
    }
    for number, (value, first, then) in enumerate(zip(values, now, restored, strict=True))
}
json.dump(found, sys.stdout)
