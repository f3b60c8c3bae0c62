"""A table of another program, with values of the data map's items in clear; what standard input says is planted.

`make`: a table beside the engine's own, whose owner logs in; the values go in as parameters. `fit`, `name`: what
was refused may be sealed. `forget`: WAL from before is let go. Prints how many rows there are.
"""

import json
import sys
from pathlib import Path
from uuid import UUID

from sensmail.keyd.client import KeyService
from sensmail.store import SUPERUSER, connect

POLICY = Path("/etc/sensmail/policy.json")
ITEMS = {"phone": 940, "note": 941}  # field numbers that the deployment's data map does not use
PEOPLE = 10  # who have several rows each
told = json.load(sys.stdin)  # {"act": "make", "phones": [...], "notes": [...]}


def name_items() -> None:
    """The data map names them, as for any program that keeps personal items here."""
    policy = json.loads(POLICY.read_text())
    known = next(each for each in policy["data_map"] if each["protection"] == "sealed")
    rest = [each for each in policy["data_map"] if each["field"] not in ITEMS.values()]
    place = {"table": "public.legacy", "subject": "person", "purposes": []}
    named = [known | place | {"item": item, "column": item, "field": field} for item, field in ITEMS.items()]
    POLICY.write_text(json.dumps(policy | {"data_map": rest + named}))


with connect(SUPERUSER) as database:
    if told["act"] == "make":
        name_items()
        # A recycled segment keeps its old content under a new name: then no search could tell old WAL from new.
        database.execute("ALTER SYSTEM SET wal_recycle = off")
        database.execute("SELECT pg_reload_conf()")
        database.execute("CREATE TABLE public.legacy (id bigint PRIMARY KEY, person uuid, phone text, note bytea)")
        database.execute("CREATE INDEX ON public.legacy (phone)")
        database.execute("ALTER TABLE public.legacy ADD CONSTRAINT narrow CHECK (length(phone) < 60)")
        with KeyService() as keys:
            people = keys.new_subjects(PEOPLE)
        owners: list[UUID | None] = [people[number % PEOPLE] for number in range(len(told["phones"]))]
        owners[-1] = None
        with database.transaction(), database.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO public.legacy VALUES (%s, %s, %s, %s)",
                [
                    (number, person, phone, note.encode())
                    for number, (person, phone, note) in enumerate(
                        zip(owners, told["phones"], told["notes"], strict=True)
                    )
                ],
            )
        database.execute("ANALYZE public.legacy")  # whose most common values stand in the statistics
    elif told["act"] == "fit":
        database.execute("DROP INDEX public.legacy_phone_idx")
        database.execute("ALTER TABLE public.legacy DROP CONSTRAINT narrow")
    elif told["act"] == "name":
        with KeyService() as keys:
            database.execute("UPDATE public.legacy SET person = %s WHERE person IS NULL", (keys.new_subjects()[0],))
    elif told["act"] == "forget":
        for statement in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
            database.execute(statement)
    json.dump(database.execute("SELECT count(*) FROM public.legacy").fetchall()[0][0], sys.stdout)
