"""Granting, changing, revoking: the intention is recorded, then the right is applied, then its completion is recorded.

So a right is never there without a row that was committed before. Whatever a run that was cut off left half-done, the
next one finishes; what cannot be given any more is taken back. One run works at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from sensmail.policy.approval import Approval, refusal
from sensmail.rights import parse
from sensmail.rights.errors import InvalidRight, NotApplied, NotApproved, RightsError
from sensmail.rights.model import Kind, Line, Place, Right, State, Wanted
from sensmail.rights.register import Register
from sensmail.rights.sshkeys import fingerprint
from sensmail.rights.terms import Declared, Terms

#: What a place may fail with; the intention is taken back then.
FAILURES = (RightsError, OSError, psycopg.Error)


@dataclass(frozen=True)
class Outcome:
    """What was done, or in check mode would be: sentences, and the right before and after, fit to be shown."""

    lines: tuple[str, ...] = ()
    before: str = ""
    after: str = ""

    @property
    def changed(self) -> bool:
        return bool(self.lines)


@dataclass
class Desk:
    """Everything an act needs. `places` are those of this host."""

    register: Register
    places: Mapping[Kind, Place]
    terms: Terms
    declared: tuple[Declared, ...]
    host: str
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def ensure(self, wanted: Wanted, *, check: bool = False) -> Outcome:
        """Give a right, or bring it to other terms.

        Raises:
            InvalidRight, NotApproved: refused; nothing was changed.
            NotApplied: it could not be given; it was taken back, or the text says that it was not.
            Busy: another run is at work.
        """
        right, place = wanted.right, self._place(wanted.right)
        with self.register.alone():
            settled = () if check else self.settle()
            line = self.register.in_force().get(right)
            state, expected = place.look(right), place.expected(wanted.terms, wanted.until)
            same = line is not None and _terms(line) == (wanted.holder, wanted.terms, wanted.until)
            if same and state == expected:
                return Outcome(settled)
            outcome = Outcome(
                (*settled, f"{'restored' if same else 'changed' if line else 'granted'}: {right}"),
                describe(right, line.holder if line else "", state),
                describe(right, wanted.holder, expected),
            )
            if not same:
                self._may(wanted, check)
            if not check and line is not None and same:
                self._apply(right, wanted.terms, wanted.until)
                self.register.restored(line)
            elif not check:
                self._give(self.register.line(self.register.ask(wanted, line)))
            return outcome

    def revoke(self, right: Right, why: str, approval: Approval | None = None, *, check: bool = False) -> Outcome:
        """Take a right away, and before it those that rest on it.

        Raises:
            InvalidRight: not one that can be taken away here.
            NotApplied: it is not gone; run again.
            Busy: another run is at work.
        """
        self._place(right)
        with self.register.alone():
            settled = () if check else self.settle()
            done = [
                line for each in (*self._resting_on(right), right) for line in self._revoke(each, why, approval, check)
            ]
            before = "".join(text for _, text in done)
            return Outcome((*settled, *(f"revoked: {each}" for each, _ in done)), before, "")

    def settle(self) -> tuple[str, ...]:
        """Finish or take back what a run that was cut off left. Raises NotApplied."""
        done = []
        for line in self.register.unfinished():
            if line.kind not in self.places or not self._here(line.key):
                continue
            if line.revoking is not None:
                self._end(line)
                done.append(f"finished: revocation of {line.key}")
            elif line.until is not None and line.until > self.now():
                self._give(line)
                done.append(f"finished: {line.key}")
            else:
                self._take_back(line, "its end passed before it was given")
                done.append(f"taken back: {line.key}")
        return tuple(done)

    def expire(self) -> tuple[str, ...]:
        """Revoke every right of this host whose end has passed. Raises NotApplied."""
        done: list[str] = []
        for line in list(self.register.in_force().values()):
            if (
                line.kind in self.places
                and self._here(line.key)
                and line.until is not None
                and line.until <= self.now()
            ):
                done += self.revoke(line.key, "its end has passed").lines
        return tuple(done)

    def _may(self, wanted: Wanted, check: bool) -> None:
        if why := refusal(wanted.approval, self.terms.approval):
            raise NotApproved(f"{wanted.right}: {why}")
        if why := parse.not_own(wanted.approval, wanted.holder, wanted.right.account):
            raise NotApproved(f"{wanted.right}: {why}")
        if wanted.right.kind in ("sudo", "database") and not check:  # a check has not made the account before
            on = Right("operator", self.host, wanted.right.account, "login")
            if on not in self.register.in_force():
                raise InvalidRight(f"{wanted.right}: there is no record of {on}; grant that first")

    def _resting_on(self, right: Right) -> list[Right]:
        """Rights that are nothing without this one."""
        if right.kind != "operator":
            return []
        kinds = [kind for kind in ("sudo", "database") if kind in self.places]
        return [each for each in self.register.in_force() if each.kind in kinds and each.account == right.account]

    def _revoke(self, right: Right, why: str, approval: Approval | None, check: bool) -> list[tuple[Right, str]]:
        line, state = self.register.in_force().get(right), self._place(right).look(right)
        if line is None and state is None:
            return []
        self._place(right).removable(right)
        if not check:
            terms = state.terms if state else ()
            self._end(self.register.line(self.register.ask_revoke(right, line, terms, why, approval)))
        return [(right, describe(right, line.holder if line else "", state))]

    def _give(self, line: Line) -> None:
        assert line.until is not None
        try:
            self._apply(line.key, tuple(line.terms), line.until)
        except FAILURES as error:
            try:
                self._take_back(line, "it could not be applied")
            except FAILURES as worse:
                text = f"{line.key}: {error}. Taking it back failed too: {worse}"
                raise NotApplied(f"{text}. The register shows it as asked for; run again") from error
            raise NotApplied(f"{line.key}: {error}; it was taken back") from error
        self.register.given(line)

    def _apply(self, right: Right, terms: tuple[str, ...], until: datetime) -> None:
        place = self._place(right)
        place.apply(right, terms, until)
        state = place.look(right)
        if state != place.expected(terms, until):
            text = f"{right}: applied, but found is {describe(right, '', state).strip() or 'nothing'}"
            raise NotApplied(f"{text}; something beside the right gives more or less: `sensmail rights reconcile`")

    def _take_back(self, line: Line, why: str) -> None:
        before = self._before(line.replaces)
        if before is not None and before.until is not None and before.until > self.now():
            self._place(line.key).apply(line.key, tuple(before.terms), before.until)
        else:
            self._place(line.key).remove(line.key)
        self.register.taken_back(line, why)

    def _before(self, replaces: UUID | None) -> Line | None:
        return None if replaces is None else self.register.line(replaces)

    def _end(self, line: Line) -> None:
        place = self._place(line.key)
        place.remove(line.key)
        if place.look(line.key) is not None:
            raise NotApplied(f"{line.key}: still there after it was taken away; see `sensmail rights reconcile`")
        self.register.revoked(line)

    def _place(self, right: Right) -> Place:
        """Where it lives. Raises InvalidRight."""
        if right.kind not in self.places or not self._here(right):
            known = f"this is {self.host}, with {', '.join(self.places)}"
            raise InvalidRight(f"{right}: it does not live on this host ({known}); run on the host that scope names")
        for each in self.declared:
            if (each.kind, each.account) == (right.kind, right.account):
                raise InvalidRight(f"{right}: declared as set up by the deployment ({each.reason}); nobody is given it")
        place = self.places[right.kind]
        place.check(right)
        return place

    def _here(self, right: Right) -> bool:
        return right.kind not in ("operator", "sudo") or right.scope == self.host


def describe(right: Right, holder: str, state: State | None) -> str:
    """A right as a difference shows it: keys by their fingerprints."""
    if state is None:
        return ""
    what = "".join(f"  {fingerprint(term)}\n" for term in state.terms)
    ends = f"  ends {state.ends}\n" if state.ends else ""
    return f"{right}\n" + (f"  holder {holder}\n" if holder else "") + what + ends


def _terms(line: Line) -> tuple[str, tuple[str, ...], datetime | None]:
    return line.holder, tuple(line.terms), line.until
