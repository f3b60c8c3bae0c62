"""What a witness has cosigned: one file a log, to which notes are only ever added.

A file of text and not a database: an auditor reads it with any C2SP verifier, the kernel can hold it append-only
(chattr +a), and one fsync makes a note durable. docs/formats.md, "Store of a witness".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sensmail.host.files import Files
from sensmail.records import note
from sensmail.records.errors import RecordsError
from sensmail.records.note import Note
from sensmail.records.witness.errors import NotKept, StoreDamaged

#: Stands behind what a crash or a full disk cut off.
CUT_OFF = b"\n# cut off; this was never answered\n\n"
_TAIL = 65_536  # holds several notes, of which none is larger than a submission
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoteFile:
    """The notes of one log.

    Args:
        path: an existing file; `chattr +a` is allowed.
        verify: raises RecordsError unless a note is one that this witness cosigned.
    """

    def __init__(self, path: Path, verify: Callable[[Note], object], files: Files | None = None) -> None:
        self.path, self._verify, self._files = path, verify, files or Files()
        self._whole = True

    def last(self) -> Note | None:
        """The note that was added last; None where there is none. What was cut off behind it is remembered as such.

        Raises:
            StoreDamaged: the end of the file is not what was written. OSError.
        """
        data, whole_file = _tail(self.path)
        parts = data.split(CUT_OFF)
        found: list[bytes] = []
        for at, part in reversed(list(enumerate(parts))):
            found, rest = _whole_notes(part, aligned=whole_file or at > 0)
            if part is parts[-1]:
                self._whole = not rest
            if found:
                return self._checked(found[-1])
        if not whole_file:
            raise StoreDamaged(f"{self.path}: no note in its last {_TAIL} bytes; look at what happened to it")
        return None

    def add(self, cosigned: Note) -> None:
        """Durable on return.

        Raises:
            NotKept: the disk is full; nothing was added that counts. OSError: whether it is durable is not known.
        """
        data = cosigned.to_bytes() + b"\n"
        try:
            self._files.append(self.path, data if self._whole else CUT_OFF + data)
        except OSError as error:
            self._whole = False
            if error.errno not in _FULL:
                raise
            raise NotKept(f"the witness cannot write: {error.strerror}\n") from error
        self._whole = True

    def _checked(self, data: bytes) -> Note:
        try:
            found = note.parse(data)
            self._verify(found)
        except RecordsError as error:
            raise StoreDamaged(
                f"{self.path}: its last note is not one of this witness ({error}). Was the file changed, or the key? "
                f"Keep a copy of both for the auditors; then begin as a new witness with an empty store"
            ) from error
        return found


def read(path: Path) -> Iterator[bytes]:
    """Every whole note of a file, as bytes, from the first on."""
    for part in path.read_bytes().split(CUT_OFF):
        yield from _whole_notes(part, aligned=True)[0]


def _tail(path: Path) -> tuple[bytes, bool]:
    """The end of the file, and whether that is all of it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return file.read(), size <= _TAIL


def _whole_notes(data: bytes, *, aligned: bool) -> tuple[list[bytes], bytes]:
    """The notes, and what is left behind them. Text and signatures each end in an empty line."""
    at = 0
    if not aligned:  # begins somewhere in a note: the first one from its signatures on is left out
        signatures = data.find("\n\n— ".encode())
        at = data.find(b"\n\n", signatures + 2) + 2 if signatures >= 0 else len(data)
    found = []
    while (text := data.find(b"\n\n", at)) >= 0 and (end := data.find(b"\n\n", text + 2)) >= 0:
        found.append(data[at : end + 1])
        at = end + 2
    return found, data[at:]
