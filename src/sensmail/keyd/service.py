"""The service as a whole: open the key file, serve, stop cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from sensmail.host import systemd
from sensmail.keyd.acts import Acts
from sensmail.keyd.admin import Administration
from sensmail.keyd.app import App, Identify
from sensmail.keyd.caller import identify
from sensmail.keyd.openings import Openings
from sensmail.keyd.recorder import ROLE, Recorder
from sensmail.keyd.rights import RightsFile
from sensmail.keyd.settings import Settings
from sensmail.keys import Keyring, Place
from sensmail.store import Connection, connect

LOG = logging.getLogger(__name__)
_TURN_S = 0.0005  # how long a thread may keep the others waiting; Python's own 5 ms is longer than a whole answer takes
_STOP_S = 30.0  # for answers that are under way
_GROUP_ONLY = 0o660


def run(settings: Settings, *, memory_locked: bool = True, who: Identify = identify) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: where everything is.
        memory_locked: what the status says of it.
        who: tells who is at the other end of a connection.

    Raises:
        KeyFailure: the key file does not open; Locked where another service holds it. OSError: of the socket.
    """
    sys.setswitchinterval(_TURN_S)
    roots = settings.roots()
    places = [Place(each) for each in settings.places]
    with Keyring.open(places, roots, lost=settings.lost) as ring:
        openings = Openings(ring)
        recorder = Recorder(openings, database)
        admin = Administration(ring, roots, recorder, openings, database)
        acts = Acts(ring, roots, recorder, admin, memory_locked)
        app = App(RightsFile(settings.policy), acts, recorder, who)
        try:
            asyncio.run(_recording(recorder, _serve(app, settings.socket, admin.reconcile_soon)))
        finally:
            acts.close()
            admin.close()


def database() -> Connection:
    """A session as the key service. Raises Unreachable."""
    return connect(ROLE)


async def _recording(recorder: Recorder, work: Awaitable[None]) -> None:
    recorder.start()
    try:
        await work
    finally:
        await recorder.stop()


async def _serve(app: App, path: Path, at_start: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.ServerRunner(app.server(), shutdown_timeout=_STOP_S)
    await runner.setup()
    listening = systemd.handed_socket()
    own = listening is None
    try:
        await web.SockSite(runner, listening or _bind(path)).start()
        at_start()
        systemd.notify("READY=1", "STATUS=holding keys")
        LOG.info("serving on %s", "the socket of systemd" if not own else path)
        await stop.wait()
        systemd.notify("STOPPING=1", "STATUS=stopping")
    finally:
        await runner.cleanup()
        if own:
            path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    """An own socket, where systemd hands none over. A stale one is removed: whoever holds the key file is alone."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    before = os.umask(0o777 & ~_GROUP_ONLY)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    return listening
