"""What a right is, what is wanted, what the register holds, and what is found where rights live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from sensmail.policy.approval import Approval

Kind = Literal["operator", "sudo", "database", "portal"]
KINDS: tuple[Kind, ...] = ("operator", "sudo", "database", "portal")


@dataclass(frozen=True, order=True)
class Right:
    """Which right it is. At most one term of it is in force at a time.

    Attributes:
        scope: name of the host, of the database, or of the tenant.
        account: who has it there: login name, database role, or, for the portal, the id of the subject.
        right: `login`, `sudo`, a read role of the database, or a role of the portal.
    """

    kind: Kind
    scope: str
    account: str
    right: str

    def __str__(self) -> str:
        return f"{self.kind} {self.account} on {self.scope}: {self.right}"


@dataclass(frozen=True)
class Wanted:
    """A right that somebody shall have: public SSH keys or commands as `terms`, sorted; `until` with a time zone."""

    right: Right
    holder: str
    terms: tuple[str, ...]
    until: datetime
    reason: str
    approval: Approval | None


@dataclass(frozen=True)
class Line:
    """One row of the register, in the order of its columns. None: has not happened."""

    id: UUID
    number: int
    kind: Kind
    scope: str
    account: str
    right: str
    holder: str
    terms: list[str]
    until: datetime | None
    reason: str
    approver_role: str
    approver: str
    reference: str
    replaces: UUID | None
    asked: datetime
    granted: datetime | None
    void: datetime | None
    changed: datetime | None
    revoking: datetime | None
    revoked: datetime | None
    revoke_reason: str | None
    revoke_approver: str | None
    revoke_reference: str | None

    @property
    def key(self) -> Right:
        """Which right it is about."""
        return Right(self.kind, self.scope, self.account, self.right)

    @property
    def state(self) -> Literal["asked", "in force", "void", "changed", "being revoked", "revoked"]:
        """How far it has come."""
        if self.revoking:
            return "revoked" if self.revoked else "being revoked"
        if self.changed:
            return "changed"
        if self.void:
            return "void"
        return "in force" if self.granted else "asked"


@dataclass(frozen=True)
class State:
    """What a right gives where it lives; equal states give the same. `ends` is as exact as that place keeps it."""

    terms: tuple[str, ...] = ()
    ends: str = ""


class Place(Protocol):
    """Where rights of one kind live. Every act may be repeated; each raises NotApplied."""

    def check(self, right: Right) -> None:
        """Refuse what this place can never give. Raises InvalidRight."""

    def removable(self, right: Right) -> None:
        """Refuse to take away what this run itself needs. Raises InvalidRight."""

    def expected(self, terms: tuple[str, ...], until: datetime) -> State:
        """What `look` returns once the right is applied."""

    def look(self, right: Right) -> State | None:
        """What the account has of it now; None: nothing."""

    def apply(self, right: Right, terms: tuple[str, ...], until: datetime, /) -> None:
        """Give it, exactly so."""

    def remove(self, right: Right) -> None:
        """Take it away, and end what was begun under it."""

    def found(self) -> dict[Right, State]:
        """Every right of this kind that somebody has here."""
