"""One root key at its provider: what the unit does, and does again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sensmail.custody import root_key
from sensmail.custody.root_key import Answer, Request, carry_out
from sensmail.keyd.settings import CREDENTIALS
from sensmail.keys.errors import RootUnavailable, WrongRoot
from sensmail.keys.roots_pkcs11 import SOFTWARE_TOKEN, Pkcs11Root
from unit.softhsm import MODULE, PIN


@pytest.fixture
def root(token: str, tmp_path: Path) -> Pkcs11Root:
    return Pkcs11Root(MODULE, token, f"unit {tmp_path.name}", PIN, SOFTWARE_TOKEN)


def test_made_once_proven_and_destroyed_once(root: Pkcs11Root) -> None:
    first, again = carry_out(root, Request("prepare", {})), carry_out(root, Request("prepare", {}))
    assert (first.done, again.done, first.identity) == (True, False, again.identity)
    proven = carry_out(root, Request("prove", {}, first.identity))
    assert proven == Answer(root.identity().hex(), "software")
    end = [carry_out(root, Request("destroy", {}, first.identity)) for _ in range(2)]
    assert [each.done for each in end] == [True, False]
    assert root.gone()
    with pytest.raises(RootUnavailable, match="holds no such key"):
        carry_out(root, Request("prove", {}, first.identity))


def test_another_key_is_neither_proven_nor_destroyed(root: Pkcs11Root) -> None:
    root.make()
    for act in ("prove", "destroy"):
        with pytest.raises(WrongRoot, match="was meant; nothing was changed"):
            carry_out(root, msgspec.convert({"act": act, "table": {}, "identity": "ab" * 16}, Request))
    assert not root.gone()


def test_a_key_that_does_not_open_what_it_wrapped_is_not_used(
    root: Pkcs11Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.make()
    monkeypatch.setattr(Pkcs11Root, "unwrap", lambda self, wrapped, context: bytes(32))
    for act in ("prepare", "prove"):
        with pytest.raises(WrongRoot, match="does not open what it wrapped"):
            carry_out(root, msgspec.convert({"act": act, "table": {}, "identity": root.identity().hex()}, Request))


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"act":"format","table":{}}', b'{"act":"prove","table":{"provider":"x"}}']
)
def test_a_request_that_says_nothing_leaves_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr(root_key, "harden", lambda: None)
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    (tmp_path / root_key.REQUEST).write_bytes(text)
    assert root_key.main(tmp_path) == 1
    assert msgspec.json.decode((tmp_path / root_key.RESULT).read_bytes(), type=Answer).error
