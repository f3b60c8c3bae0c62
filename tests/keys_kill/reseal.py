"""The process that reseals, as the timer's does, but writers get less time to settle: `python -m keys_kill.reseal`.

Killed and started again it goes on with the job that it finds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sensmail.keyd.client import KeyService
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import watch
from sensmail.rotation.reseal import Reason, reseal

SETTLE_S = 0.6  # twice the longest that a writer here holds a sealed value
POLICY = Path("/etc/sensmail/policy.json")


def main() -> None:
    """One reseal, to its end."""
    sessions = Sessions.here()
    columns = [each for each in json.loads(POLICY.read_bytes())["data_map"] if each["protection"] == "sealed"]
    wanted = []
    for each in columns:
        schema, table = each["table"].split(".")
        place = (sessions.settings.name, schema, table, each["column"])
        wanted.append(Wanted(*place, subject=each["subject"], field=each["field"]))
    with KeyService() as keys:
        done = reseal(sessions, keys, wanted, Reason("kill-test", "kill test"), watch(sys.stdout), settle_s=SETTLE_S)
    print(f"retired={done.retired} census={json.dumps(done.census)}")


main()
