"""Writes a bundle: everything that a stranger needs to verify the ledgers offline. It is recorded before it is written.

What stands in the tables is written as it is: whether it is right is for the verifier to say, and where it is not.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, LiteralString

import msgspec

from sensmail.ledger import Entry, insert
from sensmail.records import bundle, note, rows
from sensmail.records.bundle import Cut, Files, Log, Manifest
from sensmail.records.entry import LEDGERS, Ledger
from sensmail.records.errors import Malformed, RecordsError
from sensmail.records.note import Note, encode64
from sensmail.store import Connection

ACT = "records.export"
CHUNK = 20_000
SEALED_WITHIN_S = 30.0
_LOGS = "SELECT ledger::text, generation, log_key FROM records.log WHERE ledger = ANY (%s) ORDER BY ledger, generation"
_PARTS = "SELECT part, first FROM records.part WHERE ledger = %s AND part / 1000000 = %s ORDER BY part"
# The partitions that hold anything, whoever made them: from one to the next by the index of each.
_FILLED: LiteralString = """
    WITH RECURSIVE filled AS (
        SELECT min(part) AS part FROM records.{0}
        UNION ALL SELECT (SELECT min(part) FROM records.{0} WHERE part > filled.part) FROM filled WHERE part IS NOT NULL
    ) SELECT part FROM filled WHERE part / 1000000 = %s ORDER BY part
"""
_NOTES: LiteralString = """
    SELECT turn, size, time, note FROM records.checkpoint WHERE ledger = %(ledger)s AND generation = %(generation)s
    UNION ALL SELECT turn, size, time, note FROM records.cosigned
        WHERE ledger = %(ledger)s AND generation = %(generation)s
    UNION ALL SELECT turn, size, 0, note FROM records.head WHERE ledger = %(ledger)s AND generation = %(generation)s
    UNION ALL SELECT turn, size, 0, note FROM records.cut WHERE ledger = %(ledger)s AND generation = %(generation)s
"""
_AHEAD = "SELECT note FROM records.ahead WHERE ledger = %s AND generation = %s ORDER BY size, witness"
_CUTS: LiteralString = """
    SELECT size, range, note, proof, opening, (extract(epoch FROM made) * 1000000)::bigint FROM records.cut
    WHERE ledger = %s AND generation = %s ORDER BY size
"""
_LINKS = "SELECT size, cut, proof FROM records.link WHERE ledger = %s AND generation = %s ORDER BY cut, size"
_HELD: LiteralString = """
    SELECT convert_to(entry::text, 'UTF8'), salt, note, h.proof
    FROM records.held AS h JOIN records.cut AS c ON (c.ledger, c.generation, c.size) = (h.ledger, h.generation, h.cut)
    WHERE h.ledger = %s AND h.generation = %s ORDER BY seq
"""
_SEALED: LiteralString = """
    SELECT seq FROM records.governance WHERE act = %s AND detail->>'digest' = %s
    AND part >= (SELECT part FROM records.head WHERE ledger = 'governance') - 1 ORDER BY part DESC, seq DESC LIMIT 1
"""


@dataclass(frozen=True)
class Asked:
    """Who wants the bundle, and why; both stand in the records."""

    account: str
    reason: str
    unit: str = ""


@dataclass(frozen=True)
class Exported:
    """What was written. `number`: of the record of it; None where the sealer did not take it in time."""

    path: Path
    number: int | None
    records: int
    logs: int


def export(
    connection: Connection,
    path: Path,
    asked: Asked,
    ledgers: Sequence[Ledger] = LEDGERS,
    *,
    clock: Callable[[], float] = time.time,
    patience_s: float = SEALED_WITHIN_S,
) -> Exported:
    """Record the export, wait until the record is sealed, and write what the ledgers hold then; mode 0600.

    Args:
        connection: a session that may read the ledgers and add records.
        path: must not exist.
        asked: who, why.
        ledgers: which.
        clock: seconds since 1970.
        patience_s: how long to wait for the sealer, at most.

    Raises:
        RecordsError: the file exists, no reason. psycopg.Error, OSError. No file is left behind.
    """
    if not asked.reason.strip() or not asked.account.strip():
        raise RecordsError("an export needs the name of who asks and a reason: both stand in the records")
    if path.exists():
        raise RecordsError(f"{path}: exists; give another name")
    number = _recorded(connection, asked, ledgers, patience_s)
    with _new_file(path) as target, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        logs = [
            (Files(ledger, generation, _filled(connection, ledger, generation)), key)
            for ledger, generation, key in connection.execute(_LOGS, (list(ledgers),)).fetchall()
        ]
        manifest = Manifest("sensmail-records", 1, int(clock()), number, [files for files, _ in logs])
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            _member(file, bundle.MANIFEST, [msgspec.json.encode(manifest)])
            count = sum(_log(connection, file, files, key) for files, key in logs)
    return Exported(path, number, count, len(logs))


def _recorded(connection: Connection, asked: Asked, ledgers: Sequence[Ledger], patience_s: float) -> int | None:
    """The number that the record of the export got."""
    mark = os.urandom(8).hex()  # tells this export's record from any other
    detail: dict[str, str | list[str]] = {"reason": asked.reason, "ledger": list(ledgers), "digest": mark}
    insert(connection, [Entry("governance", ACT, asked.account, unit=asked.unit, detail=detail)])
    end = time.monotonic() + patience_s
    while True:
        found = connection.execute(_SEALED, (ACT, mark)).fetchone()
        if found or time.monotonic() > end:
            return int(found[0]) if found else None
        time.sleep(0.1)


def _log(connection: Connection, file: zipfile.ZipFile, files: Files, key: str) -> int:
    """One log; returns how many records it has."""
    here, base = (files.ledger, files.generation), bundle.stem(files.ledger, files.generation)
    parts = [(int(part), int(first)) for part, first in connection.execute(_PARTS, here).fetchall()]
    cuts = [
        Cut(size, encode64(data), text, encode64(proof), opening, made)
        for size, data, text, proof, opening, made in connection.execute(_CUTS, here).fetchall()
    ]
    _member(file, f"{base}/log.json", [msgspec.json.encode(Log(files.ledger, files.generation, key, parts, cuts))])
    _member(file, f"{base}/checkpoints", (msgspec.json.encode(each) + b"\n" for each in notes(connection, *here)))
    _member(file, f"{base}/ahead", (msgspec.json.encode(text) + b"\n" for (text,) in connection.execute(_AHEAD, here)))
    links = connection.execute(_LINKS, here)
    _member(file, f"{base}/links", (f"{size} {cut} {encode64(proof)}\n".encode() for size, cut, proof in links))
    _member(file, f"{base}/held", _held(connection, here))
    count = 0
    for part in files.parts:
        count += _member(file, bundle.part_name(*here, part), _records(connection, files.ledger, part))
    return count


def notes(connection: Connection, ledger: str, generation: int) -> list[str]:
    """Every kept checkpoint once, in the order of signing, with all signatures that are known of it."""
    found: dict[str, tuple[tuple[int, int, int], Note]] = {}
    unread: list[tuple[tuple[int, int, int], str]] = []
    for turn, size, at, text in connection.execute(_NOTES, {"ledger": ledger, "generation": generation}):
        try:
            each = note.parse(text.encode())
            place = (turn, size, _time(each.text) or at)
        except Malformed:
            unread.append(((turn, size, at), text))  # for the verifier to find
            continue
        before = found.get(each.text, (place, Note(each.text, ())))[1].signatures
        whole = Note(each.text, (*before, *(line for line in each.signatures if line not in before)))
        found[each.text] = place, whole
    placed = [*((place, whole.to_bytes().decode()) for place, whole in found.values()), *unread]
    return [text for _, text in sorted(placed)]


def _time(text: str) -> int:
    """Of a checkpoint, for its place only."""
    lines = [line for line in text.split("\n") if line.startswith("time ")]
    return int(lines[0][5:]) if lines and lines[0][5:].isdecimal() else 0


def _filled(connection: Connection, ledger: Ledger, generation: int) -> list[int]:
    query = _FILLED.format(ledger)
    return [part for (part,) in connection.execute(query, (generation,)).fetchall()]


def _records(connection: Connection, ledger: Ledger, part: int) -> Iterator[bytes]:
    for found in rows.runs(connection, ledger, part, CHUNK):
        for line, salt in zip(found.lines, found.salts, strict=True):
            yield bundle.record_line(line, salt)


def _held(connection: Connection, here: tuple[str, int]) -> Iterator[bytes]:
    for line, salt, covering, proof in connection.execute(_HELD, here):
        size = covering.split("\n", 2)[1]
        yield b"%b\t%b\t%b\n" % (bundle.record_line(line, salt)[:-1], size.encode(), encode64(proof).encode())


def _member(file: zipfile.ZipFile, name: str, lines: Iterable[bytes]) -> int:
    """Returns how many lines there were."""
    info = zipfile.ZipInfo(name)  # of 1980: the same content is the same file
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    count, waiting = 0, bytearray()
    with file.open(info, "w", force_zip64=True) as member:
        for line in lines:
            waiting += line
            count += 1
            if len(waiting) > 1 << 20:
                member.write(waiting)
                waiting.clear()
        member.write(waiting)
    return count


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Under another name until it is whole and on disk."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)  # never over another file
    finally:
        fresh.unlink()
