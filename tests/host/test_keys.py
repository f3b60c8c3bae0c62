"""Keys on the host: who may ask the key service, what it leaves nowhere, and what it survives."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

PYTHON = "/opt/sensmail/current/bin/python"
SERVICE, SETUP, ROTATE = "sensmail-keyd.service", "sensmail-keyd-setup.service", "sensmail-rotate.service"
MARKER = "/etc/sensmail/keys/initialised"

# One sealed name, and how to open it again; what a caller does is appended.
ASK = """
import json, sys, uuid
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.protocol import Actor, Sealed, Sealing
keys = KeyService()
row, field, me = b"row", 1, Actor("kim@sensmail.test", "198.18.0.9", "test")
def sealed(value=b"value"):
    subject = keys.new_subjects()[0]
    return Sealed(subject, field, row, keys.seal([Sealing(subject, field, row, value)])[0])
def stored(value):
    return json.dumps([str(value.subject), value.envelope.hex()])
def restored(text):
    subject, envelope = json.loads(text)
    return Sealed(uuid.UUID(subject), field, row, bytes.fromhex(envelope))
def tried(act):
    try:
        return act()
    except KeyServiceError as error:
        return type(error).__name__
"""

Ask = Callable[..., Any]

_COLUMNS = "act, account, purpose, outcome, unit, subject_id, opening"
#: Wherever a record stands: it moves from the inbox into its ledger within a second.
RECORDS = (
    f"(SELECT at AS received, {_COLUMNS} FROM records.inbox UNION ALL SELECT received, {_COLUMNS} FROM records.access "
    f"UNION ALL SELECT received, {_COLUMNS} FROM records.governance) AS r"
)


@pytest.fixture
def ask(host: Host) -> Ask:
    """Run a few lines as a caller of the key service; `answer` is what they leave, as JSON."""

    def run(lines: str, prefix: str = "") -> Any:
        code = ASK + textwrap.dedent(lines) + "\nprint(json.dumps(answer))"
        return json.loads(host.check_output(prefix + PYTHON + " -I -c %s", code).splitlines()[-1])

    return run


def as_unit(name: str, user: str = "nobody", group: str = "sensmail-keys") -> str:
    """Words before a command that make it a unit of this name."""
    properties = f"-p User={user} -p SupplementaryGroups={group}" if group else f"-p User={user}"
    return f"systemd-run --quiet --pipe --wait --collect --unit={name} {properties} "


def query(host: Host, statement: str) -> str:
    """What a superuser of the database sees."""
    return str(host.check_output("runuser -u postgres -- psql -X -At -d sensmail -c %s", statement))


def shown(host: Host, unit: str, *properties: str) -> dict[str, str]:
    text = host.check_output(f"systemctl show --property={','.join(properties)} {unit}")
    return dict(line.split("=", 1) for line in text.splitlines())


def pid(host: Host) -> int:
    return int(shown(host, SERVICE, "MainPID")["MainPID"])


def places(host: Host) -> list[str]:
    text = host.file("/etc/sensmail/keyd.toml").content_string
    found = re.search(r"^places = (\[.*\])$", text, re.MULTILINE)
    assert found
    return list(json.loads(found[1]))


# what there is


def test_it_runs_and_answers(host: Host, ask: Ask) -> None:
    assert host.service(SERVICE).is_running
    assert host.service(SERVICE).is_enabled
    status = ask("s = keys.status(); answer = [s.places, s.destroying, s.memory_locked, s.roots[-1].provider]")
    assert status == [dict.fromkeys(places(host), "in step"), False, True, "file"]


def test_every_place_is_its_own_and_closed(host: Host) -> None:
    assert len(places(host)) == len(set(places(host))) >= 2
    for place in places(host):
        directory = host.file(place)
        assert (directory.user, directory.group, directory.mode) == ("sensmail-keyd", "sensmail-keyd", 0o700)
        assert host.check_output("find %s ! -user sensmail-keyd -o -type f -perm /077", place) == ""
        assert host.file(f"{place}/snapshot").exists


def test_units_are_fenced_in(host: Host) -> None:
    units = (SETUP, "sensmail-keyd-recover.service", "sensmail-keyd-root@1.service", "sensmail-keyd-provider.service")
    for unit in (SERVICE, ROTATE, *units):
        report = host.run(f"systemd-analyze security --no-pager {unit}").stdout
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
        assert exposure, unit
        assert float(exposure[1]) <= 2.0, unit


def test_keys_stay_in_memory(host: Host) -> None:
    number = pid(host)
    limits = host.file(f"/proc/{number}/limits").content_string
    assert re.search(r"Max core file size +0 +0 ", limits)
    status = host.file(f"/proc/{number}/status").content_string
    locked = re.search(r"VmLck:\s+(\d+) kB", status)
    assert locked
    assert int(locked[1]) > 10_000, "all of its memory is locked"
    # Files of a process that is not dumpable belong to root, and nobody of its own account traces it.
    assert host.check_output(f"stat -c %U /proc/{number}/mem") == "root"
    assert shown(host, SERVICE, "MemorySwapMax") == {"MemorySwapMax": "0"}


def test_it_has_no_network_but_its_socket(host: Host) -> None:
    assert host.check_output("readlink /proc/1/ns/net") != host.check_output(f"readlink /proc/{pid(host)}/ns/net")
    links = host.check_output(f"nsenter --net=/proc/{pid(host)}/ns/net ip -brief link")
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]


# what it leaves nowhere


def test_the_root_key_is_nowhere_in_clear(host: Host) -> None:
    """Made on the host, encrypted, known to systemd alone: looked for in files, arguments and environments."""
    number = host.check_output("ls /etc/sensmail/keys/root").split()[-1]
    credential = host.file(f"/etc/sensmail/keys/root/{number}")
    assert (credential.user, credential.mode) == ("root", 0o600)
    code = f"""
    import pathlib, subprocess
    path = "/etc/sensmail/keys/root/{number}"
    def decrypt(name):
        return subprocess.run(["systemd-creds", "decrypt", "--name=" + name, path, "-"], capture_output=True)
    assert decrypt("sensmail-root_x").returncode, "the credential opens under its own name only"
    key = decrypt("sensmail-root_{number}").stdout
    assert len(key) == 32
    forms = [key, key.hex().encode(), key.hex().upper().encode(), __import__("base64").b64encode(key)]
    seen, found = 0, []
    paths = [each / name for each in pathlib.Path("/proc").glob("[0-9]*") for name in ("cmdline", "environ")]
    for tree in ("/etc", "/var", "/root", "/home", "/tmp", "/opt/sensmail/current", "/run/log", "/run/sensmail-keyd"):
        paths += [each for each in pathlib.Path(tree).rglob("*") if each.is_file() and not each.is_symlink()]
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError:
            continue
        seen += 1
        found += [str(path)] * any(form in data for form in forms)
    print(seen, *found)
    """
    seen, *found = host.check_output(PYTHON + " -I -c %s", textwrap.dedent(code)).split()
    assert int(seen) > 500
    assert found == []


def test_a_crash_leaves_no_core_and_callers_wait(host: Host, ask: Ask) -> None:
    """A caller that asks while the service starts again gets its answer, not a refusal."""
    before, value = pid(host), ask("answer = stored(sealed(b'kept'))")
    host.check_output(f"touch /run/before-crash && kill -SEGV {before}")
    opened = ask(f"answer = keys.open(restored({value!r}), 'own_data', me).decode()")
    assert opened == "kept"
    assert pid(host) not in (0, before)
    look = "find / -xdev -newer /run/before-crash -name 'core*' -type f -size +100k 2>/dev/null || true"
    assert host.check_output(look) == ""
    host.run("systemctl reset-failed sensmail-keyd.service")


# who may ask


def test_the_socket_is_for_its_group(host: Host) -> None:
    socket = host.file("/run/sensmail-keyd/socket")
    assert (socket.user, socket.group, socket.mode) == ("root", "sensmail-keys", 0o660)
    refused = host.run(as_unit("stranger", group="") + PYTHON + " -I -c %s", ASK + "keys.status()")
    assert refused.rc != 0
    assert "Permission denied" in refused.stderr


def test_a_unit_that_the_policy_does_not_list_is_refused_and_recorded(host: Host, ask: Ask) -> None:
    before = query(host, "SELECT clock_timestamp()")
    prefix = as_unit("stranger-with-group")
    for act in ("keys.status()", "sealed()", "keys.open(Sealed(uuid.uuid4(), 1, row, b'x'), 'own_data', me)"):
        assert ask(f"answer = tried(lambda: {act})", prefix) == "Refused", act
    where = f"received > '{before}' AND outcome = 'refused' AND unit = 'stranger-with-group.service'"
    assert int(query(host, f"SELECT count(*) FROM {RECORDS} WHERE {where}")) >= 1


def test_what_is_opened_is_recorded_first(host: Host, ask: Ask) -> None:
    answer = ask("""
        value = sealed(b"gil-dong")
        answer = [str(value.subject), keys.open(value, "own_data", me).decode()]
    """)
    assert answer[1] == "gil-dong"
    row = query(host, f"SELECT act, account, purpose, outcome, unit, opening > 0 FROM {RECORDS} "
                      f"WHERE subject_id = '{answer[0]}' AND opening > 0")  # fmt: skip
    assert row == "open|kim@sensmail.test|own_data|done|session|t"


def test_a_purpose_beside_the_policy_opens_nothing(host: Host, ask: Ask) -> None:
    assert ask("answer = tried(lambda: keys.open(sealed(), 'otp_code', me))") == "Refused"


def test_without_the_database_nothing_opens_and_it_comes_back(host: Host, ask: Ask) -> None:
    value = ask("answer = stored(sealed(b'kept'))")
    host.check_output("systemctl stop postgresql@17-main.service")
    try:
        opened = ask(f"answer = tried(lambda: keys.open(restored({value!r}), 'own_data', me).decode())")
    finally:
        host.check_output("systemctl start postgresql@17-main.service")
    assert opened == "Unavailable"
    again = f"""
        import time
        for _ in range(50):
            answer = tried(lambda: keys.open(restored({value!r}), 'own_data', me).decode())
            if answer != "Unavailable":
                break
            time.sleep(0.2)
    """
    assert ask(again) == "kept"


# what it survives


def test_the_setup_never_runs_again(host: Host) -> None:
    before = host.check_output(f"sha256sum {' '.join(each + '/snapshot' for each in places(host))} {MARKER}")
    host.run(f"systemctl start {SETUP}")
    assert shown(host, SETUP, "ConditionResult") == {"ConditionResult": "no"}
    assert host.check_output(f"sha256sum {' '.join(each + '/snapshot' for each in places(host))} {MARKER}") == before


@pytest.fixture
def stopped(host: Host) -> Iterator[None]:
    """The service is down, and up again afterwards with what it had."""
    host.check_output(f"systemctl stop sensmail-keyd.socket {SERVICE}")
    yield
    host.run(f"systemctl reset-failed {SERVICE}")
    host.check_output(f"systemctl start sensmail-keyd.socket {SERVICE}")


def ensure(host: Host) -> tuple[int, str]:
    """What module key_file does on this host."""
    listed = ", ".join(f"Path({each!r})" for each in places(host))
    code = f"from pathlib import Path; from sensmail.custody.setup import *; print(ensure(Layout(({listed},))).steps)"
    done = host.run(PYTHON + " -I -c %s", code)
    return done.rc, (done.stdout + done.stderr).strip().splitlines()[-1]


def test_a_lost_key_file_is_named_and_never_made_anew(host: Host, stopped: None) -> None:
    first = places(host)[0]
    host.check_output("mv %s %s", f"{first}/snapshot", f"{first}.aside")
    try:
        code, words = ensure(host)
        assert code == 1
        assert f"{first}: holds no key file" in words
        host.run(f"systemctl start {SERVICE}")
        assert shown(host, SERVICE, "SubState")["SubState"] != "running"
        assert host.check_output("ls %s", first).split().count("snapshot") == 0
        said = host.check_output(f"journalctl -u {SERVICE} --since=-1min --no-pager -o cat")
        assert f"{first}: holds no key file" in said
    finally:
        host.run(f"systemctl stop {SERVICE}")
        host.check_output("mv %s %s", f"{first}.aside", f"{first}/snapshot")
    assert ensure(host) == (0, "[]")


def test_without_the_marker_it_does_not_start(host: Host, stopped: None) -> None:
    host.check_output(f"mv {MARKER} {MARKER}.aside")
    try:
        host.run(f"systemctl start {SERVICE}")
        assert shown(host, SERVICE, "AssertResult", "SubState") == {"AssertResult": "no", "SubState": "dead"}
    finally:
        host.check_output(f"mv {MARKER}.aside {MARKER}")


TOKEN = """
places = ["{home}/one", "{home}/two"]
[root]
provider = "pkcs11"
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "test"
label = "root"
destruction = "software"
pin_credential = "sensmail-secret_pkcs11-pin"
"""


@pytest.fixture
def softhsm(host: Host) -> Iterator[str]:
    """A directory with settings that name a software token, which holds no key yet."""
    had = host.package("softhsm2").is_installed
    host.check_output("apt-get -qq install -y --no-install-recommends softhsm2")
    home = "/var/lib/sensmail-keyd-test"
    host.check_output(f"rm -rf {home} && install -d -o sensmail-keyd {home} {home}/one {home}/two {home}/tokens")
    host.check_output(f"printf %s %s > {home}/keyd.toml", "%s", TOKEN.format(home=home))
    host.check_output(f"echo '[]' > {home}/none")
    host.check_output(f"echo 'directories.tokendir = {home}/tokens' > {home}/softhsm2.conf")
    start = f"runuser -u sensmail-keyd -- env SOFTHSM2_CONF={home}/softhsm2.conf softhsm2-util"
    host.check_output(f"{start} --init-token --free --label test --pin 123456 --so-pin 654321")
    host.check_output(f"printf 123456 | systemd-creds encrypt --name=sensmail-secret_pkcs11-pin - {home}/pin")
    yield home
    host.check_output(f"rm -r {home}")
    if not had:
        host.check_output("apt-get -qq purge -y --autoremove softhsm2")


def test_a_token_makes_the_root_key_and_opens_the_key_file(host: Host, softhsm: str) -> None:
    """Provider pkcs11 with real calls, as the unit of the role makes them."""
    unit = host.file(f"/etc/systemd/system/{SETUP}").content_string
    unit = re.sub(r"^(Condition|LoadCredential|ReadWritePaths).*\n", "", unit, flags=re.MULTILINE)
    unit += f"""ReadWritePaths={softhsm}
LoadCredentialEncrypted=sensmail-secret_pkcs11-pin:{softhsm}/pin
BindReadOnlyPaths={softhsm}/keyd.toml:/etc/sensmail/keyd.toml {softhsm}/none:/etc/sensmail/keyd-roots.json
Environment=SOFTHSM2_CONF={softhsm}/softhsm2.conf
"""
    name = "sensmail-token-test.service"
    host.check_output(f"printf %s %s > /run/systemd/system/{name} && systemctl daemon-reload", "%s", unit)
    try:
        for done in ("made", "found"):
            host.check_output(f"systemctl start {name}")
            assert re.search(rf"^{done} (a|the) key file in {softhsm}/one, ", last_words(host, name), re.MULTILINE)
        host.check_output(f"rm -r {softhsm}/tokens/*")
        assert host.run(f"systemctl start {name}").rc != 0
        assert "the token is not there" in last_words(host, name)
    finally:
        host.run(f"rm /run/systemd/system/{name}; systemctl daemon-reload; systemctl reset-failed {name}")


def last_words(host: Host, unit: str) -> str:
    """What the program of a unit wrote last."""
    host.check_output("journalctl --sync")
    return str(host.check_output(f"journalctl --no-pager --output=cat --lines=10 _SYSTEMD_UNIT={unit}"))


def test_the_look_at_the_age_of_keys_is_armed_and_works(host: Host) -> None:
    timer = host.service("sensmail-rotate.timer")
    assert timer.is_enabled
    assert timer.is_running
    host.check_output(f"systemctl start {ROTATE}")
    assert shown(host, ROTATE, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
