"""sudo 1.9: who ran what as whom.

Of a command only the last part of its path is kept, and only where sudo says a path: arguments, directories and
environments may hold secrets and names. They are also what a user chooses, so a line in which one could stand for
another is recorded without its command.
"""

from __future__ import annotations

import re

from sensmail.records.collector.found import Act, Found, Kind, Refused

PURPOSE = "administration"
UNCLEAR = "?"
_LINE = re.compile(r"\s*(?P<user>\S+) : (?P<rest>.*)", re.DOTALL)
_PARTS = re.compile(
    r"(?:(?P<why>[^=;]+) ; )?(?:TTY=\S* ; )?PWD=[^;]* ; USER=(?P<target>\S+) ; (?:GROUP=\S+ ; )?(?:TSID=\w+ ; )?"
    r"(?:ENV=[^;]* ; )?COMMAND=(?P<command>\S+)(?P<arguments>.*)",
    re.DOTALL,
)
_BASENAME = re.compile(r"/(?:[^/]*/)*(?P<name>[A-Za-z0-9_.+@-]{1,64})")


def parse(message: str) -> Found:
    """What sudo says; lines of PAM and of sudo's own trouble are nothing of their own."""
    if "COMMAND=" not in message:
        return None
    line = _LINE.fullmatch(message)
    if not line:
        return Refused("sudo: a command in another form than known")
    parts = _PARTS.fullmatch(line["rest"])
    clear = parts is not None and message.count("COMMAND=") == 1
    detail = {"command": UNCLEAR, "target": UNCLEAR}
    if parts is not None and clear:
        path = _BASENAME.fullmatch(parts["command"])
        detail = {"command": path["name"] if path else UNCLEAR, "target": parts["target"][:32]}
    refused = parts["why"] if parts is not None and clear else None
    return Act("sudo.run", PURPOSE, line["user"], Kind.HOST, outcome="refused" if refused else "done", detail=detail)
