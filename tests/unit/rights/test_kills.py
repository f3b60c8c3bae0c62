"""kill -9 before and after every step of every act: never a right without a row; the next run leaves nothing open."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest

from sensmail import store
from sensmail.rights.logins import Logins
from sensmail.rights.model import KINDS, Kind
from sensmail.rights.reconcile import reconcile
from sensmail.rights.register import ROLE
from sensmail.store import Settings
from unit.rights.conftest import LATER, Site, make_desk

# What writes: to the register, to the host, to the database.
STEPS = {
    "sensmail.rights.register": {"ask", "given", "ask_revoke", "revoked", "_note"},
    "sensmail.rights.host": {"change", "replace", "drop", "run"},
    "sensmail.rights.sessions": {"end"},
    "sensmail.rights.operator": {"apply", "remove"},
    "sensmail.rights.sudo": {"apply", "remove"},
    "sensmail.rights.database": {"apply", "remove"},
    "sensmail.rights.portal": {"apply", "remove"},
}
ACTS = ("grant", "change", "revoke")
NONE = Logins({}, ("none",))


class Killer:
    """Ends this process at the n-th step, counted at their calls and returns."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        code = frame.f_code.co_name
        if code not in STEPS.get(frame.f_globals.get("__name__", ""), ()):
            return None
        if event in ("call", "return"):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def killed(number: int, act: Callable[[], object]) -> bool:
    """Do it in a child that dies at that step; False when it had fewer."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.settrace(Killer(number))
            act()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def do(site: Site, where: Settings, kind: Kind, act: str) -> None:
    """One act with sessions of its own, as another process would."""
    operators = site.desk.places["operator"]
    with store.connect(ROLE, settings=where) as connection:
        desk = make_desk(site.host, operators.sessions, where, connection)  # type: ignore[attr-defined]
        wanted = site.wanted(kind)
        if act == "revoke":
            desk.revoke(wanted.right, "has left")
        else:
            desk.ensure(wanted if act == "grant" else replace(wanted, until=LATER - timedelta(days=9)))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_at_any_step_leaves_a_row_and_is_finished(
    site: Site, database: Settings, kind: Kind, act: str
) -> None:
    wanted, number, deadline = site.wanted(kind), 1, time.monotonic() + 120
    if kind in ("sudo", "database"):
        site.desk.ensure(site.wanted("operator"))
    while time.monotonic() < deadline:
        if act != "grant":
            site.desk.ensure(wanted)
        if not killed(number, lambda: do(site, database, kind, act)):
            break
        whats = {each.what for each in reconcile(site.desk, NONE).findings}
        assert whats <= {"unfinished"}, (number, whats)
        done = site.desk.settle()
        assert bool(done) == ("unfinished" in whats)
        assert reconcile(site.desk, NONE).findings == (), number
        site.desk.revoke(wanted.right, "next try")
        number += 1
    else:
        pytest.fail("did not come to an end")
    assert number > 8, "too few steps were met: do their names in STEPS still exist?"


def test_what_ended_meanwhile_is_taken_back(site: Site, database: Settings) -> None:
    """The intention was committed, the account made; then nobody ran until its end had passed."""
    number = 1
    while killed(number, lambda: do(site, database, "operator", "grant")):
        if site.keys().exists():
            break
        site.desk.settle()
        site.desk.revoke(site.wanted().right, "next try")
        number += 1
    site.desk.now = lambda: LATER + timedelta(seconds=1)
    assert site.desk.settle() == ("taken back: operator kim on mail: login",)
    assert site.desk.places["operator"].look(site.wanted().right) is None
    assert site.desk.register.lines()[-1].state == "void"
