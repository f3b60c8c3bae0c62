"""Why a checkpoint is not cosigned. Each text says what to do; `alarm` says whether a person has to."""

from __future__ import annotations

from sensmail.records.errors import RecordsError


class PublishError(RecordsError):
    """Base. `alarm`: it does not pass by itself."""

    alarm = True


class SettingsWrong(PublishError):
    """The settings file is missing or wrong."""


class Away(PublishError):
    """The witness does not answer, or says that it cannot now. Tried again, later and later."""

    alarm = False


class LogUnknown(PublishError):
    """The witness does not watch this log."""


class Refused(PublishError):
    """The witness refuses what we hand in."""


class Misbehaves(PublishError):
    """What the witness answers is not what it should: no cosignature of its key, or not of the specification's form."""


class WitnessAhead(PublishError):
    """The witness has cosigned more than this database holds: it was put back to an older state."""


class Forked(PublishError):
    """The witness has cosigned another history than this database holds."""


class WitnessWentBack(PublishError):
    """The witness knows less than it has cosigned: its store was put back, or it was replaced."""


class RowsChanged(PublishError):
    """The records are not those that were sealed."""
