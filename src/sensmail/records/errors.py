"""Errors of the records. Each text names what is wrong, where, and what to do; none carries a secret."""

from __future__ import annotations


class RecordsError(Exception):
    """Base of every error of this package."""


class Malformed(RecordsError):
    """Bytes that are not of the form that docs/formats.md describes."""


class NotProven(RecordsError):
    """A proof, a signature or a chain of keys does not hold."""


class BeforeCut(RecordsError):
    """A proof needs leaves that were pruned."""


class KeysUnusable(RecordsError):
    """The signing keys on disk are missing, damaged, or not those that the log's last checkpoint endorses."""


class DatabaseOlder(RecordsError):
    """The signing keys have gone further than the database: it was put back to an older state."""


class HeadChanged(RecordsError):
    """Somebody else changed the head of a log, or took records out of the inbox."""


class Unfit(RecordsError):
    """A record of the inbox cannot be sealed."""


class Waiting(RecordsError):
    """Sealing is not possible now, and may be later."""


class Busy(Waiting):
    """Another sealer is at work."""


class Standby(Waiting):
    """The database takes no writes: a standby, or read-only."""


class DiskFull(Waiting):
    """The database or the directory of the keys has no room left."""


class Unreachable(Waiting):
    """The database does not answer."""
