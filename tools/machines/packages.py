"""One shared package cache (apt-cacher-ng) for every machine of every checkout on this computer.

It listens on an address of its own, so that machines of several checkouts reach the same one, and runs
under its own configuration, so that an apt-cacher-ng of the computer's owner is left alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from .places import CACHE, STATE
from .system import MachineError, pid_alive, process_start_time, run, say

ADDRESS = "198.18.0.1"
PORT = 3142
PROXY = f"http://{ADDRESS}:{PORT}"
_RUN = STATE / "package-cache"
_USER = "apt-cacher-ng"


def start() -> None:
    """Start the cache unless it answers already.

    Raises:
        MachineError: it does not answer within ten seconds.
    """
    if f" {ADDRESS}/" not in run("ip", "-o", "address", "show", "dev", "lo").stdout:
        run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    if _answers():
        return
    say("starting the package cache")
    data, logs = CACHE / "packages", _RUN / "log"
    for directory in (data, logs, _RUN):
        directory.mkdir(parents=True, exist_ok=True)
        shutil.chown(directory, _USER, _USER)
    config = _RUN / "acng.conf"
    config.write_text(
        f"CacheDir: {data}\nLogDir: {logs}\nSupportDir: /usr/lib/apt-cacher-ng\n"
        f"BindAddress: {ADDRESS}\nPort: {PORT}\nForeGround: 1\nPassThroughPattern: .*\n"
        # A stuck mirror must not stall an apt run for ever; the security suites are re-checked hourly.
        "NetworkTimeout: 60\nDlMaxRetries: 5\nExThreshold: 30\nVerboseLog: 0\n"
    )
    command = ["runuser", "-u", _USER, "--", "apt-cacher-ng", "-c", str(_RUN)]
    with (logs / "console.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (_RUN / "pid").write_text(f"{process.pid} {process_start_time(process.pid)}")
    deadline = time.monotonic() + 10
    while not _answers():
        if time.monotonic() > deadline:
            raise MachineError(f"the package cache does not answer on {PROXY}; see {logs}/console.log")
        time.sleep(0.1)


def stop() -> None:
    """Stop the cache and give its address back; the packages stay."""
    try:
        pid, start_time = Path(_RUN / "pid").read_text().split()
    except (OSError, ValueError):
        pid, start_time = "0", "-"
    if pid_alive(int(pid), start_time):
        os.killpg(int(pid), signal.SIGTERM)  # it began a session of its own
    run("ip", "address", "del", f"{ADDRESS}/32", "dev", "lo", check=False)
    shutil.rmtree(_RUN, ignore_errors=True)


def _answers() -> bool:
    try:
        socket.create_connection((ADDRESS, PORT), timeout=1).close()
    except OSError:
        return False
    return True
