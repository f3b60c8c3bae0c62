"""The changes of keys by name: what module, command and timer carry out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sensmail.custody.ceremony import change_root_here, root_change_begun
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Why
from sensmail.policy.approval import Approval
from sensmail.rotation import state
from sensmail.rotation.due import Action, Due, calendar, check_kept_long_enough, run_due
from sensmail.rotation.errors import Busy
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.reseal import SETTLE_S, Reason, check_unneeded, reseal
from sensmail.rotation.terms import Terms, load, require_approval
from sensmail.store import Connection

ACTIONS: tuple[Action, ...] = ("roll", "reseal", "root", "destroy_replaced")


@dataclass(frozen=True)
class Outcome:
    """What an action came to: a sentence, and figures."""

    text: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass
class Rotation:
    """Everything an action needs.

    Attributes:
        actor: who does it, for the records.
        reason: why.
        settle_s: see `reseal`.
    """

    sessions: Sessions
    keys: KeyService
    terms: Terms
    actor: str
    reason: str
    progress: Progress
    settle_s: float = SETTLE_S

    @classmethod
    def here(cls, keys: KeyService, actor: str, reason: str, progress: Progress) -> Rotation:
        """On this host. Raises NoPolicy, StoreError."""
        sessions = Sessions.here()
        return cls(sessions, keys, load(sessions.settings), actor, reason, progress)

    def carry_out(self, action: Action, approval: Approval | None = None) -> Outcome:
        """Do one action, or go on with one that was cut off.

        Raises:
            Refused, NotDue, Busy: nothing was done. RotationError, KeyServiceError, StoreError: run again to go on.
        """
        return getattr(self, f"_{action}")(approval)  # type: ignore[no-any-return]

    def due(self) -> Iterator[str]:
        """Whatever is due; a line for each action."""
        with self.sessions.engine() as engine:
            destroying = self.keys.status().destroying
            yield from run_due(engine, self.terms, lambda action: self.carry_out(action).text, destroying=destroying)

    def calendar(self) -> list[Due]:
        """Every action with its date."""
        with self.sessions.engine() as engine:
            return calendar(engine, self.terms, destroying=self.keys.status().destroying)

    def _roll(self, approval: Approval | None) -> Outcome:
        with self._job("roll", approval) as why:
            self.progress.phase("roll")
            epoch = self.keys.roll(why.actor, why.reason, why.approver)
        return Outcome(f"epoch {epoch} in every place; the one before is gone", {"epoch": epoch})

    def _reseal(self, approval: Approval | None) -> Outcome:
        why = self._why(approval)
        reason = Reason(why.actor, why.reason, why.approver)
        done = reseal(self.sessions, self.keys, self.terms.columns, reason, self.progress, settle_s=self.settle_s)
        text = f"every value is under a new key; {done.retired} replaced keys are kept for restores only"
        return Outcome(text, {"census": done.census, "retired": done.retired})

    def _root(self, approval: Approval | None) -> Outcome:
        if not root_change_begun():  # one that was cut off goes on with the approval that it began with
            require_approval(self.terms, approval, "root")
        steps = []
        with self._job("root", approval) as why:
            for step in change_root_here(self.keys, why):
                self.progress.step(step)
                steps.append(step)
        return Outcome("a new root key; the one before is destroyed", {"steps": steps})

    def _destroy_replaced(self, approval: Approval | None) -> Outcome:
        require_approval(self.terms, approval, "destroy_replaced")
        with self.sessions.engine() as engine:
            state.take_lock(engine)  # to the end: no reseal retires keys between the checks and the destruction
            _check_no_reseal(engine)
            check_kept_long_enough(engine, self.terms)
            check_unneeded(self.sessions, self.keys, self.terms.columns, self.progress)
            with self._job("destroy_replaced", approval) as why:
                count = self.keys.destroy_retired(why.actor, why.reason, why.approver)
                epoch = self.keys.roll(why.actor, why.reason, why.approver)  # only then are they gone from every place
        return Outcome(
            f"{count} replaced keys are destroyed, as of epoch {epoch}", {"destroyed": count, "epoch": epoch}
        )

    @contextmanager
    def _job(self, action: Action, approval: Approval | None) -> Iterator[Why]:
        why = self._why(approval)
        with self.sessions.engine() as engine:
            job = state.open_job(engine, action, action, reason=why.reason, approver=why.approver)
            yield why
            state.end_job(engine, job)

    def _why(self, approval: Approval | None) -> Why:
        if approval is None:
            return Why(self.actor, self.reason)
        return Why(self.actor, f"{self.reason}; approved by {approval.by}, {approval.reference}", approval.role)


def _check_no_reseal(engine: Connection) -> None:
    """A reseal that was cut off may have retired keys just now; only its end says when."""
    if state.find_job(engine, "reseal"):
        raise Busy(
            "destroy_replaced: a reseal was cut off, and may have retired keys just now; finish the reseal first"
        )
