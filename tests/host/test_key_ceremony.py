"""What people do with the keys of this host: officers, drill, new root key, lost place; and the register of it."""

from __future__ import annotations

import csv
import io
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from testinfra.host import Host

from sensmail.keys import piece
from sensmail.keys.officer import fingerprint

FIRST, SECOND = "/var/lib/sensmail-keyd/ring", "/var/lib/sensmail-keyd-second/ring"
ROOTS, UNDER_WAY = "/etc/sensmail/keys/root", "/etc/sensmail/keys/root-change.json"
APPROVED = "--reason 'host test' --approver privacy_officer"
CHANGE = f"sensmail keys rotate --now root {APPROVED} --approved-by Kim --reference 1"
TOKENS = "/var/lib/sensmail-keyd-softhsm"
CONFIGURATION = "/etc/sensmail/keyd.toml"
UNITS = ("sensmail-keyd.service", "sensmail-keyd-provider.service")
Trio = list[X25519PrivateKey]


@pytest.fixture(scope="module")
def work(host: Host) -> Iterator[str]:
    """A directory on the host, in memory, gone afterwards."""
    made = host.check_output("mktemp -d /run/ceremony.XXXXXX")
    yield made
    host.check_output(f"rm -r {made}")


@pytest.fixture(scope="module")
def officers(host: Host, work: str) -> Trio:
    """Three officers, set in charge; their private keys stay here."""
    made = [X25519PrivateKey.generate() for _ in "abc"]
    for name, key in zip("abc", made, strict=True):
        put(host, f"{work}/{name}.pub", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    said = host.check_output(f"sensmail keys officers set {work}/a.pub {work}/b.pub {work}/c.pub --yes {APPROVED}")
    assert all(fingerprint(key.public_key().public_bytes_raw()) in said for key in made)
    return made


def put(host: Host, path: str, data: bytes) -> None:
    host.check_output(f"echo %s | base64 -d > {path}", b64encode(data).decode())


def status(host: Host) -> dict[str, str]:
    """The last of each kind of line of `sensmail keys status`."""
    lines = host.check_output("sensmail keys status").splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def register(host: Host, kind: str) -> list[dict[str, str]]:
    """The rows of one kind, of the key file in use."""
    text = host.check_output("sensmail keys register --csv").lstrip("\ufeff")
    ring = status(host)["key file"].partition(",")[0]
    rows = csv.DictReader(io.StringIO(text))
    return [row for row in rows if row["종류"].endswith(f"({kind})") and row["키 파일"] == ring]


def test_the_register_tells_what_the_service_says(host: Host) -> None:
    now = status(host)
    (root,) = (row for row in register(host, "root") if not row["교체일"])
    (epoch,) = (row for row in register(host, "epoch") if not row["교체일"])
    assert now["root"].startswith(root["키 식별자"])
    assert f"epoch {epoch['키 식별자']}," in now["key file"]


def test_every_opening_has_its_record(host: Host) -> None:
    assert host.check_output("sensmail keys gaps").endswith(", 0 without a record")


def test_the_timers_command_finds_nothing_due(host: Host) -> None:
    host.check_output("systemctl start sensmail-rotate.service")  # the key service knows the caller by its unit
    said = host.check_output("journalctl --unit=sensmail-rotate.service --output=cat --lines=20 --no-pager")
    assert "roll: not due before" in said
    assert "reseal: not due before" in said


def test_nothing_happens_without_the_approval_that_the_policy_asks(host: Host, work: str, officers: Trio) -> None:
    before = status(host)
    for command in ("rotate --now root", f"officers set {work}/a.pub {work}/b.pub {work}/c.pub --yes"):
        for approver in ("", "--approver privacy_handler"):
            done = host.run(f"sensmail keys {command} --reason x {approver}")
            assert (done.rc, "the policy asks for the approval of privacy_officer" in done.stderr) == (1, True), (
                done.stderr
            )
    assert status(host) == before


def test_two_officers_open_a_copy_until_the_next_roll(host: Host, work: str, officers: Trio) -> None:
    copy, epoch = f"{work}/copy", int(status(host)["key file"].split("epoch ")[1].split(",")[0])
    host.check_output(f"cp -r {SECOND} {copy}")
    slot = b64decode(host.check_output(f"base64 -w0 {copy}/slot.{epoch % 2}"))
    for name, key in zip(("one", "two"), officers[1:], strict=True):
        put(host, f"{work}/{name}", piece(key, slot).encode())
    drill = f"sensmail keys drill {copy} {work}/one {work}/two"
    assert f"epoch {epoch}" in host.check_output(drill)
    assert host.run(f"sensmail keys drill {copy} {work}/one {work}/one").rc == 1
    host.check_output("sensmail keys roll --reason 'after the drill'")
    done = host.run(drill)
    assert (done.rc, "escaped a roll" in done.stderr) == (1, True), done.stderr
    records = host.check_output(
        "runuser -u postgres -- psql -d sensmail -Atc "
        '"SELECT outcome FROM (SELECT at AS received, act, outcome, detail::json FROM records.inbox UNION ALL SELECT '
        "received, act, outcome, detail FROM records.governance) AS r "
        "WHERE act = 'keys.drill' AND detail->>'phase' = 'end' ORDER BY received\""
    )
    assert records.split()[-3:] == ["done", "failed", "failed"]


def test_a_new_root_key(host: Host) -> None:
    before, old = status(host)["root"], host.check_output(f"ls {ROOTS}")
    said = host.check_output(CHANGE)
    assert said.splitlines()[-2].startswith("done")
    assert status(host)["root"] != before
    assert host.check_output(f"ls -A {ROOTS}") == str(int(old) + 1)
    (row,) = (row for row in register(host, "root") if row["키 식별자"] == before.partition(",")[0])
    assert (row["파기 등급"], row["승인자"], bool(row["파기일"])) == ("덮어쓰기 (software)", "privacy_officer", True)


@pytest.mark.parametrize("after", ["ready", "destroyed"])
def test_a_root_change_that_was_killed_goes_on(host: Host, work: str, after: str) -> None:
    """Killed as soon as it says this; the next call completes it, with the approval of the first."""
    before = status(host)["root"]
    lines = f"{work}/lines"
    host.check_output(
        f"{CHANGE} > {lines} & p=$!; "
        f"for i in $(seq 600); do grep -q ^{after} {lines} && kill -9 $p && break; sleep 0.02; done; wait $p || true"
    )
    assert "done" not in host.check_output(f"cat {lines}")
    assert host.file(UNDER_WAY).exists
    said = host.check_output("sensmail keys rotate --now root --reason again")
    assert said.startswith("taken up again: begun by")
    assert "approved by privacy_officer: host test" in said
    assert not host.file(UNDER_WAY).exists
    assert status(host)["root"] != before
    assert len(host.check_output(f"ls -A {ROOTS}").split()) == 1


@pytest.fixture
def softhsm(host: Host) -> Iterator[str]:
    """A software token that both units reach, and settings that want a root key in it; `file` is wanted again after."""
    had = host.package("softhsm2").is_installed
    host.check_output("apt-get -qq install -y --no-install-recommends softhsm2")
    host.check_output(f"rm -rf {TOKENS}; install -d -m 700 -o sensmail-keyd {TOKENS} {TOKENS}/tokens")
    host.check_output(f"echo 'directories.tokendir = {TOKENS}/tokens' > {TOKENS}/softhsm2.conf")
    run = f"runuser -u sensmail-keyd -- env SOFTHSM2_CONF={TOKENS}/softhsm2.conf softhsm2-util"
    host.check_output(f"{run} --init-token --free --label test --pin 123456 --so-pin 654321")
    secret = "/etc/sensmail/keys/secrets/pkcs11-pin"
    host.check_output(f"printf 123456 | systemd-creds encrypt --name=sensmail-secret_pkcs11-pin - {secret}")
    for unit in UNITS:
        folder = f"/run/systemd/system/{unit}.d"
        lines = f"[Service]\nEnvironment=SOFTHSM2_CONF={TOKENS}/softhsm2.conf\nReadWritePaths={TOKENS}\n"
        host.check_output(f"mkdir -p {folder} && printf %s %s > {folder}/token.conf", "%s", lines)
    host.check_output(f"systemctl daemon-reload; cp -a {CONFIGURATION} {CONFIGURATION}.before")
    table = (
        'provider = "pkcs11"\nmodule = "/usr/lib/softhsm/libsofthsm2.so"\ntoken = "test"\nlabel = "root"\n'
        'destruction = "software"\npin_credential = "sensmail-secret_pkcs11-pin"\n'
    )
    host.check_output(f"sed -i '/^provider/d' {CONFIGURATION} && printf %s %s >> {CONFIGURATION}", "%s", table)
    yield run
    host.check_output(f"cp -a {CONFIGURATION}.before {CONFIGURATION}; rm {CONFIGURATION}.before")
    if "pkcs11" in status(host)["root"]:
        host.check_output(CHANGE)
    host.check_output(f"rm -r {TOKENS} {secret} {' '.join(f'/run/systemd/system/{unit}.d' for unit in UNITS)}")
    host.check_output("systemctl daemon-reload")
    if not had:
        host.check_output("apt-get -qq purge -y --autoremove softhsm2")


def test_the_root_key_moves_into_a_token_and_back(host: Host, softhsm: str, work: str) -> None:
    """Real calls to SoftHSM2 by the sandboxed units; the command is killed before the token's key wraps anything."""
    before, objects = status(host), f"{softhsm} --show-slots"
    host.check_output("systemctl restart sensmail-keyd.service")  # other settings alone change nothing
    assert status(host)["root"] == before["root"]
    lines = f"{work}/lines"
    host.check_output(
        f"{CHANGE} > {lines} & p=$!; "
        f"for i in $(seq 600); do grep -q ^remembered {lines} && kill -9 $p && break; sleep 0.02; done; wait $p || true"
    )
    assert host.file(UNDER_WAY).exists
    said = host.check_output("sensmail keys rotate --now root --reason again")
    assert said.startswith("taken up again: begun by")
    assert not host.file(UNDER_WAY).exists
    now = status(host)
    assert "pkcs11, destruction software" in now["root"]
    assert (now["keys"], now["place"]) == (before["keys"], before["place"])
    assert host.check_output(f"ls -A {ROOTS}") == ""
    assert "Initialized:      yes" in host.check_output(objects)
    (row,) = (row for row in register(host, "root") if row["키 식별자"] == before["root"].partition(",")[0])
    assert (row["보관 방식"], row["승인자"], bool(row["파기일"])) == ("file", "privacy_officer", True)
    assert host.check_output("sensmail keys compare").endswith("0 without a key")
    refused = host.run(CHANGE)
    assert (refused.rc, "is the root in use" in refused.stderr) == (1, True), refused.stderr
    host.check_output(f"cp -a {CONFIGURATION}.before {CONFIGURATION}")
    host.check_output(CHANGE)
    assert "file, destruction software" in status(host)["root"]
    assert host.check_output(f"ls -A {ROOTS}") == "1"
    (row,) = (row for row in register(host, "root") if row["보관 방식"] == "pkcs11")
    assert (row["파기 등급"], bool(row["파기일"])) == ("덮어쓰기 (software)", True)


@pytest.mark.parametrize("place", [SECOND, FIRST])
def test_a_place_that_was_lost_is_filled(host: Host, place: str) -> None:
    before = status(host)
    host.check_output(f"systemctl stop sensmail-keyd.socket sensmail-keyd.service; find {place} -type f -delete")
    why = "--reason 'the disk of a place was replaced'"
    assert f"--replaced {place}" in host.run(f"sensmail keys fill {why}").stderr
    said = host.check_output(f"sensmail keys fill --replaced {place} {why}")
    assert f"{place} (until 20" in host.check_output("sensmail keys status")
    assert f"{place}: filled" in said
    now = status(host)
    assert (now["place"], now["keys"]) == (before["place"], before["keys"])
    assert host.check_output(f"stat -c '%U %a' {place}/snapshot") == "sensmail-keyd 600"
    assert host.check_output("sensmail keys gaps").endswith(", 0 without a record")


def test_a_killed_command_leaves_the_service_running(host: Host) -> None:
    """Killed while the unit works: systemd ends what it began."""
    host.check_output(
        "sensmail keys fill --reason 'killed' & p=$!; for i in $(seq 2000); do "
        "case $(systemctl is-active sensmail-keyd-recover.service) in activating) kill -9 $p; break;; esac; done; "
        "wait $p; test $? = 137"
    )
    host.check_output("timeout 60 sh -c 'until systemctl -q is-active sensmail-keyd.service; do sleep 0.2; done'")
    assert host.run("sensmail keys status").rc == 0
    host.check_output("sensmail keys fill --reason 'again'")
    assert host.run("ls -A /run/sensmail-keyd-recover").rc != 0


def test_every_sealed_value_has_its_key(host: Host) -> None:
    said = host.check_output("sensmail keys compare")  # exit 0: at most rows of people who were purged lack one
    assert "sealed values" in said
    assert "lost" not in said
