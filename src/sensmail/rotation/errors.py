"""Errors of rotation. Each names the table or setting and the fix; none carries a value or a key."""

from __future__ import annotations

import psycopg


class RotationError(Exception):
    """A pass over sealed columns cannot be done as asked."""


class NotProtectable(RotationError):
    """A table or column that cannot be sealed as it is; found before anything was written."""


class ForeignState(RotationError):
    """The schema of our state in a database belongs to somebody else, who could have put anything into it."""


class Blocked(RotationError):
    """The pass went through every row, but some values could not be brought to their form; they are listed."""


class Busy(RotationError):
    """Another run is at work, or transactions stay open that may still bring old values."""


class NotDue(RotationError):
    """Asked for before the time that the policy sets."""


def told(error: psycopg.Error) -> str:
    """What the database said, without details: those may show a row."""
    return error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]
