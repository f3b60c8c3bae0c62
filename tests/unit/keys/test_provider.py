"""From settings to roots: every mistake has a name, and generations come oldest first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from sensmail.keys import Destruction, FileRoot, Keyring, Place
from sensmail.keys.errors import RootUnavailable, SettingsError, WrongRoot
from sensmail.keys.provider import make_roots
from sensmail.keys.timed import TimedRoot


def generation(home: Path, number: int) -> FileRoot:
    """A root as the host's credential directory holds it."""
    return FileRoot.create(home / f"sensmail-root_{number}")


def test_generations_come_by_number(tmp_path: Path) -> None:
    made = [generation(tmp_path, number) for number in (2, 10, 1)]
    for other in ("sensmail-root_", "sensmail-root_01", "sensmail-root_x", "sensmail-root", "another_1"):
        (tmp_path / other).write_bytes(b"x")
    roots = make_roots({"provider": "file"}, tmp_path)
    assert [each.identity() for each in roots] == [made[2].identity(), made[0].identity(), made[1].identity()]
    (one,) = make_roots({"provider": "file", "credential": "sensmail-root_2"}, tmp_path)
    assert one.identity() == made[0].identity()
    several = make_roots([{"provider": "file"}, {"provider": "file", "credential": "sensmail-root_2"}], tmp_path)
    assert [each.provider for each in several] == ["file"] * 4


def test_a_root_change_by_generations(tmp_path: Path, places: list[Place]) -> None:
    """A second generation is put beside the first, a roll moves to it, and the first can go."""
    first = generation(tmp_path, 1)
    with Keyring.create(places, make_roots({"provider": "file"}, tmp_path), None) as ring:
        key = ring.new_subject_key()
        assert ring.status().root == first.identity().hex()
    second = generation(tmp_path, 2)
    with Keyring.open(places, make_roots({"provider": "file"}, tmp_path)) as ring:
        assert ring.status().root == first.identity().hex()
        ring.roll()
        assert ring.status().root == second.identity().hex()
    first.destroy()
    with Keyring.open(places, make_roots({"provider": "file"}, tmp_path)) as ring:
        assert ring.key(key.subject) == key
    generation(tmp_path, 3)
    second.destroy()
    with pytest.raises(WrongRoot, match="wrapped by root"):
        Keyring.open(places, make_roots({"provider": "file"}, tmp_path))


def test_an_unreadable_generation_is_no_obstacle_unless_it_is_the_one(tmp_path: Path, places: list[Place]) -> None:
    roots = [generation(tmp_path, 1), generation(tmp_path, 2)]
    good = [(tmp_path / f"sensmail-root_{number}").read_bytes() for number in (1, 2)]
    Keyring.create(places, roots[:1], None).close()
    (tmp_path / "sensmail-root_2").write_bytes(b"short")
    with Keyring.open(places, roots) as ring:
        (tmp_path / "sensmail-root_2").write_bytes(good[1])
        ring.roll()
    (tmp_path / "sensmail-root_1").write_bytes(b"short")
    Keyring.open(places, roots).close()
    (tmp_path / "sensmail-root_2").write_bytes(b"short")
    with pytest.raises(RootUnavailable, match="found 5"):
        Keyring.open(places, roots)


TOKEN = {"provider": "pkcs11", "module": "/m.so", "token": "t", "label": "l", "pin_credential": "pin"}
KMS = {"provider": "ncloud_kms", "key_tag": "t", "access_key_credential": "pin", "secret_key_credential": "pin"}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({}, "provider must be a text"),
        ([], "names no provider"),
        ({"provider": "vault"}, "'vault' is not known; choose file, pkcs11, ncloud_kms"),
        ({"provider": "file"}, "holds no credential sensmail-root_<generation>"),
        ({"provider": "file", "credential": 5}, "credential must be a text; found int"),
        ({"provider": "file", "credential": "x", "label": "x"}, "label is no setting of this provider"),
        ({**TOKEN}, "destruction must be a text"),
        ({**TOKEN, "destruction": "none"}, "choose hardware, software"),
        ({**TOKEN, "destruction": "software", "pin_credential": "away"}, r"away: credential .* cannot be read"),
        ({**TOKEN, "destruction": "software", "pin_credential": "empty"}, "is empty"),
        ({**TOKEN, "destruction": "software", "timeout_s": 0}, "above 0 and at most 300"),
        ({**TOKEN, "destruction": "software", "timeout_s": True}, "above 0 and at most 300"),
        ({**TOKEN, "destruction": "software", "pin": "1234"}, "pin is no setting"),
        ({**KMS, "endpoint": "http://x"}, "must be https"),
        ({**KMS, "key_tag": ""}, "key_tag must be a text"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, table: Any, text: str) -> None:
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match=text) as caught:
        make_roots(table, tmp_path)
    assert "1234" not in str(caught.value)


def test_a_token_from_settings(tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("1234\n")
    table: Mapping[str, Any] = {**TOKEN, "destruction": "hardware"}
    (root,) = make_roots(table, tmp_path)
    assert (root.provider, root.destruction.name) == ("pkcs11", "hardware")
    assert "1234" not in repr(root)
    with pytest.raises(RootUnavailable, match=r"/m\.so"):
        root.identity()


class Slow:
    """A root that answers when it is let."""

    provider = "file"
    destruction = Destruction("none", "a test")
    slot_part: Literal["wrapped", "recovery"] = "wrapped"

    def __init__(self) -> None:
        self.let, self.calls = threading.Event(), 0

    def identity(self) -> bytes:
        self.calls += 1
        self.let.wait(20)
        return b"i" * 16

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return self.identity() + key + context

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        self.identity()
        raise WrongRoot("wrong " + wrapped.hex() + context.hex())

    def destroy(self) -> None:
        self.identity()

    def gone(self) -> bool:
        self.identity()
        return True


def test_a_root_that_hangs_is_unavailable_and_costs_one_thread() -> None:
    slow = Slow()
    root = TimedRoot(slow, 0.1)
    before, begin = threading.active_count(), time.monotonic()
    calls: list[Callable[[], object]] = [
        root.identity, lambda: root.wrap(b"k", b"c"), lambda: root.unwrap(b"w", b"c"), root.destroy, root.gone,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(RootUnavailable, match=r"no answer within|still hangs"):
            call()
    assert time.monotonic() - begin < 5
    assert slow.calls == 1
    assert threading.active_count() == before + 1
    slow.let.set()
    assert root.wrap(b"k", b"c") == b"i" * 16 + b"kc"
    with pytest.raises(WrongRoot, match="wrong 7763"):
        root.unwrap(b"w", b"c")
    root.destroy()
    assert root.gone()
    assert root.identity() == b"i" * 16


def test_a_keyring_survives_a_root_that_hangs(places: list[Place]) -> None:
    """During a roll: nothing has changed, and the next roll works."""
    slow = Slow()
    slow.let.set()
    root = TimedRoot(slow, 0.2)
    slow.unwrap = lambda wrapped, context: wrapped[16:48]  # type: ignore[method-assign]
    with Keyring.create(places, root, None) as ring:
        slow.let.clear()
        with pytest.raises(RootUnavailable):
            ring.roll()
        assert ring.status().epoch == 1
        slow.let.set()
        time.sleep(0.05)
        assert ring.roll() == 2
