"""Roles of the portal: rows of accounts.portal_role. The portal asks them at every act, and heeds their end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString
from uuid import UUID

from sensmail.rights.errors import InvalidRight, NotApplied
from sensmail.rights.model import Right, State
from sensmail.store import Connection

ROLES = ("tenant_admin", "privacy_officer")
_FOUND: LiteralString = """
    SELECT t.name, r.subject_id, r.role, r.until, s.state::text
    FROM accounts.portal_role AS r JOIN accounts.tenant AS t ON t.id = r.tenant_id
    JOIN accounts.subject AS s ON s.id = r.subject_id
"""
_APPLY: LiteralString = """
    INSERT INTO accounts.portal_role (subject_id, tenant_id, role, until)
    SELECT %(subject)s::uuid, id, %(role)s, %(until)s::timestamptz FROM accounts.tenant WHERE name = %(tenant)s
    ON CONFLICT (subject_id, tenant_id, role) DO UPDATE SET until = EXCLUDED.until
"""
_REMOVE: LiteralString = """
    DELETE FROM accounts.portal_role AS r USING accounts.tenant AS t
    WHERE t.id = r.tenant_id AND t.name = %(tenant)s AND r.subject_id = %(subject)s::uuid AND r.role = %(role)s
"""
_PERSON: LiteralString = """
    SELECT s.state::text, t.name FROM accounts.subject AS s JOIN accounts.tenant AS t ON t.id = s.tenant_id
    WHERE s.id = %s::uuid
"""


@dataclass(frozen=True)
class Portal:
    """The place of kind `portal`."""

    connection: Connection

    def subject(self, address: str) -> UUID:
        """The subject with this mail address. Raises InvalidRight."""
        row = self.connection.execute("SELECT id FROM accounts.subject WHERE address = %s", (address,)).fetchone()
        if row is None:
            raise InvalidRight(f"portal: no mailbox {address}; `sensmail account list` shows them")
        found: UUID = row[0]
        return found

    def check(self, right: Right) -> None:
        if right.right not in ROLES:
            raise InvalidRight(f"{right}: roles of the portal are {', '.join(ROLES)}")
        if self.connection.execute("SELECT FROM accounts.tenant WHERE name = %s", (right.scope,)).fetchone() is None:
            raise InvalidRight(f"{right}: there is no tenant {right.scope!r}; module account makes tenants")
        row = self.connection.execute(_PERSON, (right.account,)).fetchone()
        if row is not None and right.right == "tenant_admin" and row[1] != right.scope:
            raise InvalidRight(
                f"{right}: that mailbox belongs to tenant {row[1]!r}; each tenant is run by its own people"
            )

    def removable(self, right: Right) -> None:
        """Nothing of this kind carries a run."""

    def expected(self, terms: tuple[str, ...], until: datetime) -> State:
        return State(terms, _text(until))

    def look(self, right: Right) -> State | None:
        return self.found().get(right)

    def apply(self, right: Right, _terms: tuple[str, ...], until: datetime) -> None:
        row = self.connection.execute(_PERSON, (right.account,)).fetchone()
        if row is None or row[0] != "active":
            raise NotApplied(f"{right}: that mailbox is {row[0] if row else 'not there'}; roles are for active ones")
        self.connection.execute(_APPLY, self._values(right) | {"until": until})

    def remove(self, right: Right) -> None:
        self.connection.execute(_REMOVE, self._values(right))

    def found(self) -> dict[Right, State]:
        rows = self.connection.execute(_FOUND)
        return {
            Right("portal", tenant, str(subject), role): State(() if state == "active" else (state,), _text(until))
            for tenant, subject, role, until, state in rows
        }

    @staticmethod
    def _values(right: Right) -> dict[str, object]:
        return {"subject": right.account, "tenant": right.scope, "role": right.right}


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
