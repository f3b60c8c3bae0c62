"""What strangers, broken callers and a broken host may send or do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensmail.fields import row_key
from sensmail.host import http
from sensmail.keyd import app
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import BadRequest, Refused, TooMany, Unavailable
from sensmail.keyd.protocol import ACTS, MAX_BODY, MAX_ITEMS, Actor, Failure, Sealed, Sealing
from sensmail.store import SUPERUSER, Settings, connect
from sensmail.store.roles import OWNER

from .conftest import ACTOR, EMAIL, UNIT, Site, make_site, policy

Until = Callable[[Callable[[], object]], None]
CANARY = b"canary-value-7f3a9b"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, server: Settings) -> Iterator[Site]:
    """One service for all inputs that must not change it, with a database of its own."""
    own = replace(server, name="keyd_shared")
    with connect(SUPERUSER, settings=server, database="postgres") as admin:
        admin.execute(f"CREATE DATABASE {own.name} OWNER {OWNER} TEMPLATE {server.name}")
    made = make_site(tmp_path_factory.mktemp("keyd") / "k", own)
    made.start()
    yield made
    made.stop()


def raw(site: Site, data: bytes, *, shut: bool = False) -> tuple[int, bytes]:
    """Send bytes, read one answer; status 0 where the connection was closed without one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(site.socket))
        try:
            connection.sendall(data)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            answer = HTTPResponse(connection, method="POST")
            answer.begin()
            return answer.status, answer.read()
        except (ConnectionError, OSError):
            return 0, b""


def post(act: str, body: bytes, length: int | None = None) -> bytes:
    head = f"POST /v1/{act} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def is_alive(site: Site) -> bool:
    with site.client() as keys:
        return keys.status().epoch == 1


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)
COLUMNS = (
    st.sampled_from([bytes(15), bytes(16), b"s" * 16, bytes(17)]),
    st.sampled_from([0, 1, EMAIL, EMAIL, 2**32, -1]),
    st.binary(max_size=20),
    st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x01\x01\x00\x00\x00\x01" + rest),
)
GOOD = (st.binary(min_size=16, max_size=16), st.just(EMAIL), st.binary(min_size=1, max_size=20), COLUMNS[3])
PLAUSIBLE = st.tuples(*(st.lists(each, max_size=4) for each in COLUMNS)) | st.lists(st.tuples(*GOOD), max_size=4).map(
    lambda items: [[item[number] for item in items] for number in range(4)]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(ACTS.keys() - {"roll", "destroy", "destroy_retired", "retire"})),
    st.binary(max_size=200)
    | ANYTHING.map(msgspec.msgpack.encode)
    | PLAUSIBLE.map(lambda values: msgspec.msgpack.encode(["own_data", ["a", "b", "c"], values]))
    | PLAUSIBLE.map(lambda values: msgspec.msgpack.encode(["job", values]))
    | PLAUSIBLE.map(lambda values: msgspec.msgpack.encode([values])),
)
def test_no_body_crashes_it(shared: Site, act: str, body: bytes) -> None:
    status, answer = raw(shared, post(act, body))
    assert status in {200, 400, 403, 409, 429, 503}, answer
    if status != 200:
        assert msgspec.msgpack.decode(answer, type=Failure).text
    assert CANARY not in answer


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120) | st.text(alphabet="POSTGET/v1open HTTP/1.1\r\n:0123", max_size=80).map(str.encode))
def test_no_bytes_crash_it(shared: Site, data: bytes) -> None:
    status, _ = raw(shared, data, shut=True)
    assert status < 500
    assert is_alive(shared)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n\x90",
        b"POST /v1/../etc HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        post("status", b""),
        post("status", b"\x91\x01"),
        b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/status HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_message_is_a_bad_request(shared: Site, data: bytes) -> None:
    assert raw(shared, data)[0] == 400
    assert is_alive(shared)


def test_a_body_beyond_the_limit_is_refused(shared: Site) -> None:
    assert raw(shared, post("seal", b"x" * 1000, MAX_BODY + 1), shut=True)[0] in {0, 400}
    with shared.client() as keys, pytest.raises((BadRequest, Unavailable)):
        keys.seal([Sealing(uuid4(), EMAIL, b"r", bytes(2**24))] * 5)
    with shared.client() as keys, pytest.raises(BadRequest, match=f"length <= {MAX_ITEMS}"):
        keys.adopt([uuid4()] * (MAX_ITEMS + 1))
    assert is_alive(shared)


def test_a_truncated_body_is_no_message(shared: Site) -> None:
    assert raw(shared, post("seal", b"\x91\x90", 100), shut=True)[0] in {0, 400}
    assert is_alive(shared)


@pytest.mark.parametrize("account", ["a\0b", "a\nb", "\x1b[2J", "x" * 201])
def test_an_actor_that_no_record_can_hold_is_refused(shared: Site, account: str) -> None:
    with shared.client() as keys:
        [subject] = keys.new_subjects()
        with pytest.raises(BadRequest):
            keys.open(Sealed(subject, EMAIL, b"r", b"e"), "own_data", Actor(account))


def test_a_slow_client_holds_up_nobody(shared: Site) -> None:
    slow = []
    for data in (b"", b"POST /v1/op", post("open", b"\x93", 500)):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(shared.socket))
        connection.sendall(data)
        slow.append(connection)
    assert is_alive(shared)
    for each in slow:
        each.close()


def test_silence_and_trickles_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Settings) -> None:
    site = make_site(tmp_path / "k", database)
    site.environment = {"TEST_BODY_S": "0.5", "TEST_IDLE_S": "0.5"}
    site.start()
    try:
        for data in (b"", b"POST /v1/op", post("status", b"\x90", 5)):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(site.socket))
                connection.sendall(data)
                while connection.recv(1000):  # until it is closed
                    pass
        with site.client() as keys:
            keys.status()
            threading.Event().wait(1)
            assert keys.status(), "the client connects again by itself"
    finally:
        site.stop()


@pytest.fixture
def two_units(site: Site) -> Site:
    """A service that takes this process for one unit of the policy, and every other process for another."""
    site.stop()
    document = policy()
    callers = document["applied"]["keys"]["callers"]
    callers.append(callers[0] | {"unit": "other.service"})
    site.policy(document)
    site.environment = {"TEST_OTHER_UNIT": "other.service"}
    site.start()
    return site


def other_unit_is_served(site: Site) -> bool:
    code = "import sys; from sensmail.keyd.client import KeyService; KeyService(sys.argv[1]).seal([])"
    return subprocess.run([sys.executable, "-c", code, str(site.socket)], timeout=30, check=False).returncode == 0


def test_no_unit_takes_the_connections_of_the_others(two_units: Site) -> None:
    held = []
    try:
        for _ in range(app.MAX_OF_A_UNIT):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(two_units.socket))
            held.append(connection)
        for _ in range(3):
            with pytest.raises(TooMany, match=f"{UNIT}: more than {app.MAX_OF_A_UNIT} connections at a time; close"):
                two_units.client().status()
        assert other_unit_is_served(two_units)
    finally:
        for each in held:
            each.close()
    assert is_alive(two_units)
    assert two_units.log.count("connections at a time") == 1, "said once a minute"


def test_a_whole_burst_takes_so_many_connections_and_no_more() -> None:
    async def burst() -> list[object]:
        server = app.App(None, None, None).server()  # type: ignore[arg-type]
        return [server() for _ in range(app.MAX_CONNECTIONS + 1)]

    *taken, beyond = asyncio.run(burst())
    assert isinstance(beyond, http.Full)
    assert not any(isinstance(each, http.Full) for each in taken)


def test_no_unit_takes_the_memory_of_the_others(two_units: Site, until: Until) -> None:
    """One call of the largest size is under way; what the same unit sends beside it waits, others do not."""
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(two_units.socket))
        slow.sendall(post("seal", b"\x91", MAX_BODY))

        def crowded() -> bool:
            try:
                two_units.client().status()
            except TooMany as error:
                return "bytes of messages under way" in str(error) and "wait for an answer" in str(error)
            return False

        until(crowded)
        assert other_unit_is_served(two_units)
    until(lambda: not crowded())
    assert is_alive(two_units)


def test_a_body_of_unknown_length_is_no_message(shared: Site) -> None:
    head = b"POST /v1/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(shared, head + b"1\r\n\x90\r\n0\r\n\r\n")[0] == 400


def test_new_subjects_are_counted_and_recorded(site: Site, keys: KeyService) -> None:
    """One record a call, with the number alone; who has keys already costs nothing."""
    site.policy(policy(new_per_minute=5))
    first = keys.new_subjects(3)
    with pytest.raises(TooMany, match="3 new subjects are beyond the 5 a minute of the policy; try again in"):
        keys.new_subjects(3)
    assert keys.adopt([*first, *first, uuid4()]) == 1
    assert keys.adopt(first) == 0
    with pytest.raises(TooMany, match="raise new_subjects_per_minute in the policy"):
        keys.adopt([uuid4() for _ in range(6)])
    assert keys.status().counts["subjects"] == 4
    rows = site.rows("act, outcome, subject_id, detail->>'count'", but="")
    assert rows[0] == ("keys.subjects", "done", None, "3")
    assert ("keys.adopt", "done", None, "1") in rows
    assert [row[:2] for row in rows].count(("keys.adopt", "done")) == 1
    assert {row[0] for row in rows if row[1] == "refused"} == {"keys.subjects", "keys.adopt"}


def test_an_unlisted_unit_gets_nothing_and_that_is_recorded_once_a_minute(site: Site, keys: KeyService) -> None:
    site.policy(policy(unit="sensmail-other.service"))
    for act in (keys.new_subjects, keys.status, lambda: keys.seal([])):
        with pytest.raises(Refused, match=r"sensmail-portal\.service: not listed in art4\.encryption\.keys\.callers"):
            act()
    for _ in range(5):
        with pytest.raises(Refused):
            keys.status()
    assert sorted(site.rows("act, outcome, unit")) == [
        (f"keys.{act}", "refused", UNIT) for act in ("seal", "status", "subjects")
    ]


def test_a_process_without_a_unit_gets_nothing(tmp_path: Path, database: Settings) -> None:
    """The identity is the real one here: the tests run in no unit."""
    site = make_site(tmp_path / "k", database)
    site.unit = None
    site.start()
    with site.client() as keys, pytest.raises(Refused, match=r"not listed|cannot be told"):
        keys.status()
    site.stop()


def test_an_act_that_is_not_listed_is_refused(site: Site, keys: KeyService) -> None:
    site.policy(policy(acts="seal"))
    with pytest.raises(Refused, match=r"open is not among its acts in the policy \(seal\)"):
        keys.open_many([], "own_data", ACTOR)


def test_more_than_the_policy_allows_waits_and_is_recorded_once_a_minute(site: Site, keys: KeyService) -> None:
    site.policy(policy(per_minute=5))
    subjects = keys.new_subjects(6)
    made = keys.seal([Sealing(each, EMAIL, row_key(1), b"x") for each in subjects])
    items = [Sealed(each, EMAIL, row_key(1), one) for each, one in zip(subjects, made, strict=True)]
    with pytest.raises(TooMany, match="6 openings are beyond the 5 a minute"):
        keys.open_many(items, "own_data", ACTOR)
    assert len(keys.open_many(items[:5], "own_data", ACTOR)) == 5
    for _ in range(3):
        with pytest.raises(TooMany, match=r"try again in 1[0-2] s"):
            keys.open(items[0], "own_data", ACTOR)
    refused = [row for row in site.rows("outcome, detail->>'code'") if row[0] == "refused"]
    assert refused == [("refused", "too_many")]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"applied": {"keys": {"callers": 1}}}'])
def test_a_broken_policy_allows_nothing_until_it_is_whole_again(site: Site, keys: KeyService, text: str) -> None:
    assert keys.new_subjects()
    site.policy(text)
    with pytest.raises(Unavailable, match=r"policy\.json: .*site\.yml"):
        keys.new_subjects()
    site.policy(policy())
    assert keys.new_subjects()


def test_a_second_service_on_the_same_ring_is_refused_and_leaves_the_first_alone(site: Site, keys: KeyService) -> None:
    second = subprocess.run(
        site.command(), env={"CREDENTIALS_DIRECTORY": str(site.home / "credentials")}, capture_output=True, timeout=30
    )
    assert second.returncode == 1
    assert second.stderr.startswith(b"Locked: ")
    assert b"another process holds the key file" in second.stderr
    assert keys.new_subjects()


def test_a_stale_socket_is_replaced(site: Site) -> None:
    site.stop(signal.SIGKILL)
    assert site.socket.exists()
    with pytest.raises(Unavailable, match=r"Connection refused; is sensmail-keyd\.service running"):
        site.client().status()
    site.start()
    assert site.client().status()
    assert oct(site.socket.stat().st_mode)[-3:] == "660"
    site.stop()
    assert not site.socket.exists()


def test_a_missing_root_key_stops_the_start_with_one_line(site: Site) -> None:
    site.stop()
    (site.home / "credentials" / "sensmail-root_1").unlink()
    site.start(wait=False)
    assert site.process is not None
    assert site.process.wait(30) == 1
    assert len(site.log.splitlines()) == 1
    assert "credentials" in site.log
    site.process = None


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_place_makes_nothing_and_loses_nothing(site: Site, keys: KeyService) -> None:
    before = keys.new_subjects(3)
    site.stop()
    place = site.places[1]
    kept = {each.name: each.read_bytes() for each in place.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", place], check=True)
    try:
        for name, content in kept.items():
            (place / name).write_bytes(content)
        site.start()
        filler = place / "filler"
        fill(filler)
        with pytest.raises(Unavailable, match=str(place)):
            keys.new_subjects(200)
        with pytest.raises(Unavailable, match=str(place)):
            keys.roll("kim", "why")
        assert keys.status().epoch == 1
        filler.unlink()
        assert keys.new_subjects(200)
        assert keys.roll("kim", "why") == 2
        assert keys.census([(each, 1) for each in before])["active"] == 3
        site.stop()
    finally:
        subprocess.run(["umount", place], check=True)
        if site.process is not None:
            site.stop()


def test_no_key_and_no_value_leaves_the_process(site: Site, keys: KeyService) -> None:
    [subject] = keys.new_subjects()
    item = Sealed(subject, EMAIL, row_key(1), keys.seal([Sealing(subject, EMAIL, row_key(1), CANARY)])[0])
    assert keys.open(item, "own_data", ACTOR) == CANARY
    assert raw(site, post("seal", msgspec.msgpack.encode([[[CANARY], [CANARY], [CANARY], [CANARY]]])))[0] == 400
    for junk in (CANARY, b"POST " + CANARY, post("seal", b"", 0) + CANARY + b" x HTTP/1.1"):
        raw(site, junk + b"\r\n\r\n")
    assert "Error handling request" in site.log
    root = (site.home / "credentials" / "sensmail-root_1").read_bytes()
    assert site.process is not None
    proc = Path("/proc") / str(site.process.pid)
    seen = [site.log.encode(), (proc / "cmdline").read_bytes(), (proc / "environ").read_bytes()]
    seen += [repr(row).encode() for row in site.rows("*")]
    for each in seen:
        for secret in (CANARY, root, root.hex().encode()):
            assert secret not in each
    assert {line.split()[1] for line in (proc / "limits").read_text().splitlines() if "core file" in line} == {"core"}
    assert "Max core file size        0                    0" in (proc / "limits").read_text()
    assert "VmLck:\t       0 kB" not in (proc / "status").read_text()
    assert (proc / "mem").stat().st_uid == 0, "not dumpable: its files belong to root"
    assert os.stat(proc / "environ").st_mode & 0o777 == 0o400


def test_a_socket_that_systemd_hands_over_is_served_and_kept(tmp_path: Path, database: Settings) -> None:
    site = make_site(tmp_path / "k", database)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(site.socket))
    listening.listen()
    program = (
        "import os,sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')"
    )
    start = [sys.executable, "-c", f"{program}; os.execv(sys.argv[2], sys.argv[2:])", str(listening.fileno())]
    environment = {"CREDENTIALS_DIRECTORY": str(site.home / "credentials")}
    process = subprocess.Popen([*start, *site.command()], env=environment, pass_fds=[listening.fileno()])
    try:
        with site.client() as keys:
            assert keys.status().epoch == 1, "a caller that comes before the service is ready waits"
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert site.socket.exists()
    listening.close()
