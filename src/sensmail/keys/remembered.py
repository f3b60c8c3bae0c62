"""The places that a key file remembers, so that no copy of it is forgotten when an epoch ends.

A copy that a roll does not reach still opens with the old epoch key. So a place that was ever in use is either named on
opening, or declared lost: "destroyed physically", which an officer attests and every report shows.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from sensmail.keys.errors import Damaged, PlaceNotNamed
from sensmail.keys.places import Place

Places = Mapping[str, int]  # directory: 0 while in use, or when it was declared lost (seconds)
_COUNT = struct.Struct(">Q")
_PLACE = struct.Struct(">QH")


def name(directory: Path) -> str:
    """How a place is remembered: its absolute path, as it was named."""
    return str(directory.absolute())


def compare(known: Places, places: Iterable[Place], lost: Iterable[Path], replaced: Iterable[Path] = ()) -> Places:
    """What is to be remembered from now on.

    Args:
        known: what was remembered so far.
        places: those in use.
        lost: directories that are no place any more, and whose copy was destroyed physically.
        replaced: places in use whose directory is another one now: what it held before is remembered as lost.

    Raises:
        PlaceNotNamed: a known place is neither given nor declared lost, or a place is declared lost or replaced where
            that cannot be.
    """
    given = {name(each.directory) for each in places}
    gone = {name(each) for each in lost}
    for each in gone:
        if each in given or each not in known:
            raise PlaceNotNamed(f"{each}: cannot be declared lost: it is in use, or was never a place of this key file")
    for each, when in known.items():
        if not when and each not in given | gone:
            how = f"`sensmail keys fill` (or `recover`) with `--lost {each}`"
            fix = f"put it back into keys_places, or, once it is destroyed physically, declare it lost: {how}"
            raise PlaceNotNamed(f"{each}: holds a copy of this key file, which would still open after a roll; {fix}")
    now = int(time.time())
    before = {name(each) for each in replaced}
    for each in before:
        if each not in given or known.get(each) != 0:
            raise PlaceNotNamed(f"{each}: cannot be declared replaced: it is not in use, or never was a place before")
    stood = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return (
        dict.fromkeys(given, 0)
        | {each: known[each] or now for each in known if each not in given}
        | {f"{each} (until {stood})": now for each in before}
    )


def encode(places: Places) -> bytes:
    """As it stands in the snapshot and in the journal."""
    parts = [_COUNT.pack(len(places))]
    for directory, lost in sorted(places.items()):
        text = directory.encode()
        parts += [_PLACE.pack(lost, len(text)), text]
    return b"".join(parts)


def decode(data: bytes, offset: int) -> tuple[Places, int]:
    """The places that stand at `offset`, and the offset of what follows.

    Raises:
        Damaged: cut short, or not UTF-8.
    """
    places = dict[str, int]()
    try:
        (count,) = _COUNT.unpack_from(data, offset)
        offset += _COUNT.size
        for _ in range(count):
            lost, length = _PLACE.unpack_from(data, offset)
            offset += _PLACE.size + length
            places[data[offset - length : offset].decode()] = lost
    except (struct.error, UnicodeDecodeError) as error:
        raise Damaged("the list of places in the key file is cut short, or not UTF-8") from error
    return places, offset
