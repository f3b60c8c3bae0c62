"""What the key service refuses or cannot do. Each text names what and the fix; none carries a key or a value."""

from __future__ import annotations

from typing import ClassVar


class KeyServiceError(Exception):
    """Base. `code` stands in answers, as the refusal of one item or of the whole call; `status` is that of HTTP."""

    code: ClassVar[str] = "failed"
    status: ClassVar[int] = 500


class BadRequest(KeyServiceError):
    """Not a message of this service, or one beyond its limits."""

    code, status = "bad_request", 400


class Refused(KeyServiceError):
    """The policy does not allow this caller this act, purpose or item."""

    code, status = "refused", 403


class Unavailable(KeyServiceError):
    """Temporary: the database, a place of the key file or the service itself. Nothing was opened; try again."""

    code, status = "unavailable", 503


class TooMany(KeyServiceError):
    """More than the policy allows this unit in a minute, or than one unit may hold at a time; try again later."""

    code, status = "too_many", 429


class Closed(KeyServiceError):
    """The subject is closed: its values open for nobody until it is reopened."""

    code, status = "closed", 409


class Destroyed(KeyServiceError):
    """The subject's keys were dropped."""

    code, status = "destroyed", 409


class UnknownSubject(KeyServiceError):
    """No key was ever made for this subject, or this version of it."""

    code, status = "unknown", 409


class Retired(KeyServiceError):
    """The key version that the value names is kept for restores only, or is destroyed."""

    code, status = "retired", 409


class AlteredValue(KeyServiceError):
    """The value does not open: changed, moved from another row, field or subject, or no envelope at all."""

    code, status = "altered", 409


class RollIncomplete(KeyServiceError):
    """A new epoch is in use, but an old epoch key may still be readable in some place; roll again when it is back."""

    code, status = "roll_incomplete", 409


_BY_CODE: dict[str, type[KeyServiceError]] = {
    each.code: each
    for each in (
        BadRequest, Refused, Unavailable, TooMany, Closed, Destroyed, UnknownSubject, Retired, AlteredValue,
        RollIncomplete,
    )
}  # fmt: skip


def error_of(code: str, text: str) -> KeyServiceError:
    """The error that a code of an answer stands for."""
    return _BY_CODE.get(code, KeyServiceError)(text)
