"""Proofs from whole blocks are those from every leaf."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.records.errors import BeforeCut
from sensmail.records.outline import Outline
from sensmail.records.proof import Leaves
from sensmail.records.tree import Range

LEAVES = [sha256(bytes([number])).digest() for number in range(200)]


@given(data=st.data())
def test_the_same_proofs_as_from_every_leaf(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    cut = data.draw(st.integers(0, size - 1))
    block = data.draw(st.sampled_from([1, 2, 4, 8, 16, 1024]))
    sizes = data.draw(st.lists(st.integers(max(cut, 1), size), max_size=5))
    leaves = data.draw(st.lists(st.integers(cut, size - 1), max_size=5))
    before = Range()
    before.extend(LEAVES[:cut])
    outline = Outline(before, [*sizes, *leaves], block)
    at = cut
    while at < size:
        step = data.draw(st.integers(1, 70))
        outline.extend(LEAVES[at : min(at + step, size)])
        at += step
    whole = Leaves(LEAVES[cut:size], before)
    assert outline.size == size
    assert outline.root() == whole.root()
    for each in sizes:
        assert outline.root(each) == whole.root(each)
        assert outline.consistency(each) == whole.consistency(each)
        for leaf in (leaf for leaf in leaves if leaf < each):
            assert outline.inclusion(leaf, each) == whole.inclusion(leaf, each)


def test_what_is_not_marked_is_refused_and_what_is_gone_is_named() -> None:
    before = Range()
    before.extend(LEAVES[:10])
    outline = Outline(before, [], 4)
    outline.extend(LEAVES[10:60])
    with pytest.raises(ValueError, match="not among the marks"):
        outline.inclusion(30)
    with pytest.raises(BeforeCut):
        outline.inclusion(5)
