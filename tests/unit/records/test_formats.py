"""docs/formats.md, "Sealed record": the vectors, by the engine and by the decoder that was written from it alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sensmail.records import checkpoint, cosignature, entry, note, proof
from sensmail.records.errors import NotProven
from sensmail.records.note import VerifierKey
from sensmail.records.tree import Range

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "records.json").read_text())["vectors"][0]
HASHES = [bytes.fromhex(each["leaf_hash"]) for each in VECTOR["records"]]


def _hex(values: list[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in values]


def test_the_engine_reads_the_vectors() -> None:
    for each, leaf in zip(VECTOR["records"], HASHES, strict=True):
        assert entry.leaf(entry.parse(each["canonical"].encode()), bytes.fromhex(each["salt"])) == leaf
    kept = Range()
    kept.extend(HASHES)
    assert kept.to_bytes() == b"".join(_hex(VECTOR["range"]))
    log_key = VerifierKey.from_text(VECTOR["log_key"])
    signed = [note.parse(each.encode()) for each in VECTOR["checkpoints"]]
    bodies = [checkpoint.verify(each, log_key) for each in signed]
    checkpoint.begin(bodies[0])
    checkpoint.follow(bodies[0], bodies[1])
    checkpoint.follow(bodies[1], bodies[2])
    assert bodies[2].root == kept.root()
    witness = VerifierKey.from_text(VECTOR["witness_key"], cosignature.COSIGNATURE)
    assert cosignature.cosigned(signed[2], witness) == VECTOR["cosigned"]
    one, two = VECTOR["inclusion"], VECTOR["consistency"]
    proof.verify_inclusion(one["leaf"], HASHES[one["leaf"]], one["size"], kept.root(), _hex(one["proof"]))
    proof.verify_consistency(two["old"], bodies[1].root, two["size"], bodies[2].root, _hex(two["proof"]))


def test_the_independent_decoder_reads_the_vectors(decoder: ModuleType) -> None:
    for each, leaf in zip(VECTOR["records"], HASHES, strict=True):
        assert decoder.leaf_hash(json.loads(each["canonical"]), bytes.fromhex(each["salt"])) == leaf
    bodies = [decoder.read_checkpoint(each, VECTOR["log_key"]) for each in VECTOR["checkpoints"]]
    assert decoder.begins(bodies[0])
    assert not decoder.begins(bodies[2])
    assert decoder.may_follow(bodies[0], bodies[1])
    assert decoder.may_follow(bodies[1], bodies[2])
    assert not decoder.may_follow(bodies[2], bodies[1])
    for each in bodies:
        assert decoder.merkle_root(HASHES[: each["size"]]).hex() == each["root"]
    assert decoder.compact_range(HASHES) == _hex(VECTOR["range"])
    assert decoder.inclusion(VECTOR["inclusion"]["leaf"], HASHES) == _hex(VECTOR["inclusion"]["proof"])
    assert decoder.consistency(VECTOR["consistency"]["old"], HASHES) == _hex(VECTOR["consistency"]["proof"])
    assert decoder.read_cosignature(VECTOR["checkpoints"][2], VECTOR["witness_key"]) == VECTOR["cosigned"]


@pytest.mark.parametrize("change", [("\n7\n", "\n8\n"), ("time 1", "time 2")])
def test_both_refuse_a_changed_checkpoint(decoder: ModuleType, change: tuple[str, str]) -> None:
    text = VECTOR["checkpoints"][1].replace(*change)
    assert text != VECTOR["checkpoints"][1]
    with pytest.raises(decoder.Refused):
        decoder.read_checkpoint(text, VECTOR["log_key"])
    with pytest.raises(NotProven):
        checkpoint.verify(note.parse(text.encode()), VerifierKey.from_text(VECTOR["log_key"]))
