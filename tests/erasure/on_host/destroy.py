"""Purge persons: their keys first, then what the rows hold; then a roll. Prints the new epoch."""

import json
import sys
from uuid import UUID

from sensmail.keyd.client import KeyService
from sensmail.store import connect

subjects = [UUID(each) for each in json.load(sys.stdin)["subjects"]]
with KeyService() as keys, connect("sensmail-jobs") as database:
    keys.destroy_subjects(subjects, "erasure-test", "retired", "privacy_officer")
    database.execute(
        "UPDATE accounts.subject SET state = 'destroyed', retired_at = now(), name = NULL, emergency_email = NULL"
        " WHERE id = ANY (%s)",
        (subjects,),
    )
    json.dump(keys.roll("erasure-test", "purge"), sys.stdout)
