"""Sorted rows against a dictionary."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keys.rows import SortedRows

ids = st.integers(0, 9).map(lambda number: number.to_bytes(16))
acts = st.lists(st.tuples(ids, st.integers(0, 3), st.booleans()), max_size=60)


@given(acts)
def test_rows_agree_with_a_dictionary(steps: list[tuple[bytes, int, bool]]) -> None:
    rows, model = SortedRows(18), dict[bytes, bytes]()
    for number, (subject, count, merge) in enumerate(steps):
        block = b"".join(subject + bytes([number, each]) for each in range(count))
        rows.put(subject, block)
        model[subject] = block
        if merge:
            rows = SortedRows(18, rows.encode())
        for each in range(10):
            key = each.to_bytes(16)
            assert rows.get(key) == model.get(key, b"")
    assert rows.encode() == b"".join(model[key] for key in sorted(model))
    assert list(rows.subjects()) == sorted(key for key, block in model.items() if block)


def spread(kind: str, count: int) -> list[bytes]:
    """Ids that are random, that follow one another, or that lie in two far corners."""
    chance = random.Random(count)
    if kind == "random":
        return [chance.randbytes(16) for _ in range(count)]
    if kind == "in sequence":
        return [bytes(7) + number.to_bytes(9) for number in range(1, count + 1)]
    return [corner * 8 + chance.randbytes(8) for corner in (b"\x00", b"\xff") for _ in range(count // 2)]


@pytest.mark.parametrize("kind", ["random", "in sequence", "two corners"])
@pytest.mark.parametrize("count", [1, 2, 40, 3000])
def test_every_row_is_found_however_the_ids_are_spread(kind: str, count: int) -> None:
    ids = spread(kind, count)
    rows = SortedRows(20)
    for each in ids:
        rows.put(each, each + b"\0\0\0\1" + (each + b"\0\0\0\2" if each[-1] % 3 == 0 else b""))
    model = {each: rows.get(each) for each in ids}
    block = rows.encode()
    assert block == b"".join(model[each] for each in sorted(model))
    for each in ids:
        assert rows.get(each) == model[each]
        for near in (int.from_bytes(each) - 1, int.from_bytes(each) + 1):
            other = (near % 2**128).to_bytes(16)
            assert rows.get(other) == model.get(other, b"")
    for each in ids[::7]:
        rows.put(each, b"")
        del model[each]
    assert rows.encode() == b"".join(model[each] for each in sorted(model))
    assert rows.count() == sum(len(each) for each in model.values()) // 20


def test_a_look_up_looks_at_few_rows() -> None:
    """Interpolation, not a walk and not a bisection: counted, not timed."""

    class Counted(bytes):
        looks = 0

        def __getitem__(self, key: Any) -> Any:
            Counted.looks += 1
            return super().__getitem__(key)

    ids = sorted(spread("random", 20_000))
    rows = SortedRows(16, Counted(b"".join(ids)))
    for each in ids[::10]:
        assert rows.get(each) == each
    assert Counted.looks / 2000 < 9
