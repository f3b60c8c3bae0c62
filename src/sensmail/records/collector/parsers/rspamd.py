"""Rspamd 3: what came of the scan of a mail, in the form that role `mail_filter` gives it (`log_format`).

Recorded are the mails of accounts, with the number of recipients, and those of strangers that were not let through.
Recipients are counted and not kept.
"""

from __future__ import annotations

import re

from sensmail.records.collector.found import Act, Found, Kind, Outcome, Refused, address

PURPOSE = "mail"
_MARK = "rspamd_task_write_log: sensmail "
_LINE = re.compile(
    r".*?" + _MARK + r"ip: (?P<ip>\S+), (?:user: (?P<user>[^\s,]+), )?qid: (?P<queue>\S+), "
    r"action: (?P<action>[a-z ]+), scores: \S+, symbols: (?P<symbols>\S*), len: \d+, rcpts: (?P<recipients>.*)",
    re.DOTALL,
)  # fmt: skip
_ACTIONS: dict[str, Outcome] = {
    "no action": "done", "greylist": "failed", "add header": "done", "rewrite subject": "done",
    "soft reject": "failed", "reject": "refused",
}  # fmt: skip
_MALWARE = "CLAM_VIRUS"


def parse(message: str) -> Found:
    """The verdict on a mail."""
    if _MARK not in message:
        return None
    found = _LINE.fullmatch(message)
    if not found or found["action"] not in _ACTIONS:
        return Refused("rspamd: a verdict in another form than known")
    outcome = _ACTIONS[found["action"]]
    if not found["user"] and found["action"] == "no action":
        return None
    verdict = "malware" if _MALWARE in found["symbols"].split(",") else found["action"]
    recipients = found["recipients"].strip()
    detail = {"message": found["queue"], "verdict": verdict, "count": recipients.count(",") + bool(recipients)}
    kind = Kind.MAIL if found["user"] else Kind.NOBODY
    return Act("mail.scan", PURPOSE, found["user"] or "", kind, address(found["ip"]), outcome=outcome, detail=detail)
