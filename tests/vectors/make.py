"""Writes tests/vectors/*.json. Run it only when a format gains a version: existing vectors never change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

from sensmail.fields import FieldKey, Place, row_key
from sensmail.keys.material import SubjectKey

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


def write(name: str, note: str, vectors: list[dict[str, Any]]) -> None:
    target = HERE / name
    if target.exists():
        raise SystemExit(f"{target} exists; vectors of a published format never change")
    target.write_text(json.dumps({"note": note, "vectors": vectors}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write("envelope.json", 'docs/formats.md, "Envelope, version 1"; byte strings in hexadecimal', envelope_vectors())
