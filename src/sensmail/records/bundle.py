"""The bundle that an auditor takes away: a zip of texts in one fixed order. docs/formats.md, "Bundle of records".

Nothing in it is believed: reading checks the form and the limits alone. Needs nothing but msgspec.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, TypeVar

import msgspec

from sensmail.records.entry import Ledger
from sensmail.records.errors import Malformed
from sensmail.records.tree import MAX_SIZE

VERSION = 1
MAX_LINE = 1 << 20  # bytes; a record has 128 KiB at most, a note 256 KiB
MAX_DOCUMENT = 4 << 20  # bytes of a whole JSON document
MAX_MEMBERS = 10_000
MANIFEST = "manifest.json"
STREAMS = ("checkpoints", "ahead", "links", "held")  # of each log, in this order, before its records
_PIECE = 1 << 20
_Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
_Generation = Annotated[int, msgspec.Meta(ge=1, le=2000)]
_Part = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Text = Annotated[str, msgspec.Meta(max_length=400)]
_T = TypeVar("_T")
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, OSError, ValueError,
    IndexError, OverflowError,
)  # fmt: skip


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a log was cut.

    Attributes:
        size: the records below it were deleted. range: the compact range at that size, base64.
        note: a checkpoint that covers the cut. proof: from the cut to it, hashes one after the other, base64.
        made: microseconds since 1970.
    """

    size: _Size
    range: str
    note: str
    proof: str
    opening: int
    made: int


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One log of the bundle. `parts`: number of each partition and of its first record, in order."""

    ledger: Ledger
    generation: _Generation
    log_key: _Text
    parts: list[tuple[_Part, _Size]]
    cuts: list[Cut]


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which log, and the partitions whose records are there."""

    ledger: Ledger
    generation: _Generation
    parts: list[_Part]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle holds.

    Attributes:
        made: seconds since 1970.
        export: number of the record of this export in the governance ledger; null where it was not sealed in time.
    """

    format: Literal["sensmail-records"]
    version: Literal[1]
    made: int
    export: _Size | None
    logs: Annotated[list[Files], msgspec.Meta(max_length=100)]

    def names(self) -> list[str]:
        """Every member, in order."""
        found = [MANIFEST]
        for each in self.logs:
            found += [f"{stem(each.ledger, each.generation)}/{name}" for name in ("log.json", *STREAMS)]
            found += [part_name(each.ledger, each.generation, part) for part in each.parts]
        return found


def stem(ledger: str, generation: int) -> str:
    """Directory of a log."""
    return f"{ledger}/{generation}"


def part_name(ledger: str, generation: int, part: int) -> str:
    """The member with the records of a partition."""
    return f"{stem(ledger, generation)}/records/{part:010d}"


def record_line(line: bytes, salt: bytes) -> bytes:
    """A record as it stands in a bundle, with its newline."""
    return b"%b %b\n" % (salt.hex().encode(), line)


class Bundle:
    """A bundle that is read; use it as a context manager.

    Raises:
        Malformed: from every method: not a bundle, or not one that this version reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            _check_end(path)
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise Malformed(f"{path}: not a bundle: {error}") from None
        self._infos: dict[str, zipfile.ZipInfo] = {}
        try:
            self._open()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def log(self, files: Files) -> Log:
        """The document of a log, which must be the one that the manifest says."""
        name = f"{stem(files.ledger, files.generation)}/log.json"
        found = self._document(name, Log)
        if (found.ledger, found.generation) != (files.ledger, files.generation):
            raise Malformed(f"{self._path}: {name}: is of {found.ledger} generation {found.generation}")
        sizes = [each.size for each in found.cuts]
        if sizes != sorted(set(sizes)) or 0 in sizes:
            raise Malformed(f"{self._path}: {name}: the cuts do not stand in order")
        return found

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked, as the bundle says."""
        return self._infos[name].file_size

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a member, without their newlines."""
        for each in self.pieces(name):
            yield from each

    def pieces(self, name: str) -> Iterator[list[bytes]]:
        """The same, many at a time."""
        rest = b""
        for piece in self._read(name):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > MAX_LINE:
                raise Malformed(f"{self._path}: {name}: a line of more than {MAX_LINE} bytes")
            yield lines
        if rest:
            raise Malformed(f"{self._path}: {name}: the last line is cut off")

    def _read(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(self._infos[name]) as member:
                while piece := member.read(_PIECE):
                    yield piece
        except _BROKEN as error:
            raise Malformed(f"{self._path}: {name}: cannot be unpacked: {error}") from None

    def _document(self, name: str, kind: type[_T]) -> _T:
        if self.size(name) > MAX_DOCUMENT:
            raise Malformed(f"{self._path}: {name}: more than {MAX_DOCUMENT} bytes")
        try:
            return msgspec.json.decode(b"".join(self._read(name)), type=kind)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise Malformed(f"{self._path}: {name}: {error}") from None

    def _open(self) -> None:
        found = self._zip.infolist()
        for each in found:
            if each.filename in self._infos:
                raise Malformed(f"{self._path}: {each.filename[:100]!r} is there twice")
            if each.flag_bits & 0x41 or each.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise Malformed(
                    f"{self._path}: {each.filename[:100]!r} is encrypted, or packed in a way that is not read"
                )
            self._infos[each.filename] = each
        if MANIFEST not in self._infos:
            raise Malformed(f"{self._path}: not a bundle: {MANIFEST} is missing")
        self.manifest = self._document(MANIFEST, Manifest)
        names, wanted = [each.filename for each in found], self.manifest.names()
        if names != wanted:
            other = sorted(set(names) ^ set(wanted)) or ["the order"]
            raise Malformed(f"{self._path}: its files are not those of the manifest: {other[0][:100]!r}")


def _check_end(path: Path) -> None:
    """Refuse a directory of more entries than a bundle has before it is read into memory."""
    end, locator, large = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - end.size - locator.size - large.size))
        tail = file.read()
    if len(tail) < end.size:
        raise Malformed(f"{path}: not a bundle: too short")
    mark, _, _, _, entries, size, _, comment = end.unpack(tail[-end.size :])
    if mark != b"PK\x05\x06" or comment:
        raise Malformed(f"{path}: not a bundle: no zip, or one with a comment")
    counts, sizes = [entries], [size]
    if tail[-end.size - locator.size :].startswith(b"PK\x06\x07"):
        record = large.unpack(tail[: large.size]) if len(tail) == end.size + locator.size + large.size else ()
        if not record or record[0] != b"PK\x06\x06":
            raise Malformed(f"{path}: not a bundle: its end is not where it should be")
        counts, sizes = [*counts, record[7]], [*(each for each in sizes if each != 0xFFFFFFFF), record[8]]
    if max(counts) > MAX_MEMBERS or max(sizes, default=0) > MAX_MEMBERS * 400:
        raise Malformed(f"{path}: more than {MAX_MEMBERS} files")
