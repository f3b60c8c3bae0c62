"""Add persons with sealed values: standard input says which; prints the ids."""

import json
import sys
from uuid import uuid4

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Sealing
from sensmail.store import connect

FIELDS = {"name": 1, "emergency_email": 5}
told = json.load(sys.stdin)  # {"persons": [{"name": …, "emergency_email": …}, …]}
persons = told["persons"]
with KeyService() as keys, connect("sensmail-jobs") as database, database.transaction():
    tenant = uuid4()
    database.execute("INSERT INTO accounts.tenant (id, name) VALUES (%s, %s)", (tenant, f"tenant {tenant}"))
    subjects = keys.new_subjects(len(persons))
    for subject, person in zip(subjects, persons, strict=True):
        wanted = [Sealing(subject, FIELDS[item], row_key(subject), value.encode()) for item, value in person.items()]
        sealed = dict(zip(person, keys.seal(wanted), strict=True))
        database.execute(
            "INSERT INTO accounts.subject (id, tenant_id, address, quota_bytes, send_limit_per_hour, name,"
            " emergency_email) VALUES (%s, %s, %s, 1, 0, %s, %s)",
            (subject, tenant, f"p{subject.hex}@erasure.test", sealed["name"], sealed["emergency_email"]),
        )
json.dump([str(subject) for subject in subjects], sys.stdout)
