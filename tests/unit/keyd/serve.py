"""The key service as tests start it: `python serve.py <keyd.toml> <engine.toml> [unit]`.

Everything is real but the unit of its callers, where one is given: test processes are in no systemd unit. With
TEST_OTHER_UNIT, processes other than the one that started it are of that unit.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from socket import socket

from sensmail.keyd import __main__ as program
from sensmail.keyd import app, service
from sensmail.keyd.caller import Caller, identify
from sensmail.keyd.settings import load
from sensmail.store import settings


def main() -> int:
    configuration, database, *unit = sys.argv[1:]
    settings.SETTINGS_PATH = Path(database)

    def who(connection: socket, /) -> Caller:
        found = identify(connection)
        other = os.environ.get("TEST_OTHER_UNIT") if found.pid != os.getppid() else None
        return Caller(other or unit[0], found.uid, found.pid) if unit else found

    for name in ("BODY_S", "IDLE_S"):
        if seconds := os.environ.get(f"TEST_{name}"):
            setattr(app, name, float(seconds))
    program.load = lambda: load(Path(configuration))  # type: ignore[attr-defined]
    program.run = lambda given: service.run(given, who=who)  # type: ignore[attr-defined]
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
