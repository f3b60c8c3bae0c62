"""pgaudit 17: somebody read a table that holds personal data, by a login that is none of our services.

Role `database` writes `user@database host ` before each line and leaves statement and parameters out. The user is the
role that PostgreSQL let in, and stands first, before anything that a client chooses.
"""

from __future__ import annotations

import csv
import re

from sensmail.records.collector.found import Act, Found, Kind, Outcome, Refused, address

PURPOSE = "unknown"
LOCAL = "local"
_MARK = "AUDIT: "
_LINE = re.compile(r"(?:\[\d+\] )?(?P<user>\S+)@(?P<database>\S+) (?P<host>\S+) LOG: +AUDIT: (?P<rest>.*)", re.DOTALL)
_CLASSES: dict[str, str] = {"READ": "data.read", "WRITE": "data.write"}
_NAME = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_FIELDS = 9  # type, statement, substatement, class, command, object type, object, statement text, parameters


def parse(message: str) -> Found:
    """A read or write of a personal table; other lines of the server are nothing of their own."""
    if _MARK not in message:
        return None
    line = _LINE.fullmatch(message)
    if not line:  # a line that only quotes the mark, such as an error about a statement with it
        return None if "LOG:  AUDIT: " not in message else Refused("pgaudit: a line in another form than known")
    fields = next(csv.reader([line["rest"].replace("\0", "")]), [])
    if len(fields) < _FIELDS or fields[0] != "OBJECT" or fields[3] not in _CLASSES:
        return Refused("pgaudit: an object line in another form than known")
    table = fields[6] if _NAME.fullmatch(fields[6]) else "?"
    outcome: Outcome = "done"
    origin = address(line["host"]) or LOCAL
    detail = {"table": table, "command": fields[4][:32]}
    return Act(_CLASSES[fields[3]], PURPOSE, line["user"], Kind.ROLE, origin, outcome=outcome, detail=detail)
