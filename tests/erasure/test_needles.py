"""The search must find what is there, however it is written: else no search proves anything."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from erasure.needles import counts, in_bytes, in_files, patterns

SECRETS = [bytes(range(240, 256)) * 2, b"line\nbreak in the middle of a secret\n!", "비밀 이름 홍길동".encode()]
WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda secret: secret.hex().encode(),
    "HEX": lambda secret: secret.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 after 1": lambda secret: base64.b64encode(b"x" + secret),
    "base64 after 2": lambda secret: base64.b64encode(b"xy" + secret + b"z"),
}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_in_every_form(tmp_path: Path, secret: bytes, way: str) -> None:
    written = os.urandom(5000) + WRITTEN[way](secret) + os.urandom(5000)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(written)
    (tmp_path / "other").write_bytes(os.urandom(10_000))
    assert in_files(SECRETS, tmp_path) == [str(tmp_path / "deep" / "file")]
    assert in_bytes(written, SECRETS) == [secret]
    wanted = {str(number): each for number, each in enumerate(SECRETS)}
    found = counts(tmp_path / "deep" / "file", wanted)
    assert found == {name: int(each == secret) for name, each in wanted.items()}


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    assert in_files(SECRETS, tmp_path) == []
    assert counts(tmp_path / "file", {"one": SECRETS[0]}) == {"one": 0}


def test_a_search_for_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to search for"):
        patterns([])
    with pytest.raises(ValueError, match="nothing to search for"):
        patterns([b"short"])
