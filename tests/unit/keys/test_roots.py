"""Root providers: wrap, unwrap, destroy, and what they say of destruction."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import FileRoot, Keyring, Officers, Place, Root, roll
from sensmail.keys.errors import KeyFailure, RootUnavailable, WrongRoot
from sensmail.keys.roots_pkcs11 import SOFTWARE_TOKEN, Pkcs11Root
from sensmail.keys.snapshot import Epoch
from unit.keys.test_officers_bound import altered
from unit.softhsm import MODULE

KEY = bytes(range(32))


@pytest.fixture(params=["file", "pkcs11"])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    """Each provider with a new key."""
    if request.param == "file":
        return FileRoot.create(tmp_path / "provider.key")
    label = request.getfixturevalue("token")
    made = Pkcs11Root(MODULE, label, f"root {tmp_path.name}", "1234", SOFTWARE_TOKEN)
    made.make()
    return made


def test_wrapped_keys_open_in_their_context_only(provider: Root) -> None:
    wrapped = provider.wrap(KEY, b"epoch 1")
    assert provider.unwrap(wrapped, b"epoch 1") == KEY
    assert KEY not in wrapped
    assert wrapped != provider.wrap(KEY, b"epoch 1")
    with pytest.raises(WrongRoot):
        provider.unwrap(wrapped, b"epoch 2")
    for bit in range(0, len(wrapped) * 8, 3):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrongRoot):
            provider.unwrap(bytes(changed), b"epoch 1")
    for cut in (b"", wrapped[:11], wrapped[:20], wrapped[:-1]):
        with pytest.raises(WrongRoot):
            provider.unwrap(cut, b"epoch 1")


def test_a_destroyed_root_opens_nothing(provider: Root) -> None:
    wrapped = provider.wrap(KEY, b"")
    assert len(provider.identity()) == 16
    assert not provider.gone()
    provider.destroy()
    assert provider.gone()
    for attempt in (
        lambda: provider.unwrap(wrapped, b""),
        lambda: provider.wrap(KEY, b""),
        provider.identity,
        provider.destroy,
    ):
        with pytest.raises(RootUnavailable):
            attempt()


def test_every_provider_says_what_destruction_means(provider: Root) -> None:
    assert provider.destruction.name == "software"
    assert "snapshot" in provider.destruction.promise


def test_a_keyring_under_each_provider(provider: Root, places: list[Place], tmp_path: Path) -> None:
    """Made under one root, rolled to another; the old one opens it no longer."""
    with Keyring.create(places, provider, None) as ring:
        key = ring.new_subject_key()
    successor = FileRoot.create(tmp_path / "successor.key")
    with Keyring.open(places, provider) as ring:
        ring.roll(root=successor)
        ring.roll()
    with pytest.raises(WrongRoot):
        Keyring.open(places, provider)
    with Keyring.open(places, successor) as ring:
        assert ring.key(key.subject) == key
        ring.roll(root=provider)
    with Keyring.open(places, provider) as ring:
        assert ring.key(key.subject) == key
    provider.destroy()
    with pytest.raises(RootUnavailable):
        Keyring.open(places, provider)


def test_a_root_that_fails_during_a_roll_changes_nothing(
    reopen: Callable[[], Keyring], root: FileRoot, tmp_path: Path
) -> None:
    with reopen() as ring:
        key = ring.new_subject_key()
        (tmp_path / "root.key").rename(tmp_path / "away")
        with pytest.raises(RootUnavailable, match=r"root\.key"):
            ring.roll()
        assert ring.key(key.subject) == key
        (tmp_path / "away").rename(tmp_path / "root.key")
    with reopen() as ring:
        assert ring.status().epoch == 1
        ring.roll()


def test_a_file_root_overwrites_before_it_unlinks(tmp_path: Path) -> None:
    """A hard link keeps the blocks in sight: after destroy they hold something else."""
    stored = tmp_path / "credential"
    stored.write_bytes(b"encrypted credential" * 10)
    os.link(stored, tmp_path / "watch")
    path = tmp_path / "delivered"
    FileRoot.create(path)
    FileRoot(path, stored=stored).destroy()
    assert not stored.exists()
    assert b"credential" not in (tmp_path / "watch").read_bytes()
    assert (tmp_path / "watch").stat().st_size == 200


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_root_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    made = FileRoot.create(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(RootUnavailable, match="0600"):
        made.identity()
    (tmp_path / "key").chmod(0o440)  # as systemd shows a credential
    made.identity()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, b"x" * 64])
def test_a_root_key_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(RootUnavailable, match=f"found {len(content)}"):
        FileRoot(path).identity()


def test_a_root_key_is_never_replaced(tmp_path: Path) -> None:
    FileRoot.create(tmp_path / "key")
    with pytest.raises(FileExistsError):
        FileRoot.create(tmp_path / "key")


def test_token_troubles_have_names(token: str) -> None:
    cases = {
        "PinIncorrect; the PIN is wrong: enter the right PIN": Pkcs11Root(MODULE, token, "x", "0000", SOFTWARE_TOKEN),
        "no key|0 keys": Pkcs11Root(MODULE, token, "no such label", "1234", SOFTWARE_TOKEN),
        "NoSuchToken.*; the token is not there": Pkcs11Root(MODULE, "no such token", "x", "1234", SOFTWARE_TOKEN),
        "nowhere.*; the module cannot be loaded": Pkcs11Root(
            Path("/nowhere/module.so"), token, "x", "1234", SOFTWARE_TOKEN
        ),
    }
    for text, provider in cases.items():
        with pytest.raises(RootUnavailable, match=text) as caught:
            provider.wrap(KEY, b"")
        if not text.startswith("no key"):
            with pytest.raises(RootUnavailable, match=text):  # a provider that is away says nothing of its keys
                provider.gone()
        assert "1234" not in str(caught.value)
        assert "1234" not in repr(provider)
    made = Pkcs11Root(MODULE, token, "twice", "1234", SOFTWARE_TOKEN)
    made.make()
    with pytest.raises(KeyFailure, match="already"):
        made.make()


def test_a_token_key_cannot_be_read_out(token: str) -> None:
    import pkcs11

    made = Pkcs11Root(MODULE, token, "sensitive", "1234", SOFTWARE_TOKEN)
    made.make()
    with made._key() as key, pytest.raises((pkcs11.AttributeSensitive, pkcs11.PKCS11Error)):
        key[pkcs11.Attribute.VALUE]


def test_a_root_opens_a_slot_with_its_own_recovery_part_only(provider: Root, officers: list[X25519PrivateKey]) -> None:
    epoch = Epoch(b"r" * 16, 1, os.urandom(32))
    held = roll.wrap(epoch, provider, Officers.of([each.public_key() for each in officers]))
    assert held.unwrap([provider], "x") == epoch.key
    for other in altered(held):
        with pytest.raises(WrongRoot, match="slot was changed"):
            other.unwrap([provider], "x")
    without = roll.wrap(epoch, provider, None)
    assert without.unwrap([provider], "x") == epoch.key
    with pytest.raises(WrongRoot, match="slot was changed"):
        dataclasses.replace(without, recovery=held.recovery).unwrap([provider], "x")
