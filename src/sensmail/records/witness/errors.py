"""Why a witness does not cosign, with the status that C2SP tlog-witness asks for; and why it does not run."""

from __future__ import annotations

from sensmail.records.errors import RecordsError

SIZE_TYPE = "text/x.tlog.size"


class Refusal(RecordsError):
    """Not cosigned. The text is the body of the answer."""

    status = 400
    media = "text/plain"


class BadSubmission(Refusal):
    """Not of the form of one, or the old size is larger than the checkpoint."""


class UnknownLog(Refusal):
    """The origin is of no log that this witness knows."""

    status = 404


class Untrusted(Refusal):
    """No signature of a key that is trusted here: the log's own, and the evolving key whose turn it is."""

    status = 403


class Conflict(Refusal):
    """The witness stands elsewhere; the body is the size that it last cosigned."""

    status = 409
    media = SIZE_TYPE

    def __init__(self, size: int) -> None:
        super().__init__(f"{size}\n")


class Unproven(Refusal):
    """The consistency proof does not hold."""

    status = 422


class NotKept(Refusal):
    """Nothing is cosigned that cannot be written down first."""

    status = 503


class WitnessFailure(RecordsError):
    """The witness cannot run; an operator has to act."""


class StoreDamaged(WitnessFailure):
    """A file of cosigned notes holds what this witness never wrote."""
