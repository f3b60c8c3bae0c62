"""From the words of a task or command to a right. What is refused here needs no look at the host."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

from sensmail.accounts.address import canonical_address
from sensmail.policy.approval import Approval
from sensmail.rights import operator, sudo
from sensmail.rights.database import OURS
from sensmail.rights.errors import InvalidRight
from sensmail.rights.model import Kind
from sensmail.rights.sshkeys import normal

_KOREA = ZoneInfo("Asia/Seoul")
# useradd(8) of Debian, and a file name that sudo reads (sudoers(5): none with a dot or a tilde at its end)
_ACCOUNT = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# An absolute path and plain words: no wildcard, list, negation, alias or quoting, which give more than they show
_COMMAND = re.compile(r"/[A-Za-z0-9_./+-]+(?: [A-Za-z0-9_./@+-]+)*")
#: Beside these, whatever has the number of a system account on the host (`operator`, `sudo`).
RESERVED = frozenset({"root", "nobody", "all", "public", "none", *OURS})


def kind(text: str) -> Kind:
    """The kind of a right. Raises InvalidRight."""
    for known in get_args(Kind):
        if text == known:
            found: Kind = known
            return found
    raise InvalidRight(f"kind {text!r} is not known; use one of {', '.join(get_args(Kind))}")


def line(name: str, text: str, longest: int = 200) -> str:
    """One line that a person can read. Raises InvalidRight."""
    clean = unicodedata.normalize("NFC", text.strip())
    if (
        not clean
        or len(clean) > longest
        or any(unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp") for sign in clean)
    ):
        raise InvalidRight(f"{name} {text[:60]!r} must be one line of 1 to {longest} signs without control signs")
    return clean


def account(of: Kind, text: str) -> str:
    """A login name, or for the portal a mail address. Raises InvalidRight, AccountError."""
    if of == "portal":
        return canonical_address(text)
    if not _ACCOUNT.fullmatch(text):
        fix = "use small letters, digits, _ and -, with a letter first and at most 31 signs, such as kim"
        raise InvalidRight(f"account {text[:60]!r} cannot be the name of an account; {fix}")
    if text in RESERVED or text.startswith(("sensmail", "systemd-", "pg_")):
        raise InvalidRight(f"account {text!r} belongs to a service; persons have accounts of their own, such as kim")
    return text


def terms(of: Kind, keys: Sequence[str], commands: Sequence[str]) -> tuple[str, ...]:
    """Public keys of an operator, or commands of a sudo right, sorted. Raises InvalidRight."""
    if bool(keys) != (of == "operator"):
        raise InvalidRight("public_keys: an operator has at least one public SSH key, any other right none")
    if bool(commands) != (of == "sudo"):
        raise InvalidRight(
            "commands: a sudo right names its commands, such as [/usr/bin/systemctl reload nginx] or [ALL]"
        )
    for each in commands:
        if each != sudo.ALL and not _COMMAND.fullmatch(each):
            fix = "give an absolute path and plain words: no wildcard, comma, quote, = or !; or ALL alone"
            raise InvalidRight(f"commands: {each[:80]!r} is not accepted; {fix}")
    if sudo.ALL in commands and len(set(commands)) > 1:
        raise InvalidRight("commands: ALL stands alone, for it holds all others")
    return tuple(sorted({normal(each) for each in keys} | set(commands)))


def right(of: Kind, text: str) -> str:
    """Name of the right; operator and sudo rights have but one. Raises InvalidRight."""
    only = {"operator": operator.LOGIN, "sudo": sudo.SUDO}.get(of)
    if only is not None and text not in ("", only):
        raise InvalidRight(f"right {text!r}: kind {of} has the right {only} only; leave it out")
    if only is None and not text:
        raise InvalidRight(f"right: kind {of} needs one, such as sensmail_auditor (database) or tenant_admin (portal)")
    return only or text


def until(text: str, now: datetime, longest_days: int) -> datetime:
    """When a right ends: the end of a day in Korea, or a moment with a time zone.

    Raises:
        InvalidRight: no date, in the past, or later than the policy lets a right last.
    """
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2027-01-31"):
            moment = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), _KOREA)
    except (ValueError, OverflowError):
        raise InvalidRight(f"until {text[:40]!r} is no date; write 2027-01-31, or a moment with its zone") from None
    if moment.tzinfo is None:
        raise InvalidRight(f"until {text!r} has no time zone; write {text}+09:00, or the date alone")
    moment = moment.astimezone(UTC).replace(microsecond=0)
    if moment <= now:
        raise InvalidRight(f"until {text} is in the past; give a later day, or state: absent to end the right")
    last = now + timedelta(days=longest_days)
    if moment > last:
        law = f"art4.access_rights.holders.longest of the policy lets a right last {longest_days} days"
        raise InvalidRight(f"until {text} is too late: {law}; the last day is {last.astimezone(_KOREA):%Y-%m-%d}")
    return moment


def not_own(approval: Approval | None, *names: str) -> str:
    """Why the approval is the holder's own; empty when it is not."""
    if approval is not None and _folded(approval.by) in {_folded(name) for name in names}:
        return f"{approval.by!r} holds the right and cannot approve it; somebody else must"
    return ""


def _folded(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
