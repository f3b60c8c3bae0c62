"""Postfix 3.10: mail that an account hands in, and mail that reaches a mailbox. The history of mail use.

Who wrote to whom is not kept: a mail handed in has its sender, a mail received its receiver. No subject, no message id,
no address of the other side. The number of the mail in the queue joins the two with the record of the scan.
"""

from __future__ import annotations

import re

from sensmail.records.collector.found import Act, Found, Kind, Outcome, Refused, address

PURPOSE = "mail"
_QUEUE = r"(?P<queue>[0-9A-Za-z]{6,32})"
_NAME = r"(?P<user>[^\s<>,]+)"
_HANDED_IN = re.compile(_QUEUE + r": client=[^\s\[\]]+\[(?P<ip>[^\[\]]+)\], sasl_method=\S+, sasl_username=" + _NAME)
# The account stands last, where neither the greeting of a client nor an address can put it.
_REFUSED = re.compile(
    rf"(?:NOQUEUE|{_QUEUE}): reject: [A-Z -]+ from [^\s\[\]]+\[(?P<ip>[^\[\]]+)\]: (?P<code>\d\d\d) .* proto=E?SMTP"
    rf" helo=<.*> sasl_method=\S+ sasl_username={_NAME}",
    re.DOTALL,
)
_REACHED = re.compile(
    _QUEUE + r": to=<(?P<user>[^<>]*)>, (?:orig_to=<.*>, )?relay=[^\s,\[\]]+\[private/dovecot-lmtp\], "
    r"(?:conn_use=\d+, )?delay=[^ ]+, delays=[^ ]+, dsn=[^ ]+, status=(?P<status>\w+) \(.*\)",
    re.DOTALL,
)
_ENDS: dict[str, Outcome | None] = {"sent": "done", "bounced": "refused", "deferred": None}  # deferred: tried again


def parse(message: str) -> Found:
    """Mail handed in, refused or received; what strangers tried at the door concerns no account."""
    if ", sasl_username=" in message and ": client=" in message:
        return _handed_in(message)
    if ": reject: " in message and " sasl_username=" in message:
        found = _REFUSED.fullmatch(message)
        if not found:
            return None
        detail = {"code": found["code"]}
        return _act("mail.submit", found, address(found["ip"]), "refused", detail)
    if "[private/dovecot-lmtp]" in message and ": to=<" in message:
        found = _REACHED.fullmatch(message)
        if not found or found["status"] not in _ENDS:
            return Refused("postfix: a delivery in another form than known")
        outcome = _ENDS[found["status"]]
        return _act("mail.receive", found, "", outcome, {}) if outcome else None
    return None


def _handed_in(message: str) -> Found:
    found = _HANDED_IN.fullmatch(message)
    if not found or not address(found["ip"]):
        return Refused("postfix: a mail handed in, in another form than known")
    return _act("mail.submit", found, address(found["ip"]), "done", {})


def _act(act: str, found: re.Match[str], origin: str, outcome: Outcome, detail: dict[str, str | int]) -> Act:
    if found["queue"]:
        detail["message"] = found["queue"]
    return Act(act, PURPOSE, found["user"], Kind.MAIL, origin, outcome=outcome, detail=detail)
