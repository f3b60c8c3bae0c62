"""Which keys are due to change, by the intervals of the policy and by what was done last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sensmail.rotation import state
from sensmail.rotation.errors import NotDue
from sensmail.rotation.terms import Terms
from sensmail.store import Connection

Action = Literal["roll", "reseal", "root", "destroy_replaced"]
UNATTENDED: tuple[Action, ...] = ("roll", "reseal")  # nobody needs to approve these

# What began with the key file counts from there; a roll or root change by other means stands in the key register.
_REGISTER = """
    SELECT max(coalesce(activated, made)) FROM records.key_register WHERE kind = %s
"""
_FIRST = "SELECT min(coalesce(activated, made)) FROM records.key_register WHERE kind = 'epoch'"


@dataclass(frozen=True)
class Due:
    """One action, since when it is due or when it will be, and why."""

    action: Action
    on: datetime
    why: str

    def now(self, moment: datetime) -> bool:
        """Whether the time has come."""
        return self.on <= moment


def calendar(engine: Connection, terms: Terms) -> list[Due]:
    """Every action with its date, in the order in which they are to be carried out."""
    first = _date(engine, _FIRST)
    result = []
    last = _latest(state.last_end(engine, "reseal"), first)
    if state.find_job(engine, "reseal"):
        result.append(Due("reseal", datetime.now(UTC), "one was cut off and goes on"))
    else:
        result.append(_after("reseal", last, terms.reseal_days, "keys of persons"))
    last = _latest(state.last_end(engine, "roll"), _date(engine, _REGISTER, "epoch"))
    result.append(_after("roll", last, terms.epoch_days, "epoch key"))
    last = _latest(state.last_end(engine, "root"), _date(engine, _REGISTER, "root"))
    result.append(_after("root", last, terms.root_days, "root key"))
    retired, destroyed = state.last_end(engine, "reseal"), state.last_end(engine, "destroy_replaced")
    if retired and (destroyed is None or destroyed < retired):
        result.append(
            _after("destroy_replaced", retired, terms.kept_for_restore_days, "replaced keys, kept for restores")
        )
    return result


def run_due(
    engine: Connection, terms: Terms, carry_out: Callable[[Action], str], moment: datetime | None = None
) -> Iterator[str]:
    """Carry out what is due and needs no approval; say what is due and needs one. Yields a line for each.

    Args:
        engine: session on the engine's database.
        terms: the policy.
        carry_out: does one action and says what came of it.
        moment: instead of now.
    """
    moment = moment or datetime.now(UTC)
    for due in calendar(engine, terms):
        if not due.now(moment):
            yield f"{due.action}: not due before {due.on:%Y-%m-%d} ({due.why})"
        elif due.action not in UNATTENDED:
            yield f"{due.action}: DUE since {due.on:%Y-%m-%d} ({due.why}); needs the approval of {terms.approval}"
        else:
            yield f"{due.action}: due since {due.on:%Y-%m-%d} ({due.why}): {carry_out(due.action)}"


def check_kept_long_enough(engine: Connection, terms: Terms, moment: datetime | None = None) -> None:
    """Whether every replaced key has been kept for restores as long as the policy says.

    Raises:
        NotDue: no; with the date.
    """
    retired = state.last_end(engine, "reseal")
    if retired is None:
        raise NotDue("destroy_replaced: no key was replaced yet; reseal first")
    until = retired + timedelta(days=terms.kept_for_restore_days)
    if until > (moment or datetime.now(UTC)):
        raise NotDue(
            f"destroy_replaced: keys were replaced at {retired:%Y-%m-%d %H:%M} UTC and are kept for restores for "
            f"{terms.kept_for_restore_days} days, until {until:%Y-%m-%d %H:%M} UTC"
        )


def _after(action: Action, last: datetime | None, days: int, what: str) -> Due:
    if last is None:
        return Due(action, datetime.now(UTC), f"{what}: no date of a last change is known")
    return Due(action, last + timedelta(days=days), f"{what}: last {last:%Y-%m-%d}, every {days} days")


def _latest(*dates: datetime | None) -> datetime | None:
    return max((each for each in dates if each), default=None)


def _date(engine: Connection, query: str, *values: str) -> datetime | None:
    return engine.execute(query, values).fetchall()[0][0]  # type: ignore[no-any-return]
