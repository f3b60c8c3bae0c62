"""Errors of the keys. Each text names the file or place and what to do; none carries key material."""

from __future__ import annotations

RESTART = "`systemctl restart sensmail-keyd`, which opens the key file again"


class KeyFailure(Exception):
    """Base of every error of this package."""


class KeyFileMissing(KeyFailure):
    """The first place holds no key file."""


class KeyFileExists(KeyFailure):
    """A place already holds a key file; a new one would destroy it."""


class Damaged(KeyFailure):
    """A file is truncated, altered, or does not follow the format."""


class Diverged(KeyFailure):
    """Two places hold different histories, or different key files."""


class FirstPlaceBehind(KeyFailure):
    """Another place holds acknowledged records that the first does not: the first was put back to an older state."""


class PlaceUnreachable(KeyFailure):
    """A place cannot be read or written."""


class PlaceFull(PlaceUnreachable):
    """A place has no room left."""


class PlaceEmpty(PlaceUnreachable):
    """A place answers but holds nothing, as an unmounted directory does."""


class PlaceNotNamed(KeyFailure):
    """A place that holds a copy is neither named nor declared lost, or the declaration does not fit."""


class RollIncomplete(KeyFailure):
    """A new epoch is in use, but an old epoch key may still be readable in some place: state `destroying`."""


class Locked(KeyFailure):
    """Another process holds the key file."""


class Unusable(KeyFailure):
    """A failed write could not be taken back; the key file must be opened again."""


class TooManyKeys(KeyFailure):
    """The key file holds as many key versions and tombstones as it may; no key was made."""


class CounterLost(KeyFailure):
    """The opening counter is missing, damaged, or older than the key file; or the number given for it is far off."""


class RootError(KeyFailure):
    """The root key cannot be used."""


class SettingsError(RootError):
    """The settings of a root provider are incomplete or wrong."""


class RootUnavailable(RootError):
    """The root provider does not answer or does not hold the key."""


class WrongRoot(RootError):
    """The root key is not the one that wrapped this epoch key."""


class UnknownSubject(KeyFailure):
    """No key was ever made for this subject, or this version of it."""


class SubjectClosed(KeyFailure):
    """The subject's keys exist, but open nothing."""


class SubjectDestroyed(KeyFailure):
    """The subject stands on the list of tombstones."""


class VersionNotUsable(KeyFailure):
    """What this version's state does not allow: a restore-only or destroyed one opens nothing online."""


class RecoveryError(KeyFailure):
    """The officers' keys do not open this copy."""


class OfficerKeyError(RecoveryError):
    """An officer's key file cannot be made or read."""
