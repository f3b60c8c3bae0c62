"""The insert of `inbox` for an event loop: no thread, each statement prepared once, one round trip a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from sensmail.ledger import inbox
from sensmail.ledger.entry import Entry
from sensmail.store import Connection


class Inserts:
    """On one session in autocommit, which nothing else uses between `join` and `leave`; one insert at a time.

    The socket stays registered with the loop: registering it for each answer costs more than the answer.
    """

    def __init__(self, connection: Connection) -> None:
        self._pgconn, self._encoding = connection.pgconn, connection.info.encoding
        self._prepared: set[bytes] = set()
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._broken: psycopg.OperationalError | None = None
        self._socket = self._pgconn.socket
        self._joined = False

    def join(self) -> None:
        """The session is the loop's."""
        self._loop.add_reader(self._socket, self._readable)
        self._joined = True

    def leave(self) -> None:
        """The session is the caller's; what was prepared stays so. Once: the socket's number may be another's later."""
        if self._joined:
            self._joined = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)

    async def insert(self, entries: Sequence[Entry]) -> list[int]:
        """See `inbox.insert`; one commit.

        Raises:
            RecordSwallowed: nothing was added. psycopg.Error: nothing was added, unless the connection was lost.
        """
        if self._broken is not None:  # lost while nobody waited: libpq would take the statement and never say so
            raise self._broken
        given = [each.opening for each in entries]
        name, statement = (b"numbered", inbox.NUMBERED) if inbox.numbered(given) else (b"plain", inbox.PLAIN)
        if name not in self._prepared:
            self._pgconn.send_prepare(name, statement.format(entries="$1", count="$2").encode())
            await self._result()
            self._prepared.add(name)
        self._pgconn.send_query_prepared(name, [inbox.encode(entries), str(len(given)).encode()])
        try:
            result = await self._result()
        except psycopg.errors.DivisionByZero:
            raise inbox.fewer(given) from None
        return inbox.checked(given, _array(result.get_value(0, 0)), _array(result.get_value(0, 1)))

    async def _result(self) -> PGresult:
        self._waiting = self._loop.create_future()
        self._flush()
        try:
            await self._waiting
        finally:
            self._waiting = None
        result = self._pgconn.get_result()
        while following := self._pgconn.get_result():
            result = following
        if result is None or self._pgconn.status != psycopg.pq.ConnStatus.OK:
            raise psycopg.OperationalError("the connection to the database was lost")
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise psycopg.errors.error_from_result(result, self._encoding)
        return result

    def _flush(self) -> None:
        """Send what waits; a large statement goes in parts."""
        try:
            if self._pgconn.flush():
                self._loop.add_writer(self._socket, self._flush)
            else:
                self._loop.remove_writer(self._socket)
        except psycopg.OperationalError as error:
            self._lost(error)

    def _readable(self) -> None:
        try:
            self._pgconn.consume_input()
        except psycopg.OperationalError as error:
            self._lost(error)
            return
        if self._pgconn.status != psycopg.pq.ConnStatus.OK:  # libpq has closed the socket
            self._lost(psycopg.OperationalError("the connection to the database was lost"))
            return
        if self._waiting is not None and not self._waiting.done() and not self._pgconn.is_busy():
            self._waiting.set_result(None)

    def _lost(self, error: psycopg.OperationalError) -> None:
        self._broken = error
        self.leave()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _array(text: bytes | None) -> list[int | None]:
    """bigint[] as PostgreSQL writes it: {1,2,NULL}."""
    return [None if each == b"NULL" else int(each) for each in (text or b"{}")[1:-1].split(b",") if each]
