"""The parts that need no process: limits, rights, settings, words to systemd."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.host import systemd
from sensmail.keyd.caller import Caller
from sensmail.keyd.errors import Refused, TooMany
from sensmail.keyd.limits import Limits, Throttle
from sensmail.keyd.policy import Policy
from sensmail.keyd.protocol import Values
from sensmail.keyd.rights import rights_of
from sensmail.keyd.settings import load
from sensmail.keyd.vault import Vault
from sensmail.keys import Keyring
from sensmail.keys.errors import SettingsError

from .conftest import policy


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 70)), max_size=40))
def test_no_minute_has_more_than_two_buckets(asked: list[tuple[float, int]]) -> None:
    """A full bucket at the start and what drops in during the minute."""
    now, granted = 0.0, []
    limits = Limits("openings", "openings_per_minute", lambda: now)
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
    subjects = [each.subject for each in ring.new_subject_keys(2)]
    values = Values(subjects, [5, 5], [b"row", b"row"], [b"value", b"value"])
    sealed = Values(subjects, [5, 5], [b"row", b"row"], vault.seal(values))
    found = vault.open(sealed, {subjects[0]: "closed"})  # reopened meanwhile: its key would open
    assert [(each.value, each.refusal) for each in found] == [(None, "closed"), (b"value", "")]


def test_units_have_buckets_of_their_own_and_no_rate_means_none() -> None:
    limits = Limits("openings", "openings_per_minute", lambda: 0.0)
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
    rights = rights_of(msgspec.convert(document, Policy))
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
