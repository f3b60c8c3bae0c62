"""How long each ledger is kept: the stricter of policy and law, for the number of persons that there are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from sensmail.policy.durations import Duration, longer
from sensmail.policy.law import load_law
from sensmail.records.entry import Ledger
from sensmail.records.errors import RecordsError

POLICY = Path("/etc/sensmail/policy.json")
_PATHS = {"access": "art4.access_log.retention", "governance": "art4.access_rights.retention"}


class NoPolicy(RecordsError):
    """The policy of this host cannot be read."""


class _Applied(msgspec.Struct, frozen=True):
    access_log_retention: str
    access_right_retention: str
    unwitnessed_deletion: str


class _Document(msgspec.Struct, frozen=True):
    applied: _Applied


@dataclass(frozen=True)
class Terms:
    """What the policy says about the end of records.

    Attributes:
        days: to keep the records of each ledger.
        unwitnessed: whether records may be deleted where no witness is set up.
    """

    days: dict[Ledger, int]
    unwitnessed: bool


def load(subjects: int, path: Path | None = None) -> Terms:
    """Read the applied policy.

    Args:
        subjects: how many persons there are now; the law asks more from a certain number on.
        path: default: the policy of this host.

    Raises:
        NoPolicy: there is none, or one of another release.
    """
    path = path or POLICY
    try:
        applied = msgspec.json.decode(path.read_bytes(), type=_Document).applied
        promised: dict[Ledger, Duration] = {
            "access": Duration.parse(applied.access_log_retention),
            "governance": Duration.parse(applied.access_right_retention),
        }
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise NoPolicy(f"{path}: {error}; role policy writes it: run site.yml") from error
    days = {}
    for ledger, value in promised.items():
        for duty in load_law().of_path(_PATHS[ledger]):
            if duty.kind == "at_least":
                value = longer(value, duty.floor(subjects))
        days[ledger] = value.longest_days
    return Terms(days, applied.unwitnessed_deletion == "allowed")
