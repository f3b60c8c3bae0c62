"""The parts that need no process: opening numbers, limits, rights, settings, words to systemd."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keyd import openings, systemd
from sensmail.keyd.caller import Caller
from sensmail.keyd.errors import Refused, TooMany
from sensmail.keyd.limits import Limits, Throttle
from sensmail.keyd.openings import LARGEST, SMALLEST, Openings
from sensmail.keyd.protocol import Sealed, Sealing
from sensmail.keyd.rights import parse
from sensmail.keyd.settings import load
from sensmail.keyd.vault import Vault
from sensmail.keys import FileRoot, Keyring, Place
from sensmail.keys.errors import SettingsError

from .conftest import policy


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    root = FileRoot.create(tmp_path / "root")
    return Keyring.create([Place(tmp_path / "one"), Place(tmp_path / "two")], root, None)


def test_numbers_come_in_order_and_settle_behind_their_records(ring: Keyring) -> None:
    numbers = Openings(ring)
    assert numbers.take(3) == [1, 2, 3]
    numbers.used()
    assert ring.status().settled == 3
    assert numbers.take(2) == [4, 5]
    numbers.give_back([4, 5])
    assert numbers.take(1) == [4]
    numbers.doubt([4])
    assert numbers.take(2) == [5, 6]
    numbers.used()
    assert (ring.status().settled, numbers.doubtful) == (3, [4])
    numbers.resolve([4])
    assert ring.status().settled == 6


def test_a_clean_stop_gives_back_and_a_doubtful_one_does_not(ring: Keyring) -> None:
    numbers = Openings(ring)
    numbers.take(2)
    numbers.used()
    numbers.release()
    assert (ring.status().issued, ring.status().settled) == (2, 2)
    numbers = Openings(ring)
    numbers.doubt(numbers.take(1))
    numbers.release()
    assert ring.status().issued > 3
    assert 3 in Openings(ring).doubtful


def test_blocks_grow_with_the_demand_and_shrink_without(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(openings.time, "monotonic", lambda: now)
    numbers = Openings(ring)
    sizes = []
    for pause in [0.1] * 12 + [5.0, 0.1]:
        now += pause
        before = ring.status().issued
        numbers.take(len(numbers._free) + 1)
        numbers.used()
        sizes.append(ring.status().issued - before)
    assert sizes[0] == SMALLEST
    assert sizes[1:3] == [2 * SMALLEST, 4 * SMALLEST]
    assert sizes[11] == LARGEST
    assert sizes[12] == SMALLEST


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 70)), max_size=40))
def test_no_minute_has_more_than_two_buckets(asked: list[tuple[float, int]]) -> None:
    """A full bucket at the start and what drops in during the minute."""
    now, granted = 0.0, []
    limits = Limits(lambda: now)
    for pause, count in asked:
        now += pause
        try:
            limits.take("unit", count, 60)
        except TooMany:
            continue
        granted.append((now, count))
    for start, _ in granted:
        assert sum(count for when, count in granted if start <= when < start + 60) <= 120


def test_who_was_refused_in_the_record_stays_refused(ring: Keyring) -> None:
    vault = Vault(ring)
    first, second = (UUID(bytes=each.subject) for each in ring.new_subject_keys(2))
    items = [Sealing(each, 5, b"row", b"value") for each in (first, second)]
    sealed = [Sealed(each.subject, 5, b"row", made) for each, made in zip(items, vault.seal(items), strict=True)]
    found = vault.open(sealed, {first: "closed"})  # reopened meanwhile: its key would open
    assert [(each.value, each.refusal) for each in found] == [(None, "closed"), (b"value", "")]


def test_units_have_buckets_of_their_own_and_no_rate_means_none() -> None:
    limits = Limits(lambda: 0.0)
    limits.take("a", 5, 5)
    limits.take("b", 5, 5)
    with pytest.raises(TooMany, match="a: 1 openings are beyond the 5 a minute of the policy; try again in 12 s"):
        limits.take("a", 1, 5)
    with pytest.raises(TooMany, match="ask for fewer at once"):
        limits.take("c", 1, 0)


def test_a_refusal_passes_once_a_minute_with_the_count_of_the_others() -> None:
    now = 0.0
    throttle = Throttle(lambda: now)
    assert [throttle.pass_on("x") for _ in range(3)] == [0, None, None]
    assert throttle.pass_on("y") == 0
    now = 61.0
    assert throttle.pass_on("x") == 2


def test_lines_of_one_unit_add_up() -> None:
    document = policy(acts="seal", per_minute=5)
    second = {"unit": "sensmail-portal.service", "acts": ["open"], "purposes": ["notice"]}
    document["applied"]["keys"]["callers"].append(second)
    rights = parse(json.dumps(document).encode())
    right = rights.may(Caller("sensmail-portal.service", 0, 1), "open")
    assert (right.acts, right.openings_per_minute) == ({"seal", "open"}, 5)
    assert right.purposes == {"otp_code", "own_data", "notice"}
    with pytest.raises(Refused, match=r"a process whose unit cannot be told \(uid 33, pid 7\): not listed"):
        rights.may(Caller("", 33, 7), "open")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("places = 1", "places = 1 must be absolute paths"),
        ('places = ["relative"]', "must be absolute paths"),
        ('places = ["/a", "/b"]\nroot = 3', "root must be a table"),
        ('places = ["/a", "/b"]\nplace = 3', "place is not known; known are lost, places"),
        ("places = [", "cannot be read"),
    ],
)
def test_settings_that_are_wrong_name_file_and_fix(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "keyd.toml").write_text(text)
    with pytest.raises(SettingsError, match=words) as caught:
        load(tmp_path / "keyd.toml")
    assert str(tmp_path / "keyd.toml") in str(caught.value)


def test_a_start_outside_of_systemd_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keyd.toml").write_text('places = ["/a", "/b"]\n[root]\nprovider = "file"\n')
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError, match="CREDENTIALS_DIRECTORY is not set"):
        load(tmp_path / "keyd.toml").roots()


def test_systemd_hears_that_the_service_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        systemd.notify("READY=1", "STATUS=x")
        assert channel.recv(100) == b"READY=1\nSTATUS=x"
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify("READY=1")
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert systemd.handed_socket() is None, "meant for another process"
