"""Sorted rows against a dictionary."""

from __future__ import annotations

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
