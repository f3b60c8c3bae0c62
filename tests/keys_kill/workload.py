"""One actor as a process: `python -m keys_kill.workload '{"kind": "reader", …}'` (JSON: see `main`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from uuid import UUID

from keys_kill.actor import Work, run
from keys_kill.auditor import Auditor
from keys_kill.reader import Reader
from keys_kill.writer import Newcomer, Writer


def main() -> None:
    """Make the actor that the argument describes, and run it."""
    told = json.loads(sys.argv[1])
    database = Path(told["database"])
    work: Work
    match told["kind"]:
        case "reader":
            work = Reader(database, told["batch"], told["seed"])
        case "writer":
            work = Writer(database, _ids(told["ids"]), told["seed"])
        case "auditor":
            work = Auditor(database, _ids(told["ids"]), told["seed"])
        case "newcomer":
            work = Newcomer(database, UUID(told["tenant"]), told["count"])
        case other:
            raise SystemExit(f"no actor is called {other!r}")
    run(work, told["pause_s"])


def _ids(path: str) -> list[UUID]:
    return [UUID(each) for each in Path(path).read_text().split()]


main()
