"""Whatever the bytes, the reader accepts them or raises PolicyError, and says where."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensmail.policy import PolicyError, Problem, loads
from sensmail.policy.source import parse

SHIPPED = (Path(__file__).parents[3] / "inventories/local/group_vars/all/policy.yml").read_bytes()
LINES = SHIPPED.splitlines(keepends=True)

# Bytes that mean something to YAML come up more often than by chance.
pieces = st.sampled_from(
    [
        b"policy:",
        b"art4:",
        b"  ",
        b"\n",
        b"- ",
        b"[",
        b"]",
        b"{",
        b"}",
        b": ",
        b"'",
        b'"',
        b"\\u",
        b"\\UFFFFFFFF",
        b"\\ud800",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!",
        b"!!python/object:os.system ",
        b"!!binary ",
        b"---\n",
        b"...\n",
        b"? ",
        b"| ",
        b"> ",
        b"%YAML 1.1\n",
        b"#",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"1e999",
        b".nan",
        b"0x",
        b"0b_",
        b"1:30",
        b"2022-06-13",
        b"~",
        b"yes",
        b"\t",
        b"\x85",
    ],
)


def holds_together(raw: bytes) -> None:
    """Load the bytes; a refusal must be printable and point into the file."""
    problems: tuple[Problem, ...] = ()
    try:
        loads(raw, "policy.yml")
    except PolicyError as error:
        problems = error.problems
        said = str(error)
    last = sum(raw.count(mark) for mark in (b"\n", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")) + 1
    for problem in problems:
        assert 1 <= problem.line <= last
        assert str(problem) in said
        assert "\n" not in str(problem)
        said.encode("utf-8")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.lists(pieces | st.binary(max_size=4), max_size=40).map(b"".join))
@example(b'a: "\\UFFFFFFFF"')
@example(b'a: "\\uD800"')
@example(b"a: " + b"9" * 5000)
@example(b"a: !!float x")
@example(b"a: !!bool x")
@example(b"a: !!null x")
@example(b"{" * 2000)
@example(b"? " * 2000)
@example(b"- " * 2000)
@example(b"!!str [a]: 1")
@example(b"a: 1:99")
@example(b"\xc2\x85")
def test_bytes(raw: bytes) -> None:
    holds_together(raw)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(LINES) - 1), st.integers(0, 3), st.lists(pieces | st.binary(max_size=6), max_size=3))
def test_damage_to_the_shipped_policy(line: int, dropped: int, added: list[bytes]) -> None:
    holds_together(b"".join([*LINES[:line], *added, *LINES[line + dropped :]]))


texts = st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=8).filter(
    lambda text: not any(mark in text for mark in ("{{", "{%", "{#"))
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99999, 99999) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter(bool), inner, max_size=3),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(texts.filter(bool), values, min_size=1, max_size=4))
def test_data_is_read_as_yaml_means_it(data: dict[str, object]) -> None:
    raw = yaml.safe_dump(data, allow_unicode=True).encode()
    if b"&id" not in raw:  # equal empty lists may be dumped as an alias
        assert parse(raw, "policy.yml").data == data


@settings(max_examples=100, deadline=None)
@given(values)
def test_any_value_in_the_place_of_an_article(value: object) -> None:
    holds_together(yaml.safe_dump({"policy": {"art4": value, "art2": {"items": value}, "art9": value}}).encode())
