"""Where the login sessions of this host come from: sshd says it at the login only, and their end is to say it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sensmail.records.collector.found import Act
from sensmail.records.collector.line import Line

LOGIN, LOGOUT = "ssh.login", "ssh.logout"
_MOST = 4096


class Sessions:
    """Origins by process, of the present run of the system; kept in the database with the place in the journal."""

    def __init__(self, kept: Mapping[str, str]) -> None:
        self._origins = dict(kept)

    def follow(self, line: Line, act: Act) -> Act:
        """The act; with its origin and session, where it begins or ends one."""
        if act.act not in (LOGIN, LOGOUT):
            return act
        session = f"{line.position.boot[:8]}.{line.pid}"
        act = replace(act, detail={**act.detail, "session": session})
        if act.act == LOGIN:
            if act.outcome == "done":
                self._origins[session] = act.origin
                while len(self._origins) > _MOST:
                    del self._origins[next(iter(self._origins))]
            return act
        return replace(act, origin=self._origins.pop(session, ""))

    def kept(self) -> dict[str, str]:
        """What is to be kept."""
        return dict(self._origins)
