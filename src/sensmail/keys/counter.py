"""The opening counter: every opening has a number, and no number is ever skipped or given twice.

`issued` is on disk before a number leaves `reserve`, so a crash can never hand out the same number again. `settled`
follows: the caller says up to where every number has its record. After a crash the numbers between the two are
`unsettled`: the caller looks for their records and writes a void record for each that has none. So every number has
exactly one record, and a number without one is a record that was swallowed.

The cell is one block of 72 bytes inside one disk sector, overwritten in place and synced. It lies in the first place
only; the snapshot keeps a floor. When the cell is lost, the highest number must come from the records. One altered
record could then name any number, and every number up to it would have to be looked for: hence MAX_AHEAD.
"""

from __future__ import annotations

import hashlib
import struct

from sensmail.keys.errors import RESTART, CounterLost, KeyFailure, Unusable
from sensmail.keys.places import Place

NAME = "counter"
MAX_AHEAD = 10_000_000  # of a number from the records, above the snapshot's floor: openings between two rolls
_MAGIC = b"SMCNTR01"
_CELL = struct.Struct(">8s16sQQ")


class Counter:
    """The numbers of one key file. Not safe for several threads at once: the keyring has a lock for it alone."""

    def __init__(self, place: Place, ring: bytes, issued: int = 0, settled: int = 0) -> None:
        self._place, self._ring, self.issued, self.settled = place, ring, issued, settled
        self._broken = False

    def reserve(self, count: int) -> range:
        """The next `count` numbers, durable on return. One sync, however many.

        Raises:
            PlaceUnreachable, PlaceFull: no number was given out.
            Unusable: an earlier failure left it open which number is on disk.
        """
        if count < 1:
            raise ValueError(f"reserve at least one number; asked for {count}")
        before = self.issued
        self._issue(before + count)
        return range(before + 1, self.issued + 1)

    def settle(self, through: int) -> None:
        """Every number up to this one has its record. Reaches the disk with the next `reserve`.

        Raises:
            ValueError: lower than before, or never issued.
        """
        self._check(through)
        self.settled = through

    def release(self, through: int, floor: int) -> None:
        """Give back the numbers above `through`, none of which was used; those up to the snapshot's floor stay issued.

        Raises:
            ValueError: not between what is settled and what is issued. PlaceUnreachable, PlaceFull: nothing changed.
        """
        self._check(through)
        self._issue(max(through, floor))

    def unsettled(self) -> range:
        """Numbers that may lack a record."""
        return range(self.settled + 1, self.issued + 1)

    def write(self) -> None:
        """Put the cell on disk."""
        cell = _CELL.pack(_MAGIC, self._ring, self.issued, self.settled)
        self._place.overwrite(NAME, cell + hashlib.sha256(cell).digest())

    def _check(self, through: int) -> None:
        if not self.settled <= through <= self.issued:
            raise ValueError(f"settled is {self.settled} and issued is {self.issued}; {through} is not between them")

    def _issue(self, through: int) -> None:
        if self._broken:
            raise Unusable(f"{self._place}: {NAME}: a failed write could not be taken back; {RESTART}")
        before, self.issued = self.issued, through
        try:
            self.write()
        except KeyFailure:
            self.issued, self._broken = before, True
            self.write()  # where this fails as well, the counter stays broken
            self._broken = False
            raise


def load(place: Place, ring: bytes, floor: int) -> Counter:
    """Read the cell.

    Raises:
        CounterLost: missing, damaged, of another key file, or below the snapshot's floor.
    """
    data = place.read(NAME) or b""
    body = data[: _CELL.size]
    fix = "`sensmail keys fill` counts on from the records"
    if len(data) != _CELL.size + hashlib.sha256().digest_size or hashlib.sha256(body).digest() != data[_CELL.size :]:
        raise CounterLost(f"{place}: {NAME}: missing or damaged; {fix}, from {floor} at least")
    magic, found, issued, settled = _CELL.unpack(body)
    if magic != _MAGIC or found != ring or issued < floor or settled > issued:
        raise CounterLost(
            f"{place}: {NAME}: of another key file, or older than the snapshot; {fix}, from {floor} at least"
        )
    return Counter(place, ring, issued, settled)


def restore(place: Place, ring: bytes, floor: int, issued: int) -> Counter:
    """Count on from the records. Up to what both they and the snapshot say, every number has its record.

    Args:
        place: the first.
        ring: names the key file.
        floor: given out before the snapshot, perhaps never used.
        issued: the highest number in the records.

    Raises:
        CounterLost: more than MAX_AHEAD above the floor; nothing was written. PlaceUnreachable, PlaceFull.
    """
    if issued > floor + MAX_AHEAD:
        text = f"{issued} as the highest opening number is more than {MAX_AHEAD} above {floor}, the snapshot's"
        check = "check that the records are those of this key file and that no high number was altered or added"
        raise CounterLost(f"{place}: {NAME}: {text}; {check}, then `sensmail keys fill --openings` the highest one")
    made = Counter(place, ring, max(issued, floor), min(issued, floor))
    made.write()
    return made
