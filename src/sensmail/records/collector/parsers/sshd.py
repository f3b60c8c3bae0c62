"""OpenSSH 9 and 10: who was let in, who was not, and the end of a session.

A user name stands in the middle of a line and may hold anything a stranger types, also words of such a line; what
follows it cannot be chosen, so every pattern takes as much as it can for the name.
"""

from __future__ import annotations

import re

from sensmail.records.collector.found import Act, Found, Kind, Outcome, Refused, address

PURPOSE = "administration"
_FROM = r" from (?P<ip>\S+) port \d+"
_LOGIN = re.compile(
    r"(?P<what>Accepted|Failed) (?P<how>\S+) for (?:invalid user )?(?P<user>.*)"
    + _FROM + r" ssh2(?:: \S+ \S+)?(?: \[preauth\])?",
    re.DOTALL,
)  # fmt: skip
_INVALID = re.compile(r"Invalid user (?P<user>.*)" + _FROM, re.DOTALL)
_END = re.compile(r"pam_unix\(sshd:session\): session closed for user (?P<user>.*)", re.DOTALL)
_BEGINS = {
    "Accepted ": _LOGIN, "Failed ": _LOGIN, "Invalid user ": _INVALID, "pam_unix(sshd:session): session closed ": _END,
}  # fmt: skip
_OUTCOMES: dict[str, Outcome] = {"Accepted": "done", "Failed": "refused"}


def parse(message: str) -> Found:
    """What sshd says; steps on the way to a login are nothing of their own."""
    pattern = next((pattern for begin, pattern in _BEGINS.items() if message.startswith(begin)), None)
    if pattern is None:
        return None
    found = pattern.fullmatch(message)
    if not found:
        return Refused("sshd: a login or its end in another form than known")
    if pattern is _END:  # the process is that of the login, which had the address
        return Act("ssh.logout", PURPOSE, found["user"], Kind.HOST)
    origin = address(found["ip"])
    if not origin:
        return Refused("sshd: a login without an address")
    if pattern is _INVALID:  # sshd says so for every name that it does not know, whatever follows
        return Act("ssh.login", PURPOSE, found["user"], Kind.HOST, origin, outcome="refused")
    outcome, method = _OUTCOMES[found["what"]], found["how"][:32]
    return Act("ssh.login", PURPOSE, found["user"], Kind.HOST, origin, outcome=outcome, detail={"method": method})
