"""Which lines come from which source, by what journald itself vouches for: unit, program and user of the sender.

`SYSLOG_IDENTIFIER` is what the sender calls itself. It decides nothing here but one thing: a line that claims to be of
a source, is not, and would have become a record, is recorded as refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sensmail.records.collector.found import Found, Refused
from sensmail.records.collector.line import Line
from sensmail.records.collector.parsers import clamav, dovecot, nginx, pgaudit, postfix, rspamd, sshd, sudo

Parse = Callable[[str], Found]
_ROOT = frozenset({0})


@dataclass(frozen=True)
class Source:
    """A program whose lines are read.

    Attributes:
        unit, exe: patterns of its systemd unit and its program, whole. claims: what it calls itself.
        uids: who may run it; None for anybody.
        brief: its processes may have ended before journald looks at them. Then their lines have neither unit nor
            program, and what they call themselves counts where the kernel says that root sent them: root can have
            anything recorded in any case.
    """

    name: str
    parse: Parse
    claims: re.Pattern[str]
    exe: re.Pattern[str]
    unit: re.Pattern[str] = re.compile(r".*")
    uids: frozenset[int] | None = None
    brief: bool = False

    def wrote(self, unit: str, exe: str, uid: int) -> bool:
        """Whether a line is this source's, by what journald vouches for."""
        return (
            self.exe.fullmatch(exe) is not None
            and self.unit.fullmatch(unit) is not None
            and (self.uids is None or uid in self.uids)
        )


def _source(name: str, parse: Parse, claims: str, exe: str, unit: str = r".*", **rest: Any) -> Source:
    return Source(name, parse, re.compile(claims), re.compile(exe), re.compile(unit), **rest)


SOURCES = (
    # Sessions move into units of their own. Root alone: anybody may start this program, and have it say anything.
    _source("sshd", sshd.parse, r"sshd(-session|-auth)?", r"/usr/sbin/sshd|/usr/lib/openssh/sshd-(session|auth)",
            uids=_ROOT, brief=True),
    _source("sudo", sudo.parse, r"sudo", r"/usr/bin/sudo", brief=True),
    _source("dovecot", dovecot.parse, r"dovecot", r"/usr/(sbin/dovecot|lib/dovecot/[a-z-]+)", r"dovecot\.service"),
    _source("postfix", postfix.parse, r"postfix/.*", r"/usr/lib/postfix/sbin/[a-z-]+", r"postfix\.service"),
    _source("nginx", nginx.parse, r"nginx", r"/usr/sbin/nginx", r"nginx\.service"),
    _source("rspamd", rspamd.parse, r"rspamd", r"/usr/bin/rspamd", r"rspamd\.service"),
    _source("clamd", clamav.parse, r"clamd", r"/usr/sbin/clamd", r"clamav-daemon\.service"),
    _source("postgresql", pgaudit.parse, r"postgres", r"/usr/lib/postgresql/\d+/bin/postgres",
            r"postgresql@[\w-]+\.service"),
)  # fmt: skip


def read(line: Line) -> Found:
    """What a line says, of whichever source it is."""
    source, claimed = _writer(line.unit, line.exe, line.uid), _claimed(line.identifier)
    if source is None and claimed is not None and claimed.brief and not line.exe and line.uid == 0:
        source = claimed
    if source is not None:
        if line.message is None:
            return Refused(f"{source.name}: a line of more than 4096 bytes")
        return source.parse(line.message)
    if claimed is None or line.message is None or claimed.parse(line.message) is None:
        return None
    return Refused(f"claims to be of {claimed.name}, and is not by its unit, program and user")


@lru_cache(maxsize=4096)
def _writer(unit: str, exe: str, uid: int) -> Source | None:
    return next((each for each in SOURCES if each.wrote(unit, exe, uid)), None)


@lru_cache(maxsize=4096)
def _claimed(identifier: str) -> Source | None:
    return next((each for each in SOURCES if each.claims.fullmatch(identifier)), None)
