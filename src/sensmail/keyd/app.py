"""HTTP on the Unix socket: `POST /v1/<act>`, one message in, one message out; errors as protocol.Failure."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import web

from sensmail.host import http
from sensmail.keyd import protocol
from sensmail.keyd.acts import Acts, Call
from sensmail.keyd.caller import Caller, identify
from sensmail.keyd.errors import BadRequest, KeyServiceError, Refused, TooMany
from sensmail.keyd.limits import Shares, Throttle
from sensmail.keyd.recorder import Recorder
from sensmail.keyd.rights import RightsFile
from sensmail.ledger import Entry

LOG = logging.getLogger(__name__)
BODY_S = 30.0  # for the whole of a message to arrive
IDLE_S = 120.0  # a connection without a whole request for so long is closed; clients connect again
MAX_CONNECTIONS = 512
MAX_OF_A_UNIT = MAX_CONNECTIONS // 4  # so that no unit leaves the others none
_PATH = "/v1/"
_HTTP_LOG = logging.getLogger(f"{__name__}.http")
_DECODERS = {act: msgspec.msgpack.Decoder(message) for act, (message, _) in protocol.ACTS.items()}


class Identify(Protocol):
    """Who is at the other end of a connection."""

    def __call__(self, connection: socket.socket, /) -> Caller:
        """See `caller.identify`."""


class App:
    """From bytes to acts and back."""

    def __init__(self, rights: RightsFile, acts: Acts, recorder: Recorder, identify: Identify = identify) -> None:
        self._rights, self._acts, self._recorder, self._identify = rights, acts, recorder, identify
        self._callers: WeakKeyDictionary[asyncio.BaseTransport, Caller] = WeakKeyDictionary()
        self._throttle = Throttle()
        self._bodies = Shares("bytes of messages under way", protocol.MAX_BODY, "wait for an answer before the next")

    def server(self) -> web.Server:
        """What a site of aiohttp serves."""
        return _Server(
            self.handle, self._connected, request_factory=_request, keepalive_timeout=IDLE_S, access_log=None,
            max_field_size=1024, max_line_size=1024, max_headers=16, lingering_time=1.0, auto_decompress=False,
            tcp_keepalive=False, logger=_HTTP_LOG,
        )  # fmt: skip

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request. What goes wrong is answered too; a fault of this program is logged without its data."""
        act = request.path.removeprefix(_PATH)
        try:
            return _answer(200, await self._handle(act, request))
        except KeyServiceError as error:
            return _answer(error.status, protocol.Failure(error.code, str(error)))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            at = error.__traceback__
            while at is not None and at.tb_next is not None:
                at = at.tb_next
            where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else "?"
            LOG.error("%s: fault of this program: %s at %s", act, type(error).__name__, where)
            return _answer(500, protocol.Failure(KeyServiceError.code, f"{act}: fault of the key service; see its log"))

    async def _handle(self, act: str, request: web.BaseRequest) -> Any:
        decoder = _DECODERS.get(act)
        if decoder is None or request.method != "POST" or not request.path.startswith(_PATH):
            raise BadRequest(f"POST {_PATH}<act> is known, where act is one of {', '.join(protocol.ACTS)}")
        caller = self._caller(request)
        rights = self._rights.current()
        purpose = ""
        try:
            right = rights.may(caller, act)
            with self._bodies.held(caller.unit, _length(request)):  # until it is answered: it lies in memory so long
                message = decoder.decode(await _body(request))
                purpose = getattr(message, "purpose", "")
                return await self._acts.answer(Call(act, caller, rights, right, message))
        except msgspec.MsgspecError as error:
            raise BadRequest(f"{act}: {error}") from error
        except (Refused, TooMany) as error:
            known = any(purpose in each.purposes for each in rights.units.values())
            await self._note(act, caller, purpose, error, kind=purpose if known else "")
            raise

    def _connected(self, transport: asyncio.BaseTransport) -> str:
        """Look up at once who opened this connection: later its process may have ended, its number be another's."""
        caller = self._callers[transport] = self._identify(transport.get_extra_info("socket"))
        return caller.unit

    def _caller(self, request: web.BaseRequest) -> Caller:
        """Who opened this connection."""
        caller = self._callers.get(request.transport) if request.transport else None
        if caller is None:
            raise ConnectionResetError
        return caller

    async def _note(self, act: str, caller: Caller, purpose: str, error: KeyServiceError, kind: str) -> None:
        """Record a refusal: the first of its kind each minute, with the number of those before it.

        Purposes that the policy does not know are one kind, or a caller could write as many records as it invents.
        """
        repeated = self._throttle.pass_on((caller.unit, caller.uid, act, kind, error.code))
        if repeated is None:
            return
        LOG.warning("%s for %s: %s", act, caller, error)
        detail: dict[str, int | str] = {"code": error.code}
        if repeated:
            detail["repeated"] = repeated
        account = f"uid {caller.uid}"
        entry = Entry(
            "governance", f"keys.{act}", account, purpose=purpose, outcome="refused", unit=caller.unit, detail=detail
        )
        try:
            await self._recorder.record([entry])
        except KeyServiceError as failure:
            LOG.warning("this refusal is not recorded: %s", failure)


_HTTP_LOG.addFilter(http.without_data)


class _Server(web.Server):
    """Takes so many connections at once and no more, so that files for keys can always be opened."""

    _open = 0

    def __init__(self, handler: Any, connected: Callable[[asyncio.BaseTransport], str], **options: Any) -> None:
        super().__init__(handler, **options)
        self._connected, self._throttle = connected, Throttle()
        self._shares = Shares("connections", MAX_OF_A_UNIT, "close those that are not needed")
        self._units: dict[Any, str] = {}  # of connections within their unit's share

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        unit = self._connected(transport)
        try:
            self._shares.take(unit, 1)
        except TooMany as error:
            if self._throttle.pass_on(unit) is not None:
                LOG.warning("%s", error)
            transport.write(_last_words(error))
            transport.close()
        else:
            self._units[handler] = unit

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self._open -= 1
        if (unit := self._units.pop(handler, None)) is not None:
            self._shares.give_back(unit, 1)
        super().connection_lost(handler, exc)

    def __call__(self) -> Any:
        if self._open >= MAX_CONNECTIONS:
            LOG.warning("%s connections at once: a further one was closed", MAX_CONNECTIONS)
            return http.Full()
        self._open += 1  # here, because a whole burst is accepted before the first connection_made
        return super().__call__()


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    return web.BaseRequest(
        message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=_MAX_BODY
    )


_MAX_BODY = protocol.MAX_BODY


def _length(request: web.BaseRequest) -> int:
    """What the head says of the body's length. Raises BadRequest: it does not, or it is too long."""
    if request.content_length is None and request.can_read_body:
        raise BadRequest("the message has no Content-Length")
    length = request.content_length or 0
    if length > _MAX_BODY:
        raise BadRequest(f"a message has at most {_MAX_BODY} bytes; send it in several")
    return length


async def _body(request: web.BaseRequest) -> bytes:
    try:
        return await http.body(request, BODY_S)
    except http.BodyRefused as error:
        raise BadRequest(str(error)) from None


def _last_words(error: KeyServiceError) -> bytes:
    """A whole answer for a connection that is closed before anything was asked."""
    body = protocol.encode(protocol.Failure(error.code, str(error)))
    head = f"HTTP/1.1 {error.status} \r\nContent-Type: {protocol.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _answer(status: int, message: Any) -> web.Response:
    return web.Response(body=protocol.encode(message), status=status, content_type=protocol.MEDIA_TYPE)
