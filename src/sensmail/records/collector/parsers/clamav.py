"""ClamAV: what clamd found. That a mail was clean is said by the record of its scan."""

from __future__ import annotations

import re

from sensmail.records.collector.found import Act, Found, Refused

PURPOSE = "malware"
_FOUND = re.compile(r"(?:.* -> )?\S+: (?P<name>[A-Za-z0-9_.:/-]{1,128})(?:\([0-9a-f]+:\d+\))? FOUND")


def parse(message: str) -> Found:
    """A finding."""
    if not message.endswith(" FOUND"):
        return None
    found = _FOUND.fullmatch(message)
    if not found:
        return Refused("clamd: a finding in another form than known")
    return Act("malware.found", PURPOSE, outcome="refused", detail={"verdict": found["name"]})
