"""What Ansible modules ask for and show, as plain data."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sensmail.keyd.client import KeyService
from sensmail.policy.approval import Approval
from sensmail.rotation.actions import Rotation
from sensmail.rotation.due import UNATTENDED
from sensmail.rotation.model import JOBS, Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import Protected, preview, protect
from sensmail.rotation.terms import load, require_approval


def wanted_columns(sessions: Sessions, columns: Sequence[Mapping[str, Any]] | None) -> list[Wanted]:
    """Columns as a task names them, or those of the data map.

    Raises:
        NoPolicy: the data map was asked for, and there is none.
    """
    if columns is None:
        return list(load(sessions.settings).columns)
    result = []
    for each in columns:
        schema, dot, table = each["table"].partition(".")
        schema, table = (schema, table) if dot else ("public", schema)
        database, login = each.get("database") or sessions.settings.name, each.get("login_role") or JOBS
        result.append(Wanted(database, schema, table, each["column"], each["subject"], each["field"], login))
    return result


def protect_columns(
    keys: KeyService, columns: Sequence[Mapping[str, Any]] | None, *, rewrite: bool, check: bool
) -> dict[str, Any]:
    """Seal columns, or count what would be sealed. The answer of module field_encryption.

    Raises:
        RotationError, StoreError, KeyServiceError, psycopg.Error.
    """
    sessions = Sessions.here()
    wanted = wanted_columns(sessions, columns)
    done = preview(sessions, wanted) if check else protect(sessions, keys, wanted, Progress(), rewrite=rewrite)
    return {
        "changed": any(each.changed for each in done),
        "diff": {"before": _clear(done), "after": "".join(f"{name}: 0 values in clear\n" for name, _ in _counts(done))},
        "columns": [
            {
                "name": f"{each.table}.{column}",
                "in_clear": count,
                "census": each.census.get(column, {}),
                "protected_from": date.isoformat() if (date := each.protected_from[column]) else "",
            }
            for each in done
            for column, count in each.in_clear.items()
        ],
        "notes": [note for each in done for note in each.notes],
    }


def rotate(
    keys: KeyService, action: str, reason: str, approval: Mapping[str, str] | None, *, check: bool
) -> dict[str, Any]:
    """Change keys, or say what would be done. The answer of module key_rotation.

    Raises:
        RotationError, StoreError, KeyServiceError, psycopg.Error.
    """
    rotation = Rotation.here(keys, pwd.getpwuid(os.getuid()).pw_name, reason, Progress())
    agreed = Approval(**approval) if approval else None
    if action == "due":
        dates = rotation.calendar()
        now = datetime.now(UTC)  # after the dates: what is due at once is dated now
        changed = any(each.now(now) and each.action in UNATTENDED for each in dates)
        lines = [str(each) for each in dates] if check else list(rotation.due())
        return {"changed": changed, "lines": lines}
    if check:
        if action not in UNATTENDED:
            require_approval(rotation.terms, agreed, action)
        return {"changed": True, "lines": [f"{action} would be carried out"]}
    outcome = rotation.carry_out(action, agreed)  # type: ignore[arg-type]
    return {"changed": True, "lines": [f"{action}: {outcome.text}"], "result": outcome.detail}


def _counts(done: Sequence[Protected]) -> list[tuple[str, int]]:
    return [(f"{each.table}.{column}", count) for each in done for column, count in each.in_clear.items() if count]


def _clear(done: Sequence[Protected]) -> str:
    return "".join(f"{name}: {count} values in clear\n" for name, count in _counts(done))
