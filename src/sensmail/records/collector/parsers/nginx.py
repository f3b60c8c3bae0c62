"""nginx: one JSON object a request, in the form that role `web` gives it (`log_format sensmail`).

The address is that of the connection; headers in which a client tells another are not asked for. Of a path only plain
words are kept, because a link to set a password carries its secret there; the query never reaches the log.
"""

from __future__ import annotations

import re

import msgspec

from sensmail.records.collector.found import Act, Found, Outcome, Refused, address

PURPOSE = "web"
BEGIN = "sensmail:"
_WORD = re.compile(r"\.?[a-z]{1,24}(?:[._-][a-z]{1,24}){0,3}")
_METHOD = re.compile(r"[A-Z]{1,16}")
_MAX_PARTS = 8


class _Request(msgspec.Struct):
    addr: str
    method: str
    path: str
    status: int
    agent: str


_decode = msgspec.json.Decoder(_Request).decode


def parse(message: str) -> Found:
    """A request, or nothing where it is a line about the server itself."""
    if not message.startswith(BEGIN):
        return None
    try:
        request = _decode(message.removeprefix(BEGIN))
    except msgspec.MsgspecError:
        return Refused("nginx: a request in another form than known")
    origin = address(request.addr)
    if not origin:
        return Refused("nginx: a request without an address")
    outcome: Outcome = "failed" if request.status >= 500 else "refused" if request.status >= 400 else "done"
    method = request.method if _METHOD.fullmatch(request.method) else "?"
    detail: dict[str, str | int] = {"method": method, "path": plain_path(request.path), "code": request.status}
    return Act("web.request", PURPOSE, origin=origin, client=request.agent, outcome=outcome, detail=detail)


def plain_path(path: str) -> str:
    """A path without its query, with `*` for every part that is no plain word."""
    parts = path.partition("?")[0].split("/")[1:]
    kept = [each if not each or _WORD.fullmatch(each) else "*" for each in parts[:_MAX_PARTS]]
    return "/" + "/".join(kept) + ("/*" if len(parts) > _MAX_PARTS else "")
