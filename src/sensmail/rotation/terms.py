"""What the policy of this host says about keys: when they change, who approves, which columns hold sealed values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from sensmail.keyd.settings import POLICY
from sensmail.rotation.errors import NoPolicy, NotApproved
from sensmail.rotation.model import Wanted
from sensmail.store import Settings


class _Keys(msgspec.Struct, frozen=True):
    epoch_days: int
    reseal_days: int
    root_days: int
    kept_for_restore_days: int
    approval: str


class _Applied(msgspec.Struct, frozen=True):
    keys: _Keys


class _Column(msgspec.Struct, frozen=True):
    table: str
    column: str
    field: int
    protection: str
    subject: str | None = None


class _Document(msgspec.Struct, frozen=True):
    applied: _Applied
    data_map: list[_Column]


@dataclass(frozen=True)
class Terms:
    """Intervals in days; the role whose approval ends keys for good; sealed columns of the engine's database."""

    epoch_days: int
    reseal_days: int
    root_days: int
    kept_for_restore_days: int
    approval: str
    columns: tuple[Wanted, ...]


@dataclass(frozen=True)
class Approval:
    """Who approved what ends keys for good: role, name, and where that is written down."""

    role: str
    by: str
    reference: str


def load(settings: Settings, path: Path | None = None) -> Terms:
    """Read the applied policy.

    Raises:
        NoPolicy: there is none, or one of another release.
    """
    path = path or POLICY
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except (OSError, msgspec.MsgspecError) as error:
        raise NoPolicy(f"{path}: {error}; role policy writes it: run site.yml") from error
    sealed = [each for each in document.data_map if each.protection == "sealed"]
    for each in sealed:
        if each.subject is None:
            raise NoPolicy(f"{path}: {each.table}.{each.column} names no subject column; run site.yml of this release")
    keys = document.applied.keys
    columns = []
    for each in sealed:
        schema, table = each.table.split(".", 1)
        columns.append(Wanted(settings.name, schema, table, each.column, each.subject or "", each.field))
    return Terms(
        keys.epoch_days, keys.reseal_days, keys.root_days, keys.kept_for_restore_days, keys.approval,
        tuple(columns),
    )  # fmt: skip


def approved(terms: Terms, approval: Approval | None, what: str) -> Approval:
    """The approval, if it is the one that the policy asks for.

    Raises:
        NotApproved: none, of another role, or without name or reference.
    """
    if approval is None or approval.role != terms.approval:
        found = "none was given" if approval is None else f"{approval.role!r} approved"
        raise NotApproved(f"{what}: the policy asks for the approval of {terms.approval}, but {found}")
    if not (approval.by.strip() and approval.reference.strip()):
        raise NotApproved(f"{what}: name who approved (by) and where that is written down (reference)")
    return approval
