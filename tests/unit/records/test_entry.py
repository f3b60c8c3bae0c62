"""The bytes of a leaf: RFC 8785, one text a value, and nothing that a detail may hold stops the sealer."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.records import canonical, columns, entry
from sensmail.records.errors import Malformed

GIVEN: dict[str, Any] = {
    "account": "kim@example.test", "act": "open", "at": 1_764_040_769_123_456, "client": "", "clock": "",
    "detail": msgspec.Raw(b"{}"), "ledger": "access", "opening": None, "origin": "192.0.2.1", "outcome": "done",
    "purpose": "own_data", "received": 1_764_040_769_123_500, "sealed": 1_764_040_769_200_000, "seq": 0,
    "subject": "00112233-4455-6677-8899-aabbccddeeff", "unit": "sensmail-portal.service", "v": 1,
}  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.none() | TEXT | st.integers(-canonical.LARGEST, canonical.LARGEST)
DETAILS = st.dictionaries(NAMES, PLAIN | st.lists(PLAIN, max_size=4), max_size=5)


def reference(value: object) -> bytes:
    """RFC 8785 by the standard library: sorted, without space, its short escapes; the same for what we allow."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def made(**change: object) -> entry.Entry:
    return entry.Entry(**{**GIVEN, **change})


def test_known_answer() -> None:
    text = (
        b'{"account":"kim@example.test","act":"open","at":1764040769123456,"client":"","clock":"","detail":{},'
        b'"ledger":"access","opening":null,"origin":"192.0.2.1","outcome":"done","purpose":"own_data",'
        b'"received":1764040769123500,"sealed":1764040769200000,"seq":0,'
        b'"subject":"00112233-4455-6677-8899-aabbccddeeff","unit":"sensmail-portal.service","v":1}'
    )
    assert entry.encode(made()) == text
    assert entry.leaf(made(), b"s" * 16) == sha256(b"\0" + b"s" * 16 + text).digest()


def test_members_stand_in_the_order_of_rfc_8785() -> None:
    assert list(entry.Entry.__struct_fields__) == sorted(entry.Entry.__struct_fields__)


@given(TEXT, TEXT, st.integers(1, canonical.LARGEST) | st.none(), DETAILS)
def test_what_is_written_is_what_rfc_8785_writes(account: str, client: str, opening: int | None, detail: Any) -> None:
    raw = canonical.detail(json.dumps(detail).encode())
    written = entry.encode(made(account=account, client=client, opening=opening, detail=msgspec.Raw(raw)))
    plain = {**GIVEN, "account": account, "client": client, "opening": opening, "detail": detail}
    assert written == reference(plain)
    assert entry.encode(entry.parse(written)) == written


def test_control_characters_are_written_as_rfc_8785_asks() -> None:
    text = "".join(map(chr, range(32))) + '"\\/\x7f\u2028€😀'
    escaped = "".join({8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}.get(n, f"\\u{n:04x}") for n in range(32))
    assert canonical.encode(text) == f'"{escaped}\\"\\\\/\x7f\u2028€😀"'.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_any_object_becomes_a_canonical_detail(value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    kept = canonical.detail(text)
    assert kept == canonical.detail(kept)
    found = canonical.check_detail(kept)
    assert found in (value, {"unfit": text.decode()})


UNFIT = [
    b"[]", b"1", b"x", b'{"a":1.5}', b'{"a":true}', b'{"A":1}', b'{"a":{}}', b'{"a":1e400}', b'{"a":[[1]]}',
    b'{"a":9007199254740992}', b"[" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", UNFIT)
def test_what_is_unfit_is_kept_as_one_string(text: bytes) -> None:
    assert json.loads(canonical.detail(text)) == {"unfit": text.decode()}


LINE = entry.encode(made(detail=msgspec.Raw(b'{"fields":["name"]}')))


REPLACED = [
    (b'"v":1', b'"v":2'), (b',"v":1', b""), (b'"seq":0', b'"seq":-1'), (b'"seq":0', b'"seq":0.0'),
    (b'"seq":0', b'"seq":"0"'), (b'{"fields"', b'{ "fields"'), (b'["name"]', b"1.5"), (b"own_data", b"own\\u005fdata"),
    (b'"v":1', b'"v":1,"w":1'), (b'"act":"open"', b'"act":"open","act":"open"'), (b"ddeeff", b"DDEEFF"),
    (b'"opening":null', b'"opening":0'), (b'"access"', b'"other"'), (b"open", b"\xff"),
    (b'{"fields":["name"]}', b'{"b":1,"a":1}'),
]  # fmt: skip


@pytest.mark.parametrize("line", [LINE + b" ", b" " + LINE, *(LINE.replace(*each, 1) for each in REPLACED)])
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    assert line != LINE
    with pytest.raises(Malformed):
        entry.parse(line)


@given(st.integers(0, len(LINE)), st.integers(0, 4), st.binary(max_size=4))
def test_changed_bytes_are_refused_or_read_as_they_stand(at: int, cut: int, put: bytes) -> None:
    line = LINE[:at] + put + LINE[at + cut :]
    with suppress(Malformed):
        assert entry.encode(entry.parse(line)) == line


ENTRIES = st.builds(
    made, account=TEXT, client=TEXT, opening=st.integers(1, canonical.LARGEST) | st.none(),
    subject=st.none() | st.uuids().map(str), detail=DETAILS.map(canonical.encode).map(msgspec.Raw),
)  # fmt: skip


@given(st.lists(ENTRIES, min_size=1, max_size=4))
def test_columns_give_the_bytes_of_their_entries(entries: list[entry.Entry]) -> None:
    def text(value: object, name: str) -> bytes:
        plain = "null" if value is None else f'"{value}"' if name == "subject" else str(value)
        return bytes(value) if isinstance(value, msgspec.Raw) else plain.encode()

    given_columns = [[text(getattr(each, name), name) for each in entries] for name in columns.MEMBERS]
    assert columns.lines(given_columns) == [entry.encode(each) for each in entries]
