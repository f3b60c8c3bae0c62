"""Register against reality, in both directions; and what nobody has used for long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sensmail.rights.desk import Desk, describe
from sensmail.rights.logins import Logins
from sensmail.rights.model import Line, Right, State
from sensmail.rights.terms import Declared

What = Literal["unrecorded", "missing", "differs", "unfinished", "overdue", "dormant", "not_assessed"]


@dataclass(frozen=True)
class Finding:
    """What is not as it should be: about which right, what was found, and what to do."""

    what: What
    right: Right | None
    found: str
    fix: str


@dataclass(frozen=True)
class Unused:
    """A right in force, and when its account last logged in (None: never since the file was begun)."""

    line: Line
    last_login: datetime | None
    dormant: bool


@dataclass(frozen=True)
class Report:
    """One look at this host."""

    host: str
    at: datetime
    recorded: int
    found: int
    declared: tuple[Declared, ...]
    findings: tuple[Finding, ...]
    unused: tuple[Unused, ...]
    login_sources: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.findings


def reconcile(desk: Desk, logins: Logins) -> Report:
    """Compare. Changes nothing. Raises NotApplied when a place cannot be looked at."""
    recorded = {
        right: line
        for right, line in desk.register.in_force().items()
        if right.kind in desk.places and (right.kind not in ("operator", "sudo") or right.scope == desk.host)
    }
    found = {right: state for place in desk.places.values() for right, state in place.found().items()}
    unused = tuple(_unused(desk, recorded, logins))
    findings = [
        *_compared(desk, recorded, found),
        *_intentions(desk, recorded),
        *_dormant(desk, unused, logins),
    ]
    return Report(
        desk.host, desk.now(), len(recorded), len(found), desk.declared, tuple(findings), unused, logins.sources
    )


def _compared(desk: Desk, recorded: dict[Right, Line], found: dict[Right, State]) -> Iterator[Finding]:
    cut_off = {line.key for line in desk.register.unfinished()}  # told as such
    for right in sorted((recorded.keys() | found.keys()) - cut_off):
        line, state = recorded.get(right), found.get(right)
        if line is None and state is not None:
            yield from _unrecorded(desk, right, state)
        elif line is not None and line.until is not None:
            expected = desk.places[right.kind].expected(tuple(line.terms), line.until)
            if state is None:
                fix = "module access_right with state: absent, if it shall end; with its recorded terms, if it shall be"
                yield Finding("missing", right, f"recorded as number {line.number}, but not there", fix)
            elif state != expected:
                fix = "find out who changed it; module access_right with the recorded terms puts it back"
                yield Finding("differs", right, _difference(right, expected, state), fix)


def _unrecorded(desk: Desk, right: Right, state: State) -> Iterator[Finding]:
    for each in desk.declared:
        if (each.kind, each.account) == (right.kind, right.account):
            more = frozenset(state.terms) - each.terms
            if more:
                shown = describe(right, "", State(tuple(sorted(more)))).replace("\n", " ").strip()
                fix = "declare it with role rights, if the deployment needs it; else remove it by hand"
                yield Finding("unrecorded", right, f"more than is declared: {shown}", fix)
            return
    shown = describe(right, "", state).replace("\n", " ").strip()
    fix = "find out who gave it; then module access_right: state: absent ends it, a grant records it"
    yield Finding("unrecorded", right, shown, fix)


def _intentions(desk: Desk, recorded: dict[Right, Line]) -> Iterator[Finding]:
    for line in desk.register.unfinished():
        fix = "sensmail-rights.service finishes it or takes it back: `systemctl start sensmail-rights.service`"
        yield Finding(
            "unfinished", line.key, f"number {line.number}, {line.state} since {line.asked:%Y-%m-%d %H:%M} UTC", fix
        )
    for right, line in recorded.items():
        if line.revoking is None and line.until is not None and line.until <= desk.now():
            fix = "sensmail-rights.service revokes it: `systemctl status sensmail-rights.timer`"
            yield Finding("overdue", right, f"number {line.number} ended on {line.until:%Y-%m-%d %H:%M} UTC", fix)


def _unused(desk: Desk, recorded: dict[Right, Line], logins: Logins) -> Iterator[Unused]:
    for right, line in sorted(recorded.items()):
        if right.kind == "operator" and line.granted is not None:
            last = logins.last.get(right.account)
            since = max(line.granted, last or line.granted)
            yield Unused(line, last, since + timedelta(days=desk.terms.dormant_days) <= desk.now())


def _dormant(desk: Desk, unused: tuple[Unused, ...], logins: Logins) -> Iterator[Finding]:
    for each in unused:
        if each.dormant:
            last = f"last login {each.last_login:%Y-%m-%d}" if each.last_login else "never logged in"
            fix = "ask the holder; module access_right with state: absent ends it"
            yield Finding(
                "dormant", each.line.key, f"{last}, and the policy allows {desk.terms.dormant_days} days", fix
            )
    if unused and not logins.sources:
        text = "no file of this host tells last logins (/var/log/lastlog, /var/lib/lastlog/lastlog2.db)"
        yield Finding("not_assessed", None, text, "install libpam-lastlog2, or keep /var/log/lastlog")


def _difference(right: Right, expected: State, state: State) -> str:
    more = State(tuple(sorted({*state.terms} - {*expected.terms})))
    less = State(tuple(sorted({*expected.terms} - {*state.terms})))
    words = []
    for name, terms in (("more", more), ("less", less)):
        if terms.terms:
            words.append(f"{name}: {', '.join(describe(right, '', terms).splitlines()[1:])}".replace("  ", ""))
    if state.ends != expected.ends:
        words.append(f"ends {state.ends or 'never'} instead of {expected.ends}")
    return "; ".join(words)
