"""Writes tests/vectors/*.json. Run it only when a format gains a version: existing vectors never change."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.fields import FieldKey, Place, row_key, text
from sensmail.keys import FileRoot, Keyring, Officers, SubjectKey, piece
from sensmail.keys import Place as Directory
from sensmail.keys.pieces import slot_of
from sensmail.records import canonical, entry, note
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.cosignature import cosign, witness_key
from sensmail.records.proof import Leaves
from sensmail.records.tree import Range

HERE = Path(__file__).parent
CASES: list[tuple[int, int, str, list[tuple[str, str]], bytes]] = [
    (1, 1, "profile", [("uuid", "00112233-4455-6677-8899-aabbccddeeff")], "홍길동".encode()),
    (7, 2, "mfa.totp", [("bigint", "-9223372036854775808")], b""),
    (4294967295, 4294967295, "a", [("text", "행 키"), ("bigint", "42")], bytes(range(256))),
    (300, 3, "notice_2026-11", [("bytea", "00ff"), ("text", "")], b"\x00"),
    (2, 258, "emergency-mail", [("uuid", "ffffffff-ffff-ffff-ffff-ffffffffffff")], b"a@example.test"),
]


def envelope_vectors() -> list[dict[str, Any]]:
    readers: dict[str, Any] = {"uuid": UUID, "bigint": int, "text": str, "bytea": bytes.fromhex}
    result = []
    for number, version, purpose, columns, value in CASES:
        subject, material = os.urandom(16), os.urandom(32)
        row = row_key(*(readers[kind](text) for kind, text in columns))
        sealed = FieldKey.make(SubjectKey(subject, version, material), purpose).seal(Place(number, row), value)
        result.append(
            {
                "subject": subject.hex(),
                "subject_key": material.hex(),
                "key_version": version,
                "purpose": purpose,
                "field_number": number,
                "row": columns,
                "row_key": row.hex(),
                "value": value.hex(),
                "envelope": sealed.hex(),
            }
        )
    return result


def text_vectors() -> list[dict[str, str]]:
    """The envelopes of envelope.json as text, and the shortest three lengths."""
    sealed = [bytes.fromhex(each["envelope"]) for each in json.loads((HERE / "envelope.json").read_text())["vectors"]]
    sealed += [b"\x01" + os.urandom(length) for length in (33, 34, 35)]
    return [{"envelope": each.hex(), "text": text.pack(each).decode()} for each in sealed]


def keyfile_vector() -> dict[str, Any]:
    """One place with a snapshot in epoch 2 and a journal in which every act occurs."""
    private = [X25519PrivateKey.generate() for _ in range(3)]
    home = "/tmp/sensmail-vector"  # the key file remembers its places by name
    shutil.rmtree(home, ignore_errors=True)
    Path(home).mkdir(0o700)
    try:
        places = [Directory(Path(home) / name) for name in ("first", "second")]
        for place in places:
            place.directory.mkdir()
        root = FileRoot.create(Path(home) / "root")
        with Keyring.create(places, root, Officers.of([each.public_key() for each in private])) as ring:
            one, two, three, four = (key.subject for key in ring.new_subject_keys(4))
            ring.close_subjects([two])
            ring.new_versions([one])
            ring.destroy_subjects([four])
            ring.settle_openings(ring.reserve_openings(5)[2])
            ring.retire_replaced()
            ring.new_versions([one])
            ring.roll()
            ring.new_subject_key()
            ring.destroy_version(one, 1)
            ring.retire_replaced()
            ring.new_versions([one, three])
            ring.destroy_retired()
            ring.reopen_subjects([two])
            ring.close_subjects([one])
            ring.destroy_subjects([three])
            ring.reserve_openings(2)
        third = Directory(Path(home) / "third")
        third.directory.mkdir()
        with Keyring.open([places[0], third], root, fill_empty=True, lost=[places[1].directory]) as ring:
            ring.new_versions([ring.adopt([bytes(15) + b"\x01"])[0].subject])
        pieces = [piece(private[each], slot_of(places[0])).encode().decode() for each in (0, 2)]
        files = {name: places[0].path(name).read_bytes() for name in places[0].names() if name != "lock"}
        root_key = (Path(home) / "root").read_bytes()
    finally:
        shutil.rmtree(home)
    decoder = runpy.run_path(str(HERE / "decoder.py"))
    epoch_key = decoder["open_file_root"](root_key, files["slot.0"])
    return {
        "root_key": root_key.hex(),
        "pieces": pieces,
        "officers": [each.private_bytes_raw().hex() for each in private],
        "epoch_key": epoch_key.hex(),
        "files": {name: content.hex() for name, content in files.items()},
        "content": decoder["read_place"](files, epoch_key),
        "counter": list(decoder["read_counter"](files["counter"])),
    }


def records_vector() -> dict[str, Any]:
    """A log of eleven records, three checkpoints by two keys, a cosignature, and proofs."""
    stable, witness, *keys = [Ed25519PrivateKey.generate() for _ in range(5)]
    public = [note.public_bytes(each) for each in keys]
    origin = Origin.of("mail.example.go.kr/records", "access", 1, public[0]).to_text()
    entries, salts, kept = [], [], Range()
    for at in range(11):
        detail = canonical.detail(
            '{"reason":"열람 요청\\n2\\"","count":3,"fields":[1,"b"]}'.encode() if at % 3 else b"{}"
        )
        entries.append(
            entry.Entry(
                account="kim@example.test", act="open", at=1_764_040_769_123_456 + at, client="Thunderbird 128",
                clock="", detail=msgspec.Raw(detail), ledger="access", opening=at or None, origin="192.0.2.1",
                outcome="done", purpose="own_data", received=1_764_040_769_223_456 + at,
                sealed=1_764_040_770_000_000, seq=at, subject=str(UUID(int=at)) if at else None,
                unit="sensmail-portal.service", v=1,
            )
        )  # fmt: skip
        salts.append(os.urandom(16))
    hashes = list(map(entry.leaf, entries, salts))
    signed = []
    for size, key in ((0, 0), (7, 0), (11, 1)):
        kept.extend(hashes[kept.size : size])
        body = Checkpoint(origin, size, kept.root(), 1_764_040_770 + size, public[key], public[key + 1])
        signed.append(body.sign(stable, keys[key]))
    line = cosign(signed[-1].text, "witness.example/w1", witness, 1_764_040_785)
    signed[-1] = note.Note(signed[-1].text, (*signed[-1].signatures, line))
    tree = Leaves(hashes)
    return {
        "log_key": note.VerifierKey(origin, note.public_bytes(stable)).to_text(),
        "witness_key": witness_key("witness.example/w1", note.public_bytes(witness)).to_text(),
        "cosigned": 1_764_040_785,
        "records": [
            {"canonical": entry.encode(each).decode(), "salt": salt.hex(), "leaf_hash": leaf.hex()}
            for each, salt, leaf in zip(entries, salts, hashes, strict=True)
        ],
        "range": [each.hex() for each in kept.nodes().values()],
        "checkpoints": [each.to_bytes().decode() for each in signed],
        "inclusion": {"leaf": 4, "size": 11, "proof": [each.hex() for each in tree.inclusion(4)]},
        "consistency": {"old": 7, "size": 11, "proof": [each.hex() for each in tree.consistency(7)]},
    }


def write(name: str, remark: str, vectors: list[dict[str, Any]]) -> None:
    target = HERE / name
    if target.exists():
        return  # vectors of a published format never change
    target.write_text(json.dumps({"note": remark, "vectors": vectors}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write("envelope.json", 'docs/formats.md, "Envelope, version 1"; byte strings in hexadecimal', envelope_vectors())
    write("envelope_text.json", 'docs/formats.md, "Envelope as text"; envelopes in hexadecimal', text_vectors())
    write("keyfile.json", 'docs/formats.md, "Key file"; byte strings in hexadecimal', [keyfile_vector()])
    write("records.json", 'docs/formats.md, "Sealed record"; byte strings in hexadecimal', [records_vector()])
