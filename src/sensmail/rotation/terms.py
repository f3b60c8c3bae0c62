"""What the policy of this host says about keys: when they change, who approves, which columns hold sealed values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sensmail.keyd import policy
from sensmail.keyd.errors import Refused
from sensmail.policy.approval import Approval, refusal
from sensmail.rotation.model import Wanted
from sensmail.store import Settings


@dataclass(frozen=True)
class Terms:
    """Intervals and approval; sealed columns of the engine's database."""

    keys: policy.Keys
    columns: tuple[Wanted, ...]


def load(settings: Settings, path: Path | None = None) -> Terms:
    """Read the applied policy.

    Raises:
        NoPolicy: there is none, or one of another release.
    """
    document = policy.read(path)
    columns = []
    for each in document.sealed:
        if each.subject is None:
            where = f"{path or policy.PATH}: {each.table}.{each.column}"
            raise policy.NoPolicy(f"{where} names no subject column; run site.yml of this release")
        schema, table = each.table.split(".", 1)
        columns.append(Wanted(settings.name, schema, table, each.column, each.subject, each.field))
    return Terms(document.keys, tuple(columns))


def require_approval(terms: Terms, approval: Approval | None, act: str) -> None:
    """Raise Refused unless the role that the policy names has approved, with a name and a reference."""
    if why := refusal(approval, terms.keys.approval):
        raise Refused(f"{act}: {why}")
