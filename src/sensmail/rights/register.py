"""The register of access rights (접근권한 관리대장), and the ledger's entry of each step, in one transaction.

The register has the names, the ledger none: it names a right by the id of its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from sensmail.ledger import Entry, insert
from sensmail.ledger.entry import Detail
from sensmail.policy.approval import Approval
from sensmail.rights.errors import Busy, RightsError
from sensmail.rights.model import Line, Right, Wanted
from sensmail.store import Connection

ROLE = "sensmail-rights"
_LOCK_KEY = 0x726967687473  # "rights"
_LOCK_WAIT = "60s"

_COLUMNS: LiteralString = """
    SELECT id, number, kind, scope, account, "right", holder, terms, until, reason, approver_role, approver, reference,
        replaces, asked, granted, void, changed, revoking, revoked, revoke_reason, revoke_approver, revoke_reference
    FROM records.access_right
"""
_ASK: LiteralString = """
    INSERT INTO records.access_right (kind, scope, account, "right", holder, terms, until, reason,
        approver_role, approver, reference, replaces)
    VALUES (%(kind)s, %(scope)s, %(account)s, %(right)s, %(holder)s, %(terms)s, %(until)s, %(reason)s,
        %(role)s, %(by)s, %(reference)s, %(replaces)s) RETURNING id
"""
_ASK_UNRECORDED: LiteralString = """
    INSERT INTO records.access_right (kind, scope, account, "right", holder, terms, reason,
        revoking, revoke_reason, revoke_approver, revoke_reference)
    VALUES (%(kind)s, %(scope)s, %(account)s, %(right)s, '', %(terms)s, 'found without a record',
        now(), %(reason)s, %(by)s, %(reference)s) RETURNING id
"""
_REVOKE: LiteralString = """
    UPDATE records.access_right SET revoking = now(), revoke_reason = %(reason)s, revoke_approver = %(by)s,
        revoke_reference = %(reference)s
    WHERE id = %(id)s AND granted IS NOT NULL AND changed IS NULL AND revoking IS NULL
"""
_GRANTED: LiteralString = """
    UPDATE records.access_right SET granted = now()
    WHERE id = %s AND granted IS NULL AND void IS NULL AND revoking IS NULL
"""
_CHANGED: LiteralString = """
    UPDATE records.access_right SET changed = now()
    WHERE id = %s AND granted IS NOT NULL AND changed IS NULL AND revoking IS NULL
"""
_VOID: LiteralString = """
    UPDATE records.access_right SET void = now()
    WHERE id = %s AND granted IS NULL AND void IS NULL AND revoking IS NULL
"""
_REVOKED: LiteralString = """
    UPDATE records.access_right SET revoked = now() WHERE id = %s AND revoking IS NOT NULL AND revoked IS NULL
"""
_PRUNE: LiteralString = """
    DELETE FROM records.access_right
    WHERE coalesce(revoked, changed, void) < now() - make_interval(days => %s) RETURNING id
"""


@dataclass(frozen=True)
class Actor:
    """Who does it, for the records: account, where they sit, program, and the unit that the kernel names."""

    account: str
    origin: str = ""
    client: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Register:
    """The register, through a session of role sensmail-rights. A method that writes is one transaction."""

    connection: Connection
    actor: Actor

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one run at a time read, apply and record. Raises Busy."""
        try:
            with self.connection.transaction():
                self.connection.execute("SELECT set_config('lock_timeout', %s, true)", (_LOCK_WAIT,))
                self.connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        except psycopg.errors.LockNotAvailable:
            raise Busy(f"another run works on access rights since more than {_LOCK_WAIT}; run again later") from None
        try:
            yield
        finally:
            if not self.connection.broken:
                self.connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK_KEY,))

    def lines(self, condition: LiteralString = "true", values: tuple[object, ...] = ()) -> list[Line]:
        """Rows, oldest first."""
        with self.connection.cursor(row_factory=class_row(Line)) as cursor:
            return cursor.execute(f"{_COLUMNS} WHERE {condition} ORDER BY number", values).fetchall()

    def in_force(self) -> dict[Right, Line]:
        """The term of every right that was given and not ended, also while its end is under way."""
        return {line.key: line for line in self.lines("granted IS NOT NULL AND changed IS NULL AND revoked IS NULL")}

    def unfinished(self) -> list[Line]:
        """Intentions whose end is not recorded: a run that was cut off."""
        return self.lines("revoked IS NULL AND void IS NULL AND (granted IS NULL OR revoking IS NOT NULL)")

    def ask(self, wanted: Wanted, replaces: Line | None) -> UUID:
        """Write down what is about to be given. What is not committed here is not given."""
        approval = wanted.approval
        assert approval is not None
        values = _key(wanted.right) | {
            "holder": wanted.holder, "terms": list(wanted.terms), "until": wanted.until, "reason": wanted.reason,
            "role": approval.role, "by": approval.by, "reference": approval.reference,
            "replaces": replaces.id if replaces else None,
        }  # fmt: skip
        with self.connection.transaction():
            row = self.connection.execute(_ASK, values).fetchone()
            assert row is not None
            self._note("rights.ask", row[0], wanted.right, wanted.reason, approval.role)
        return UUID(str(row[0]))

    def given(self, line: Line) -> None:
        """The right is in force now; the term before it has ended."""
        with self.connection.transaction():
            if line.replaces is not None:
                self._one(_CHANGED, line.replaces, line.key)
            self._one(_GRANTED, line.id, line.key)
            act = "rights.grant" if line.replaces is None else "rights.change"
            self._note(act, line.id, line.key, line.reason, line.approver_role)

    def taken_back(self, line: Line, why: str) -> None:
        """The intention came to nothing."""
        with self.connection.transaction():
            self._one(_VOID, line.id, line.key)
            self._note("rights.take_back", line.id, line.key, why)

    def restored(self, line: Line) -> None:
        """The right had been altered where it lives, and is what the record says again."""
        with self.connection.transaction():
            self._note("rights.restore", line.id, line.key, "it was not what the register says")

    def ask_revoke(
        self, right: Right, line: Line | None, terms: tuple[str, ...], why: str, by: Approval | None
    ) -> UUID:
        """Write down what is about to be taken away; where there is no row, as found without one."""
        values: dict[str, object] = {"reason": why, "by": by.by if by else "", "reference": by.reference if by else ""}
        with self.connection.transaction():
            if line is None:
                row = self.connection.execute(_ASK_UNRECORDED, _key(right) | values | {"terms": list(terms)}).fetchone()
                assert row is not None
                which = UUID(str(row[0]))
            else:
                which = line.id
                self._one(_REVOKE, values | {"id": which}, right)
            self._note("rights.ask_revoke", which, right, why, by.role if by else "")
        return which

    def revoked(self, line: Line) -> None:
        """The right is gone."""
        with self.connection.transaction():
            self._one(_REVOKED, line.id, line.key)
            self._note("rights.revoke", line.id, line.key, line.revoke_reason or "")

    def line(self, which: UUID) -> Line:
        """One row."""
        (found,) = self.lines("id = %s", (which,))
        return found

    def prune(self, days: int) -> int:
        """Delete rows whose right ended longer ago; returns how many."""
        with self.connection.transaction():
            gone = len(self.connection.execute(_PRUNE, (days,)).fetchall())
            if gone:
                detail: Detail = {"count": gone, "table": "records.access_right"}
                insert(self.connection, [self._entry("rights.prune", detail)])
        return gone

    def _one(self, statement: LiteralString, values: object, right: Right) -> None:
        given = values if isinstance(values, dict) else (values,)
        if self.connection.execute(statement, given).rowcount != 1:
            raise RightsError(f"{right}: its row in records.access_right is not as it was read; run again")

    def _note(self, act: str, which: UUID, right: Right, reason: str, approver: str = "") -> None:
        detail: Detail = {"right": str(which), "items": [str(right.kind)], "reason": reason, "approver": approver}
        subject = UUID(right.account) if right.kind == "portal" else None
        insert(self.connection, [self._entry(act, detail, subject)])

    def _entry(self, act: str, detail: Detail, subject: UUID | None = None) -> Entry:
        who = self.actor
        return Entry("governance", act, who.account, who.origin, subject, who.client, unit=who.unit, detail=detail)


def _key(right: Right) -> dict[str, object]:
    return {"kind": right.kind, "scope": right.scope, "account": right.account, "right": right.right}
