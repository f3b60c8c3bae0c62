"""HTTP of a witness: `POST /add-checkpoint` (C2SP tlog-witness), and `GET` of what it has cosigned, for auditors."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from sensmail.host import http
from sensmail.records.errors import Malformed
from sensmail.records.witness import submission
from sensmail.records.witness.errors import BadSubmission, Refusal, UnknownLog, WitnessFailure
from sensmail.records.witness.log import Log
from sensmail.records.witness.submission import Submission

LOG = logging.getLogger(__name__)
MAX_CONNECTIONS = 64
BODY_S = 10.0  # for the whole of a submission to arrive
IDLE_S = 30.0  # a connection without a whole request for so long is closed
WRITE_S = 30.0  # for a reader to take one piece
_PIECE = 65_536
_HTTP_LOG = logging.getLogger(f"{__name__}.http")
_HTTP_LOG.addFilter(http.without_data)
HELP = """A witness of sensmail.cloud logs. C2SP tlog-witness.
POST /add-checkpoint   a checkpoint, to be cosigned
GET  /key              the key of this witness, NAME+id+key
GET  /logs             the logs that are watched
GET  /logs/LOG/newest  the newest note, cosigned
GET  /logs/LOG/notes   every note that was kept, oldest first
"""


class App:
    """From bytes to a log and back.

    Args:
        logs: that are watched.
        key: verifier key of this witness, as text.
        fatal: called once it is not known any more what is on the disk.
    """

    def __init__(self, logs: Sequence[Log], key: str, fatal: Callable[[WitnessFailure], None]) -> None:
        self._logs, self._key, self._fatal = {each.key.name: each for each in logs}, key, fatal
        self._stems = {each.stem: each for each in logs}
        # One thread: each submission is judged, written down and answered before the next one is looked at.
        self._one = ThreadPoolExecutor(1, "submissions")

    def server(self) -> web.Server:
        """What aiohttp serves."""
        return _Server(
            self.handle, request_factory=_request, keepalive_timeout=IDLE_S, access_log=None, max_field_size=1024,
            max_line_size=1024, max_headers=16, lingering_time=1.0, auto_decompress=False, logger=_HTTP_LOG,
        )  # fmt: skip

    def close(self) -> None:
        """After the last answer; what is being written is finished."""
        self._one.shutdown()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        try:
            if request.path == "/add-checkpoint":
                return await self._add(request)
            return await self._get(request)
        except Refusal as error:
            return _text(str(error), error.status, error.media)

    async def _add(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return _text("POST\n", 405)
        try:
            given = submission.parse(await http.body(request, BODY_S))
        except (http.BodyRefused, Malformed) as error:
            raise BadSubmission(f"{error}\n") from None
        log = self._logs.get(given.checkpoint.text.partition("\n")[0])
        if log is None:
            raise UnknownLog("the log of this origin is not watched here\n")
        return _text(await asyncio.get_running_loop().run_in_executor(self._one, self._submit, log, given))

    def _submit(self, log: Log, given: Submission) -> str:
        try:
            return log.submit(given).line()
        except Refusal as error:
            LOG.warning("%s: not cosigned: %s %s", log.stem, error.status, str(error).strip())
            raise
        except OSError as error:
            failure = WitnessFailure(f"{log.file.path}: {error.strerror}: it is not known what is on the disk")
            self._fatal(failure)
            raise Refusal("the witness failed\n") from failure

    async def _get(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return _text("GET\n", 405)
        match request.path.split("/")[1:]:
            case [""]:
                return _text(HELP)
            case ["key"]:
                return _text(f"{self._key}\n")
            case ["logs"]:
                return _text("".join(f"{each.stem} {each.key.to_text()}\n" for each in self._stems.values()))
            case ["logs", name, "newest"] if (log := self._stems.get(name)) and log.newest:
                return _text(log.newest.to_bytes().decode())
            case ["logs", name, "notes"] if log := self._stems.get(name):
                return await _file(request, log)
        raise UnknownLog("not here\n")


class _Server(web.Server):
    def __call__(self) -> Any:
        return http.Full() if len(self.connections) >= MAX_CONNECTIONS else super().__call__()


async def _file(request: web.BaseRequest, log: Log) -> web.StreamResponse:
    """What was in the file at this moment, in pieces; a reader that takes none is cut."""
    loop = asyncio.get_running_loop()
    with log.file.path.open("rb") as file:
        rest = os.fstat(file.fileno()).st_size
        answer = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(rest)})
        await answer.prepare(request)
        while rest and request.method == "GET":
            piece = await loop.run_in_executor(None, file.read, min(_PIECE, rest))
            rest -= len(piece)
            async with asyncio.timeout(WRITE_S):
                await answer.write(piece)
    return answer


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=submission.MAX_BYTES)


def _text(text: str, status: int = 200, media: str = "text/plain") -> web.Response:
    """With exactly this media type, as the specification has it for sizes."""
    content_type = media if media != "text/plain" else "text/plain; charset=utf-8"
    return web.Response(body=text.encode(), status=status, headers={"Content-Type": content_type})
