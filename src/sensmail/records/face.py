"""What commands and modules ask of the records and show, as plain data."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensmail.records import prune as pruning
from sensmail.records.cosignature import COSIGNATURE
from sensmail.records.export import Asked, export
from sensmail.records.note import VerifierKey
from sensmail.records.prune import Pruned
from sensmail.records.prune_plan import Part, Plan
from sensmail.records.publisher import settings as publisher
from sensmail.records.verify import show
from sensmail.records.verify.whole import Held, verify
from sensmail.store import connect

JOBS = "sensmail-jobs"


def act(
    action: str,
    path: str | None,
    reason: str | None,
    log_keys: Sequence[str],
    witness_keys: Sequence[str],
    *,
    check: bool,
) -> dict[str, Any]:
    """The answer of module records; `failed` where a verification was not clean.

    Raises:
        RecordsError, StoreError, psycopg.Error, OSError.
    """
    if action == "prune":
        return prune(operator(), datetime.now(UTC), check=check)
    if action == "export":
        return _export(Path(path or ""), reason or "", check=check)
    return _verify(Path(path or ""), log_keys, witness_keys)


def operator() -> str:
    """The account behind this process, for the records: that before sudo, or its own."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _export(path: Path, reason: str, *, check: bool) -> dict[str, Any]:
    if check:
        return {"changed": True, "lines": [f"{path}: would be recorded and written"], "result": {}}
    with connect(JOBS) as connection:
        done = export(connection, path, Asked(operator(), reason))
    said = [f"{path}: {done.records} records of {done.logs} logs"]
    said.append(
        "the record of it is not sealed yet" if done.number is None else f"recorded as governance {done.number}"
    )
    return {"changed": True, "lines": said, "result": {"records": done.records, "number": done.number}}


def _verify(path: Path, log_keys: Sequence[str], witness_keys: Sequence[str]) -> dict[str, Any]:
    logs = [VerifierKey.from_text(each) for each in log_keys]
    found = verify(path, Held(logs, [VerifierKey.from_text(each, COSIGNATURE) for each in witness_keys]))
    said = show.text(found).splitlines()
    return {
        "changed": False,
        "lines": said,
        "result": show.document(found),
        "failed": show.code(found) != show.VERIFIED,
    }


def prune(account: str, now: datetime, *, check: bool, unit: str = "", path: Path | None = None) -> dict[str, Any]:
    """Delete what may go, or look only.

    Args:
        account: who; stands in the record.
        now: in UTC.
        check: change nothing.
        unit: systemd unit that does it; the same.
        path: settings of the publisher, which name the witnesses.

    Returns:
        changed; lines for people; partitions that went or would go, by log; a diff of these.

    Raises:
        RecordsError, StoreError, psycopg.Error.
    """
    keys = _witnesses(path or publisher.PATH)
    with connect(pruning.ROLE) as connection:
        found = pruning.look(connection, keys, now) if check else pruning.prune(connection, keys, now, account, unit)
    gone = {
        f"{each.ledger}/{each.generation}": [part.number for part in each.going] for each in found.plans if each.going
    }
    diff = {"before": "".join(f"{log} {part}\n" for log, parts in gone.items() for part in parts), "after": ""}
    return {"changed": found.changed, "lines": lines(found, check=check), "result": gone, "diff": diff}


def _witnesses(path: Path) -> Sequence[VerifierKey]:
    """Keys of the witnesses that are set up: from the file alone, for a row of the database proves nothing."""
    return [each.verifier() for each in publisher.load(path).witnesses] if path.exists() else []


def lines(found: Pruned, *, check: bool) -> list[str]:
    """What went or would go, what stays, and why."""
    made = []
    verb = "goes" if check else "is gone"
    for plan in found.plans:
        made += [f"{_name(plan, each)} {verb}: {_why(plan, each)}" for each in plan.going]
        if plan.why:
            made.append(f"{plan.ledger}: more is due, but {plan.why}")
        elif plan.staying:
            made.append(f"{_name(plan, plan.staying)} stays: {_why(plan, plan.staying)}")
        elif not plan.going:
            made.append(f"{plan.ledger} generation {plan.generation}: nothing is old enough to be a whole partition")
    if found.held:
        made.append(
            f"{found.held} records are under a legal hold: {'they will be' if check else 'they are'} kept aside"
        )
    if found.released:
        made.append(f"{found.released} records kept aside are under no hold any more: {'they go' if check else 'gone'}")
    return made


def _name(plan: Plan, part: Part) -> str:
    year, month = divmod(part.number % 1_000_000, 100)
    what = f"records {part.first} to {part.end - 1}" if part.end > part.first else "no records"
    return f"{plan.ledger} {year}-{month:02d} ({what})"


def _why(plan: Plan, part: Part) -> str:
    return f"last sealed {part.sealed:%Y-%m-%d}, kept {plan.days} days, due {part.due:%Y-%m-%d}"
