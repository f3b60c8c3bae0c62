"""A worker as tests start and kill it: `python worker.py <engine.toml> <socket> protect|reseal <database> <chunk>`."""

from __future__ import annotations

import sys
from pathlib import Path

from sensmail.keyd.client import KeyService
from sensmail.rotation import passes
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Lines
from sensmail.rotation.protect import protect
from sensmail.rotation.reseal import Reason, reseal
from sensmail.store import SUPERUSER, settings


def main() -> None:
    engine, socket, act, database, chunk = sys.argv[1:]
    passes.FIRST_ROWS = passes.MOST_ROWS = int(chunk)
    where = settings.load(Path(engine))
    wanted = [
        Wanted(database, "public", "people", name, "subject", number, SUPERUSER)
        for number, name in enumerate(("phone", "note"), start=20)
    ]
    with KeyService(socket) as keys:
        if act == "protect":
            protect(Sessions(where), keys, wanted, Lines(sys.stdout), rewrite=False)
        else:
            done = reseal(Sessions(where), keys, wanted, Reason("test", "kills"), Lines(sys.stdout), settle_s=0.2)
            print("retired", done.retired, flush=True)


if __name__ == "__main__":
    main()
