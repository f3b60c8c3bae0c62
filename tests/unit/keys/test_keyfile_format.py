"""docs/formats.md is enough to read a key file: the independent decoder and the keyring see the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import FileRoot, Keyring, KeyState, Piece, PiecesRoot, Place, piece, replicas, slot
from sensmail.keys.journal import Journal
from sensmail.keys.state import State
from unit.keys.bring import by_officers

VECTORS = Path(__file__).parents[2] / "vectors"


def check(journal: Journal, state: State, content: dict[str, Any]) -> None:
    """Engine and decoder agree on everything."""
    keys = {
        subject.hex(): [[int(key.state), key.material.hex()] for key in state.versions(subject)]
        for subject in state.keys.subjects()
    }
    ring, epoch, sequence = journal.epoch.ring.hex(), journal.epoch.number, journal.sequence
    assert (ring, epoch, sequence) == (content["ring"], content["epoch"], content["sequence"])
    assert (keys, dict(state.places)) == (content["keys"], content["places"])
    assert {each.subject.hex(): [each.epoch, each.time] for each in state.all_tombstones()} == content["tombstones"]
    assert state.destroyed_through == content["destroyed_through"]
    assert state.closed.count() == len(content["closed"])
    for subject in content["closed"]:
        assert state.closed.get(bytes.fromhex(subject))


@pytest.fixture
def vector() -> dict[str, Any]:
    """The example of section "Key file"."""
    (loaded,) = json.loads((VECTORS / "keyfile.json").read_text())["vectors"]
    assert isinstance(loaded, dict)
    return loaded


def test_vector(decoder: ModuleType, vector: dict[str, Any], tmp_path: Path) -> None:
    files = {name: bytes.fromhex(content) for name, content in vector["files"].items()}
    officers = [bytes.fromhex(each) for each in vector["officers"]]
    root_key, epoch_key = bytes.fromhex(vector["root_key"]), bytes.fromhex(vector["epoch_key"])
    assert decoder.open_file_root(root_key, files["slot.0"]) == epoch_key
    for one, two in ((0, 1), (2, 0), (1, 2)):
        assert decoder.open_by_officers(officers[one], officers[two], files["slot.0"]) == epoch_key
    one, two = (each.encode() for each in vector["pieces"])
    assert decoder.open_by_pieces(one, two, files["slot.0"]) == epoch_key
    assert decoder.read_place(files, epoch_key) == vector["content"]
    assert list(decoder.read_counter(files["counter"])) == vector["counter"] == [7, 3]
    without = dataclasses.replace(slot.parse(files["slot.0"], "x"), recovery=b"").pack()
    with pytest.raises(decoder.Refused, match="authentication"):
        decoder.open_file_root(root_key, without)
    with pytest.raises(decoder.Refused, match="destroyed"):
        decoder.open_file_root(root_key, files["slot.1"])

    places = [Place(tmp_path / name) for name in ("first", "second")]
    for place in places:
        place.directory.mkdir()
        for name, content in files.items():
            place.path(name).write_bytes(content)
    (tmp_path / "root").touch(0o600)
    (tmp_path / "root").write_bytes(root_key)
    private = [X25519PrivateKey.from_private_bytes(each) for each in officers]
    pieces = PiecesRoot(Piece.decode(one, "one"), Piece.decode(two, "two"))
    for root in (FileRoot(tmp_path / "root"), by_officers(places[0], private[0], private[2]), pieces):
        for place in places:
            place.path("journal.2").write_bytes(files["journal.2"])
        check(*replicas.read_copy(places[1], root), vector["content"])
        with Keyring.open(places, root, lost=[Path(each) for each in vector["content"]["places"]]) as ring:
            assert list(ring.unsettled_openings()) == [4, 5, 6, 7]
            assert ring.status().counts["subjects"] == len(vector["content"]["keys"])


def test_decoder_reads_the_engine(
    decoder: ModuleType,
    reopen: Callable[[], Keyring],
    places: list[Place],
    officers: list[X25519PrivateKey],
    tmp_path: Path,
) -> None:
    """After every act, from every place, by the root and by two officers."""
    with reopen() as ring:
        keys = ring.new_subject_keys(6)
        one, two, three = (key.subject for key in keys[:3])
        acts: list[Callable[[], object]] = [
            lambda: ring.close_subjects([one, two]),
            lambda: ring.new_versions([one, three]),
            ring.roll,
            lambda: ring.reopen_subjects([two]),
            lambda: ring.retire_replaced(),
            lambda: ring.destroy_version(three, 1),
            lambda: ring.replace([two, three]),
            lambda: ring.retire_replaced(),
            lambda: ring.destroy_retired(),
            lambda: ring.adopt([bytes(15) + b"\x01"]),
            lambda: ring.destroy_subjects([one]),
            ring.roll,
            ring.new_subject_key,
        ]
        private = [each.private_bytes_raw() for each in officers]
        for act in acts:
            act()
            for place in places:
                files = {name: place.read(name) or b"" for name in place.names()}
                slot = files[f"slot.{ring.status().epoch % 2}"]
                epoch_key = decoder.open_file_root((tmp_path / "root.key").read_bytes(), slot)
                assert decoder.open_by_officers(private[2], private[1], slot) == epoch_key
                pieces = [piece(each, slot).encode() for each in (officers[0], officers[2])]
                assert decoder.open_by_pieces(*pieces, slot) == epoch_key
                check(ring._replicas.journal, ring._state, decoder.read_place(files, epoch_key))
        assert ring.versions(three)[1] is KeyState.DESTROYED
