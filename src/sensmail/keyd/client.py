"""Asking the key service: one persistent connection over its Unix socket, for any synchronous program.

with KeyService() as keys:
    subject = keys.new_subjects()[0]
    [envelope] = keys.seal([Sealing(subject, 5, row_key(subject), b"...")])
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import msgspec

from sensmail.keyd import protocol
from sensmail.keyd.errors import KeyServiceError, Unavailable, error_of
from sensmail.keyd.protocol import SOCKET, Actor, Gone, Message, Opened, Resealed, Sealed, Sealing, Status, Values, Why

LONG_S = 600.0  # a roll waits for every place, and perhaps for an HSM
_LONG = frozenset({"roll", "destroy", "retire", "destroy_retired"})
# Asked again once when the connection was lost: twice does no more than once, but for a record more.
_REPEATABLE = frozenset({"seal", "open", "reseal", "check", "census", "status", "tombstones", "adopt", "replace"})

_HEAD = b"POST /v1/%s HTTP/1.1\r\nHost: keyd\r\nContent-Type: application/vnd.msgpack\r\nContent-Length: %d\r\n\r\n"
_TIME = struct.Struct("ll")  # struct timeval
_FAILURE = msgspec.msgpack.Decoder(protocol.Failure)
_ANSWERS = {act: msgspec.msgpack.Decoder(answer) for act, (_, answer) in protocol.ACTS.items()}


class KeyService:
    """The key service as its callers see it. One call at a time; further threads wait.

    Every method raises KeyServiceError: Refused, TooMany, Unavailable (temporary), BadRequest; and what it names.
    """

    _connection: socket.socket | None = None

    def __init__(self, socket: str | Path = SOCKET, timeout_s: float = 30.0) -> None:
        """Connects with the first call.

        Args:
            socket: where the service listens.
            timeout_s: for one call; a roll, a retirement and a destruction have ten minutes.
        """
        self._socket, self._timeout_s = Path(socket), timeout_s
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # values: a few as a list, many in columns

    def new_subjects(self, count: int = 1) -> list[UUID]:
        """New subjects with random ids; their keys are durable in every place."""
        return self._call("subjects", protocol.NewSubjects(count))  # type: ignore[no-any-return]

    def adopt(self, subjects: Sequence[UUID]) -> int:
        """First keys for subjects that exist already; those with keys are skipped. Returns how many were new.

        Raises:
            Destroyed: one of them stands on the list of tombstones; nothing was made.
        """
        return self._call("adopt", protocol.SubjectList(list(subjects)))  # type: ignore[no-any-return]

    def seal(self, values: Values | Sequence[Sealing]) -> list[bytes]:
        """Envelopes, in order; all or nothing.

        Raises:
            UnknownSubject, Destroyed, Closed.
        """
        return self._call("seal", protocol.Seal(Values.of(values)))  # type: ignore[no-any-return]

    def open_many(self, values: Values | Sequence[Sealed], purpose: str, actor: Actor) -> list[Opened]:
        """Open values, in order, once the record of it is durable. A value that does not open says why."""
        return self._call("open", protocol.Open(purpose, actor, Values.of(values)))  # type: ignore[no-any-return]

    def open(self, value: Sealed, purpose: str, actor: Actor) -> bytes:
        """Open one value.

        Raises:
            Closed, Destroyed, UnknownSubject, Retired, AlteredValue.
        """
        found = self.open_many([value], purpose, actor)[0]
        if found.value is None:
            raise error_of(found.refusal, f"field {value.field} of subject {value.subject}: {found.refusal}")
        return found.value

    # passes of a job, which show nobody a value

    def reseal(self, values: Values | Sequence[Sealed], job: str) -> Resealed:
        """The values under the active key version of their subjects; `job` stands in the record."""
        return self._call("reseal", protocol.Pass(job, Values.of(values)))  # type: ignore[no-any-return]

    def check(self, values: Values | Sequence[Sealed], job: str) -> list[str]:
        """Whether each value opens at its place: "" or the refusal."""
        return self._call("check", protocol.Pass(job, Values.of(values)))  # type: ignore[no-any-return]

    def census(self, pairs: Sequence[tuple[UUID, int]]) -> dict[str, int]:
        """How many of these (subject, key version) are in which state; every one of CENSUS_STATES has its count."""
        return self._call("census", protocol.Census(list(pairs)))  # type: ignore[no-any-return]

    def replace(self, subjects: Sequence[UUID]) -> int:
        """A new key version for each subject that has no replaced one. Returns how many were made."""
        return self._call("replace", protocol.SubjectList(list(subjects)))  # type: ignore[no-any-return]

    # administration

    def close_subjects(self, subjects: Sequence[UUID], actor: str, reason: str, approver: str = "") -> int:
        """Their values open for nobody until reopened. Raises UnknownSubject, Destroyed: nothing changed."""
        return self._change("close", subjects, Why(actor, reason, approver))

    def reopen_subjects(self, subjects: Sequence[UUID], actor: str, reason: str, approver: str = "") -> int:
        """Take a closure back. Raises UnknownSubject, Destroyed: nothing changed."""
        return self._change("reopen", subjects, Why(actor, reason, approver))

    def destroy_subjects(self, subjects: Sequence[UUID], actor: str, reason: str, approver: str) -> int:
        """Drop all their keys; gone for good after the next complete roll. Raises UnknownSubject, Destroyed."""
        return self._change("destroy", subjects, Why(actor, reason, approver))

    def retire(self, actor: str, reason: str, approver: str = "") -> int:
        """Every replaced key version opens nothing any more and is kept for restores. Returns how many."""
        return self._call("retire", protocol.Administer(Why(actor, reason, approver)))  # type: ignore[no-any-return]

    def destroy_retired(self, actor: str, reason: str, approver: str) -> int:
        """Drop every key version that is kept for restores; gone for good after the next complete roll."""
        message = protocol.Administer(Why(actor, reason, approver))
        return self._call("destroy_retired", message)  # type: ignore[no-any-return]

    def roll(
        self,
        actor: str,
        reason: str,
        approver: str = "",
        officers: Sequence[bytes] | None = None,
        rewrap: bool = False,
    ) -> int:
        """A new epoch; returns its number.

        Args:
            actor: who does it.
            reason: why.
            approver: who agreed; asked for with `officers` or `rewrap`.
            officers: three raw X25519 public keys that two of three open the key file with from now on.
            rewrap: by the newest root that the service holds.

        Raises:
            RollIncomplete: roll again when the place is back.
        """
        message = protocol.Roll(Why(actor, reason, approver), list(officers) if officers else None, rewrap)
        return self._call("roll", message)  # type: ignore[no-any-return]

    def status(self) -> Status:
        """Where the service and its key file stand."""
        return self._call("status", protocol.Nothing())  # type: ignore[no-any-return]

    def tombstones(self) -> list[Gone]:
        """Every subject whose keys were dropped."""
        return self._call("tombstones", protocol.Nothing())  # type: ignore[no-any-return]

    def _change(self, act: str, subjects: Sequence[UUID], why: Why) -> int:
        return self._call(act, protocol.ChangeSubjects(why, list(subjects)))  # type: ignore[no-any-return]

    def _call(self, act: str, message: Message) -> Any:
        body = protocol.encode(message)
        with self._lock:
            status, answer = self._ask(act, body)
        try:
            if status == 200:
                return _ANSWERS[act].decode(answer)
            failure = _FAILURE.decode(answer)
        except msgspec.MsgspecError as error:
            text = f"{self._socket}: answered {act} with HTTP {status} and no message of this service: {error}"
            raise KeyServiceError(f"{text}; are caller and service of one release?") from error
        raise error_of(failure.code, failure.text)

    def _ask(self, act: str, body: bytes) -> tuple[int, bytes]:
        reused = self._connection is not None
        try:
            return self._once(act, body)
        except (ConnectionError, HTTPException) as error:
            self._drop()
            if not (reused and act in _REPEATABLE):
                raise self._unavailable(act, error) from error
        except OSError as error:
            self._drop()
            raise self._unavailable(act, error) from error
        try:
            return self._once(act, body)
        except (OSError, HTTPException) as error:
            self._drop()
            raise self._unavailable(act, error) from error

    def _once(self, act: str, body: bytes) -> tuple[int, bytes]:
        connection = self._connection
        if connection is not None and select.select([connection], [], [], 0)[0]:  # closed by the service meanwhile
            self._drop()
            connection = None
        if connection is None:
            connection = self._connection = _connect(self._socket, self._timeout_s)
        connection.settimeout(max(self._timeout_s, LONG_S) if act in _LONG else self._timeout_s)
        # Head and body in one piece: http.client's own connection wakes the service twice.
        with suppress(BrokenPipeError):  # closed already, perhaps with the reason left behind to read
            connection.sendall(_HEAD % (act.encode(), len(body)) + body)
        with HTTPResponse(connection, method="POST") as answer:
            answer.begin()
            data = answer.read()
            if answer.will_close:
                self._drop()
            return answer.status, data

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unavailable(self, act: str, error: Exception) -> Unavailable:
        fix = "is sensmail-keyd.service running, and is the caller root or in group sensmail-keys?"
        return Unavailable(f"{self._socket}: {act}: {error or type(error).__name__}; {fix}")


def _connect(path: Path, timeout_s: float) -> socket.socket:
    """Waits its turn where many connect at once: with a time-out of Python's own, connect(2) would fail instead."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIME.pack(int(timeout_s), 0))
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection
