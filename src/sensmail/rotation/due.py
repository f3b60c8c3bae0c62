"""Which keys are due to change, by the intervals of the policy and by what was done last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import psycopg

from sensmail.keyd.errors import KeyServiceError
from sensmail.rotation import state
from sensmail.rotation.errors import NotDue, RotationError, told
from sensmail.rotation.terms import Terms
from sensmail.store import Connection, StoreError

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

    def __str__(self) -> str:
        """As of now."""
        when = "due since" if self.now(datetime.now(UTC)) else "not due before"
        return f"{self.action}: {when} {self.on:%Y-%m-%d} ({self.why})"


def calendar(engine: Connection, terms: Terms, *, destroying: bool) -> list[Due]:
    """Every action with its date, in the order in which they are to be carried out.

    Args:
        engine: session on the engine's database.
        terms: the policy.
        destroying: what the key service says of itself: an old or dropped key may still be readable in some place.
    """
    first = _date(engine, _FIRST)
    result = []
    last = _latest(state.last_end(engine, "reseal"), first)
    if state.find_job(engine, "reseal"):
        result.append(Due("reseal", datetime.now(UTC), "one was cut off and goes on"))
    else:
        result.append(_after("reseal", last, terms.keys.reseal_days, "keys of persons"))
    result.append(_roll(engine, terms, destroying))
    last = _latest(state.last_end(engine, "root"), _date(engine, _REGISTER, "root"))
    result.append(_after("root", last, terms.keys.root_days, "root key"))
    retired, destroyed = state.last_end(engine, "reseal"), state.last_end(engine, "destroy_replaced")
    if retired and (destroyed is None or destroyed < retired):
        result.append(
            _after("destroy_replaced", retired, terms.keys.kept_for_restore_days, "replaced keys, kept for restores")
        )
    return result


def run_due(
    engine: Connection, terms: Terms, carry_out: Callable[[Action], str], moment: datetime | None = None, *,
    destroying: bool,
) -> Iterator[str]:  # fmt: skip
    """Carry out what is due and needs no approval; say what is due and needs one. Yields a line for each.

    Args:
        engine: session on the engine's database.
        terms: the policy.
        carry_out: does one action and says what came of it.
        moment: instead of now.
        destroying: see `calendar`.

    Raises:
        The first error of an action, once every other one was tried: a value that blocks a reseal must not keep a roll,
        and with it the end of purged keys, from its time.
    """
    dates, failed = calendar(engine, terms, destroying=destroying), list[Exception]()
    moment = moment or datetime.now(UTC)  # after the dates: what is due at once is dated now
    for due in dates:
        if not due.now(moment):
            yield f"{due.action}: not due before {due.on:%Y-%m-%d} ({due.why})"
        elif due.action not in UNATTENDED:
            yield f"{due.action}: DUE since {due.on:%Y-%m-%d} ({due.why}); needs the approval of {terms.keys.approval}"
        else:
            try:
                done = carry_out(due.action)
            except (RotationError, KeyServiceError, StoreError, psycopg.Error) as error:
                failed.append(error)
                done = f"FAILED: {told(error) if isinstance(error, psycopg.Error) else error}"
            yield f"{due.action}: due since {due.on:%Y-%m-%d} ({due.why}): {done}"
    if failed:
        raise failed[0]


def check_kept_long_enough(engine: Connection, terms: Terms, moment: datetime | None = None) -> None:
    """Whether every replaced key has been kept for restores as long as the policy says.

    Raises:
        NotDue: no; with the date.
    """
    retired = state.last_end(engine, "reseal")
    if retired is None:
        raise NotDue("destroy_replaced: no key was replaced yet; reseal first")
    until = retired + timedelta(days=terms.keys.kept_for_restore_days)
    if until > (moment or datetime.now(UTC)):
        raise NotDue(
            f"destroy_replaced: keys were replaced at {retired:%Y-%m-%d %H:%M} UTC and are kept for restores for "
            f"{terms.keys.kept_for_restore_days} days, until {until:%Y-%m-%d %H:%M} UTC"
        )


def _roll(engine: Connection, terms: Terms, destroying: bool) -> Due:
    """A roll that was cut off goes on at once: its new epoch is on the register long before the old one is gone."""
    if state.find_job(engine, "roll"):
        return Due("roll", datetime.now(UTC), "one was cut off and goes on")
    if destroying:
        return Due(
            "roll", datetime.now(UTC), "one is incomplete: an old or dropped key may still be readable in some place"
        )
    last = _latest(state.last_end(engine, "roll"), _date(engine, _REGISTER, "epoch"))
    return _after("roll", last, terms.keys.epoch_days, "epoch key")


def _after(action: Action, last: datetime | None, days: int, what: str) -> Due:
    if last is None:
        return Due(action, datetime.now(UTC), f"{what}: no date of a last change is known")
    return Due(action, last + timedelta(days=days), f"{what}: last {last:%Y-%m-%d}, every {days} days")


def _latest(*dates: datetime | None) -> datetime | None:
    return max((each for each in dates if each), default=None)


def _date(engine: Connection, query: str, *values: str) -> datetime | None:
    return engine.execute(query, values).fetchall()[0][0]  # type: ignore[no-any-return]
