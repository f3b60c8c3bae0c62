"""Dovecot 2.4: logins, what a mail program calls itself, and what a session did.

Logins and names of programs are events that role `mailbox` has exported as JSON, so that no name that a stranger typed
can stand for another field. The end of a session is a line of text; it begins with what Dovecot vouches for.
"""

from __future__ import annotations

import re

import msgspec

from sensmail.records.collector.found import Act, Found, Kind, Refused, address

PURPOSE = "mail"
_EVENT = "stats: {"
_LOGIN, _PROGRAM = "auth_request_finished", "imap_id_received"
_PROTOCOLS = frozenset({"imap", "pop3", "sieve", "smtp"})
# RFC 2971: pairs of quoted strings.
_ID = re.compile(r'"((?:[^"\\]|\\.)*)" +"((?:[^"\\]|\\.)*)"')
_END = re.compile(
    r"(?P<protocol>imap|pop3|managesieve)\((?P<user>[^()<>\s]+)\)<\d+><(?P<session>[^<>]*)><(?P<ip>[^<>]*)>: "
    r"(?P<rest>.*)",
    re.DOTALL,
)
_COUNTS = {
    "imap": re.compile(r".* in=\d+ out=(?P<bytes>\d+) deleted=\d+ expunged=(?P<deleted>\d+) .*"
                       r"\bbody_count=(?P<read>\d+) body_bytes=\d+", re.DOTALL),
    "pop3": re.compile(r".* top=\d+/\d+, retr=(?P<read>\d+)/(?P<bytes>\d+), del=(?P<deleted>\d+)/\d+, size=\d+",
                       re.DOTALL),
    "managesieve": re.compile(r".* bytes=\d+/(?P<bytes>\d+)", re.DOTALL),
}  # fmt: skip


class _Fields(msgspec.Struct):
    protocol: str = ""
    remote_ip: str = ""
    original_user: str = ""
    user: str = ""
    session: str = ""
    success: str = ""
    mechanism: str = ""
    client_id: str = ""
    id_param_name: str = ""
    id_param_version: str = ""


class _Event(msgspec.Struct):
    event: str
    fields: _Fields


_decode = msgspec.json.Decoder(_Event).decode


def parse(message: str) -> Found:
    """What Dovecot says; its other lines repeat it in words, or are about the server itself."""
    if message.startswith(_EVENT):
        try:
            said = _decode(message.removeprefix("stats: "))
        except msgspec.MsgspecError:
            return Refused("dovecot: an event in another form than known")
        return _login(said.fields) if said.event == _LOGIN else _program(said) if said.event == _PROGRAM else None
    end = _END.fullmatch(message)
    counts = _COUNTS[end["protocol"]].fullmatch(end["rest"]) if end else None
    if not end or not counts:
        return None
    protocol = "sieve" if end["protocol"] == "managesieve" else end["protocol"]
    detail: dict[str, str | int] = {name: int(value[:18]) for name, value in counts.groupdict().items()}
    detail["session"] = end["session"]
    return Act(f"{protocol}.logout", PURPOSE, end["user"], Kind.MAIL, address(end["ip"]), detail=detail)


def _login(said: _Fields) -> Found:
    if said.protocol not in _PROTOCOLS:  # a check by the operator's own command
        return None
    origin = address(said.remote_ip)
    if not origin:
        return Refused("dovecot: a login without an address")
    return Act(
        f"{said.protocol}.login",
        PURPOSE,
        said.original_user,
        Kind.MAIL,
        origin,
        _named(dict(_ID.findall(said.client_id))),
        "done" if said.success == "yes" else "refused",
        {"method": said.mechanism[:32], "session": said.session},
    )


def _program(said: _Event) -> Found:
    """A program that names itself after the login; before it, the login has the name."""
    fields = said.fields
    if not fields.user:
        return None
    client = _named({"name": fields.id_param_name, "version": fields.id_param_version})
    return Act(
        "imap.client", PURPOSE, fields.user, Kind.MAIL, address(fields.remote_ip), client,
        detail={"session": fields.session},
    )  # fmt: skip


def _named(pairs: dict[str, str]) -> str:
    return " ".join(value for key in ("name", "version") if (value := pairs.get(key, "").replace("\\", "")))
