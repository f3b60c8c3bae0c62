"""A witness as its client sees it. Source: C2SP tlog-witness. What it answers is checked before anybody believes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import urllib3

from sensmail.records import checkpoint, cosignature, note
from sensmail.records.errors import Malformed, NotProven, RecordsError
from sensmail.records.note import Note, Signature, VerifierKey
from sensmail.records.publisher.errors import Away, LogUnknown, Misbehaves, Refused
from sensmail.records.publisher.settings import Witness
from sensmail.records.tree import MAX_SIZE
from sensmail.records.witness.errors import SIZE_TYPE
from sensmail.records.witness.log import stem
from sensmail.records.witness.submission import MAX_BYTES, Submission

CONNECT_S, ANSWER_S = 5.0, 15.0
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")
_LOCAL = (429, 500, 502, 503, 504)  # says nothing about the log


@dataclass(frozen=True)
class Stands:
    """The witness stands at another size than was thought."""

    size: int


class Client:
    """One witness. A connection is kept."""

    def __init__(self, witness: Witness) -> None:
        self.witness, self.key = witness, witness.verifier()
        pinned: dict[str, Any] = {}
        if witness.certificate:  # this one and no other; who signed it does not matter
            pinned = {"cert_reqs": "CERT_NONE", "assert_fingerprint": witness.certificate}
        self._pool = urllib3.PoolManager(
            1,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S),
            ssl_minimum_version=771,
            **pinned,
        )

    def submit(self, given: Submission) -> Signature | Stands:
        """The cosignature, verified; or where the witness stands.

        Raises:
            Away: later again. LogUnknown, Refused, Misbehaves: somebody has to look.
        """
        status, media, body = self._ask("POST", "/add-checkpoint", given.to_bytes())
        if status == 200:
            return self._cosignature(given.checkpoint, body)
        if status == 409:
            size = _SIZE.fullmatch(body)
            if not size or media != SIZE_TYPE or int(size[1]) > MAX_SIZE:
                raise Misbehaves(f"{self.witness.name}: answers 409 without a size")
            return Stands(int(size[1]))
        origin = given.checkpoint.text.partition("\n")[0]
        if status == 404:
            raise LogUnknown(
                f"{self.witness.name}: does not watch {origin}. Give its administrator the log's key: `sensmail "
                "witness logs`"
            )
        raise Refused(f"{self.witness.name}: refuses with {status}: {_words(body)}")

    def newest(self, log: VerifierKey) -> Note | None:
        """The newest note that the witness shows of this log, verified by both keys; None where it shows none.

        Only a witness of ours has this; others say where they stand by their size alone.

        Raises:
            Away, Misbehaves.
        """
        status, _, body = self._ask("GET", f"/logs/{stem(log.name)}/newest")
        if status != 200:
            return None
        try:
            found = note.parse(body)
            checkpoint.verify(found, log)
            cosignature.cosigned(found, self.key)
        except RecordsError as error:
            raise Misbehaves(f"{self.witness.name}: the newest note that it shows does not verify: {error}") from error
        return found

    def _cosignature(self, checkpoint: Note, body: bytes) -> Signature:
        try:
            lines = note.read_signatures(body.decode())
            ours = [each for each in lines if (each.name, each.key_id) == (self.key.name, self.key.key_id)]
            cosignature.cosigned(Note(checkpoint.text, tuple(ours)), self.key)
        except (Malformed, NotProven, UnicodeDecodeError) as error:
            raise Misbehaves(
                f"{self.witness.name}: its answer holds no cosignature of the key we know: {error}"
            ) from error
        return ours[0]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        try:
            answer = self._pool.request(
                method, self.witness.url.rstrip("/") + path, body=body, redirect=False, preload_content=False
            )
            try:
                found = answer.read(MAX_BYTES + 1)
                if len(found) > MAX_BYTES:
                    raise Misbehaves(f"{self.witness.name}: an answer of more than {MAX_BYTES} bytes")
                answer.drain_conn()
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Away(f"{self.witness.name}: no answer from {self.witness.url}: {error}") from error
        if answer.status in _LOCAL:
            raise Away(f"{self.witness.name}: answers {answer.status}: {_words(found)}")
        return answer.status, answer.headers.get("Content-Type", ""), found


def _words(body: bytes) -> str:
    """What an answer says, harmless in a log."""
    return "".join(each if each.isprintable() else " " for each in body[:300].decode(errors="replace")).strip()
