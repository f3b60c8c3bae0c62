"""Tree and proofs: equal to the definition, strict about lengths, and made behind a cut as before it."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensmail.records.errors import BeforeCut, Malformed, NotProven
from sensmail.records.proof import Leaves, verify_consistency, verify_inclusion
from sensmail.records.tree import EMPTY_ROOT, Range, leaf_hash, node_hash
from unit.records.conftest import Peer

COUNT = 40
HASHES = [leaf_hash(str(at).encode()) for at in range(COUNT)]
ALL = Leaves(HASHES)


def defined(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = max(2**power for power in range(20) if 2**power < len(leaves))
    return node_hash(defined(leaves[:split]), defined(leaves[split:]))


def test_known_answers() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@given(st.lists(st.integers(0, 9), max_size=12))
def test_a_range_grows_alike_in_any_pieces(pieces: list[int]) -> None:
    grown, at = Range(), 0
    for piece in pieces:
        piece = min(piece, COUNT - at)
        if piece == 1:
            grown.append(HASHES[at])
        else:
            grown.extend(HASHES[at : at + piece])
        at += piece
        assert grown.root() == defined(HASHES[:at])
        assert Range.from_bytes(grown.size, grown.to_bytes()).root() == grown.root()


def test_a_copy_is_a_state_of_its_own() -> None:
    one = Range()
    one.extend(HASHES[:5])
    two = one.copy()
    two.append(HASHES[5])
    assert (one.root(), two.root()) == (defined(HASHES[:5]), defined(HASHES[:6]))


@pytest.mark.parametrize(
    ("size", "data"), [(3, b"x" * 32), (3, b"x" * 65), (0, b"x" * 32), (-1, b""), (2**63, b"x" * 32)]
)
def test_a_range_of_another_length_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(Malformed):
        Range.from_bytes(size, data)


def test_every_proof_is_that_of_the_independent_implementation(peer: Peer) -> None:
    ours = [
        {"Of": leaf, "Size": size, "Hashes": ALL.inclusion(leaf, size)}
        for size in range(1, COUNT + 1)
        for leaf in range(size)
    ]
    older = [
        {"Of": old, "Size": size, "Hashes": ALL.consistency(old, size)}
        for size in range(1, COUNT + 1)
        for old in range(1, size + 1)
    ]
    leaves = [str(at).encode() for at in range(COUNT)]
    answer = peer(Leaves=leaves, Inclusion=ours, Consistency=older)
    assert answer["Errors"] is None
    roots = [base64.b64decode(each) for each in answer["Roots"]]
    assert roots == [ALL.root(size) for size in range(1, COUNT + 1)]
    for each in answer["Inclusion"]:
        proof = list(map(base64.b64decode, each["Hashes"]))
        verify_inclusion(each["Of"], HASHES[each["Of"]], each["Size"], roots[each["Size"] - 1], proof)
    for each in answer["Consistency"]:
        proof = list(map(base64.b64decode, each["Hashes"]))
        verify_consistency(each["Of"], roots[each["Of"] - 1], each["Size"], roots[each["Size"] - 1], proof)
    assert len(answer["Inclusion"]) == len(answer["Consistency"]) == COUNT * (COUNT + 1) // 2


def test_the_independent_implementation_refuses_a_changed_proof(peer: Peer) -> None:
    proof = {"Of": 3, "Size": 10, "Hashes": [HASHES[0], *ALL.inclusion(3, 10)[1:]]}
    answer = peer(Leaves=[str(at).encode() for at in range(COUNT)], Inclusion=[proof])
    assert len(answer["Errors"]) == 1


def test_behind_any_cut_proofs_are_the_same() -> None:
    for cut in range(COUNT + 1):
        range_at_cut = Range()
        range_at_cut.extend(HASHES[:cut])
        rest = Leaves(HASHES[cut:], range_at_cut)
        assert rest.root() == ALL.root()
        for size in range(max(cut, 1), COUNT + 1):
            assert [rest.inclusion(at, size) for at in range(cut, size)] == [
                ALL.inclusion(at, size) for at in range(cut, size)
            ]
            assert [rest.consistency(old, size) for old in range(cut, size + 1)] == [
                ALL.consistency(old, size) for old in range(cut, size + 1)
            ]


def test_before_a_cut_there_is_no_proof() -> None:
    cut = Range()
    cut.extend(HASHES[:13])
    rest = Leaves(HASHES[13:], cut)
    for ask in (lambda: rest.inclusion(5), lambda: rest.consistency(11), lambda: rest.root(9)):
        with pytest.raises(BeforeCut):
            ask()


@pytest.mark.parametrize(
    "ask", [lambda: ALL.inclusion(COUNT), lambda: ALL.inclusion(0, 0), lambda: ALL.consistency(5, 4)]
)
def test_what_does_not_exist_is_not_proven(ask: object) -> None:
    with pytest.raises(ValueError, match=r"leaf|tree"):
        ask()  # type: ignore[operator]


HASH = st.binary(min_size=32, max_size=32)


@given(st.data())
@settings(max_examples=300)
def test_an_inclusion_proof_holds_for_one_place_only(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, COUNT))
    leaf = data.draw(st.integers(0, size - 1))
    proof, root = ALL.inclusion(leaf, size), ALL.root(size)
    verify_inclusion(leaf, HASHES[leaf], size, root, proof)
    wrong = [
        (leaf, HASHES[leaf], size, root, [*proof, proof[-1] if proof else HASHES[0]]),
        (leaf, data.draw(HASH), size, root, proof),
        (leaf, HASHES[leaf], size, data.draw(HASH), proof),
        ((leaf + data.draw(st.integers(1, 2 * COUNT))), HASHES[leaf], size, root, proof),
        (-1, HASHES[leaf], size, root, proof),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        wrong.append((leaf, HASHES[leaf], size, root, proof[:at] + proof[at + 1 :]))
        wrong.append((leaf, HASHES[leaf], size, root, [*proof[:at], data.draw(HASH), *proof[at + 1 :]]))
        wrong.append((leaf, HASHES[leaf], size, root, [*proof[:at], proof[at][:31], *proof[at + 1 :]]))
    for each in wrong:
        with pytest.raises(NotProven):
            verify_inclusion(*each)


@given(st.data())
@settings(max_examples=300)
def test_a_consistency_proof_holds_for_two_trees_only(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, COUNT))
    old = data.draw(st.integers(0, size))
    proof, before, after = ALL.consistency(old, size), ALL.root(old), ALL.root(size)
    verify_consistency(old, before, size, after, proof)
    wrong = [
        (old, data.draw(HASH), size, after, proof),
        (old, before, size, after, [*proof, HASHES[0]]),
        (size + 1, before, size, after, proof),
        (-1, before, size, after, proof),
    ]
    if old:
        wrong.append((old, before, size, data.draw(HASH), proof))
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        wrong.append((old, before, size, after, proof[:at] + proof[at + 1 :]))
        wrong.append((old, before, size, after, [*proof[:at], data.draw(HASH), *proof[at + 1 :]]))
    for each in wrong:
        with pytest.raises(NotProven):
            verify_consistency(*each)
