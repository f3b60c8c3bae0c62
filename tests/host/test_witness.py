"""The witness on its machine, the publisher on the host that it watches: cosignatures, silence, a host put back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from host.test_database import query
from sensmail.records import checkpoint, cosignature, note
from sensmail.records.note import Note, VerifierKey

SENSMAIL = "/opt/sensmail/current/bin/sensmail"
WITNESS, CHECK = "sensmail-witness.service", "sensmail-witness-check.service"
PUBLISHER, PUBLISHER_CHECK = "sensmail-publisher.service", "sensmail-publisher-check.service"
SEALER = "sensmail-sealer.service"
STORE = "/var/lib/sensmail-witness"
INSERT = (
    "INSERT INTO records.inbox (ledger, act, account, origin, client, purpose, outcome, unit, detail) SELECT 'access', "
    "'test', 'host-test', '', '', '', 'done', '', '{}' FROM generate_series(1, %s)"
)
KEPT = "SELECT coalesce(max(size), -1) FROM records.cosigned WHERE ledger = 'access'"
HEAD = "SELECT size FROM records.head WHERE ledger = 'access'"
# What an auditor on the mail host's side of the firewall does: the certificate is pinned by its digest.
FETCH = """
import sys, urllib3
url, digest = sys.argv[1:]
pool = urllib3.PoolManager(cert_reqs="CERT_NONE", assert_fingerprint=digest, retries=False)
sys.stdout.buffer.write(pool.request("GET", url).data)
"""


def number(host: Host, text: str) -> int:
    status, found = query(host, "postgres", text)
    assert status == 0, found
    return int(found)


def until(what: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.3)
    pytest.fail(f"not within {seconds} s: {why()}")


def status(host: Host) -> str:
    return str(host.run(f"{SENSMAIL} witness status").stdout)


def record(host: Host, count: int = 3) -> int:
    """Add records, and the size of the log once they are sealed."""
    before = number(host, HEAD)
    assert query(host, "sensmail-jobs", INSERT % count)[0] == 0
    until(lambda: number(host, HEAD) >= before + count, 15, lambda: host.run(f"journalctl -n5 -u {SEALER}").stdout)
    return before + count


@pytest.fixture
def fetch(host: Host) -> Callable[[str], bytes]:
    settings = host.file("/etc/sensmail/publisher.toml").content_string
    url, digest = (re.search(rf'^{name} = "(.*)"$', settings, re.MULTILINE) for name in ("url", "certificate"))
    assert url
    assert digest

    def get(path: str) -> bytes:
        python = "/opt/sensmail/current/bin/python -I -c %s %s %s"
        return bytes(host.run(python, FETCH, url[1] + path, digest[1]).stdout_bytes)

    return get


def test_a_record_is_cosigned_within_seconds(host: Host) -> None:
    size = record(host)
    start = time.monotonic()
    until(lambda: number(host, KEPT) >= size, 10, lambda: status(host))
    print(f"cosigned {time.monotonic() - start:.1f} s after it was sealed")


def test_an_auditor_fetches_and_verifies_what_the_witness_holds(
    host: Host, witness: Host, fetch: Callable[[str], bytes]
) -> None:
    size = record(host)
    until(lambda: number(host, KEPT) >= size, 10, lambda: status(host))
    keys = [VerifierKey.from_text(each) for each in json.loads(host.check_output(f"{SENSMAIL} witness logs --json"))]
    known = VerifierKey.from_text(
        witness.check_output(f"{SENSMAIL} witness key").split("\n")[0], cosignature.COSIGNATURE
    )
    assert fetch("/key").decode().strip() == known.to_text()
    listed = dict(line.split() for line in fetch("/logs").decode().splitlines())
    assert sorted(listed.values()) == sorted(each.to_text() for each in keys)
    for stem, text in listed.items():
        log = VerifierKey.from_text(text)
        newest = note.parse(fetch(f"/logs/{stem}/newest"))
        body = checkpoint.verify(newest, log)
        assert abs(cosignature.cosigned(newest, known) - body.time) < 60
        assert body.size >= (size if "/access/" in log.name else 0)
        assert len(fetch(f"/logs/{stem}/notes")) > 500


def test_the_database_keeps_notes_that_any_verifier_reads(host: Host) -> None:
    text = query(host, "sensmail-jobs", "SELECT encode(convert_to(note, 'UTF8'), 'hex') FROM records.cosigned LIMIT 1")[
        1
    ]
    found: Note = note.parse(bytes.fromhex(text))
    assert len(found.signatures) == 3


def test_units_are_fenced_in(host: Host, witness: Host) -> None:
    for where, unit in ((witness, WITNESS), (witness, CHECK), (host, PUBLISHER), (host, PUBLISHER_CHECK)):
        report = where.run(f"systemd-analyze security --no-pager {unit}").stdout
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
        assert exposure, report
        assert float(exposure[1]) <= 2.0, unit


def test_what_was_kept_can_only_be_added_to(witness: Host) -> None:
    file = witness.check_output(f"ls {STORE}/access-*.notes")
    before = witness.file(file).size
    for command in (f": > {file}", f"rm -f {file}", f"mv {file} {file}.old", f"printf x | dd of={file} conv=notrunc"):
        for user in ("sensmail-witness", "root"):
            done = witness.run(f"runuser -u {user} -- sh -c %s", command)
            assert done.rc != 0, f"{user}: {command}"
    assert witness.file(file).size >= before


def test_secrets_are_on_the_witness_alone(host: Host, witness: Host) -> None:
    for name in ("witness-signing", "witness-tls"):
        file = witness.file(f"/etc/sensmail/witness/{name}")
        assert (file.user, file.mode) == ("root", 0o600)
        assert b"PRIVATE" not in file.content
    assert not host.file("/etc/sensmail/witness").exists
    assert "postgres" not in witness.check_output("dpkg-query -W -f '${Package} '")


def test_a_witness_that_was_away_is_caught_up_with(host: Host, witness: Host) -> None:
    witness.check_output(f"systemctl stop {WITNESS}")
    try:
        for _ in range(2):
            size = record(host)
            host.check_output(f"systemctl restart {SEALER}")  # the next key
        until(lambda: "Away" in status(host), 30, lambda: status(host))
    finally:
        witness.check_output(f"systemctl start {WITNESS}")
    turns = "SELECT count(*) FROM records.cosigned WHERE ledger = 'access'"
    head = "SELECT turn FROM records.head WHERE ledger = 'access'"
    until(
        lambda: number(host, KEPT) >= size and number(host, turns) == number(host, head) + 1, 60, lambda: status(host)
    )
    until(lambda: "Away" not in status(host), 20, lambda: status(host))


@pytest.fixture
def impatient(witness: Host) -> Iterator[None]:
    """One minute of silence is enough for this test."""
    witness.check_output("cp -a /etc/sensmail/witness.toml /root/ && systemctl stop sensmail-witness-check.timer")
    witness.check_output("sed -i 's/^silent_minutes = .*/silent_minutes = 1/' /etc/sensmail/witness.toml")
    yield
    witness.check_output("mv /root/witness.toml /etc/sensmail/ && systemctl start sensmail-witness-check.timer")
    witness.run(f"systemctl reset-failed {CHECK}")


def test_a_log_that_falls_silent_is_an_alarm(host: Host, witness: Host, impatient: None) -> None:
    assert witness.run(f"{SENSMAIL} witness check").rc == 0
    witness.check_output(f"systemctl start {CHECK}")
    witness.check_output(f"rm -f /run/sensmail-alert/{CHECK}")
    host.check_output(f"systemctl stop {SEALER}")
    try:
        until(lambda: witness.run(f"{SENSMAIL} witness check").rc == 1, 100, lambda: status(witness))
        until(
            lambda: witness.run(f"{SENSMAIL} witness check").stdout.count("/1: silent for 1 minutes") == 2,
            100,
            lambda: status(witness),
        )  # of either ledger
        assert witness.run(f"systemctl start {CHECK}").rc != 0
        assert witness.check_output(f"systemctl is-failed {CHECK}") == "failed"
        mailed = f"journalctl --no-pager -o cat --since=-2min -u sensmail-alert@{CHECK}.service"
        # taken by the mail host; or greylisted, and the next look sends it again; or nobody has made that mailbox there
        taken = r"Finished|could not be sent: .*(Try again later|User unknown|unknown user|does not exist)"
        until(lambda: bool(re.search(taken, witness.run(mailed).stdout)), 60, lambda: witness.run(mailed).stdout)
    finally:
        host.check_output(f"systemctl start {SEALER}")
    until(lambda: witness.run(f"{SENSMAIL} witness check").rc == 0, 30, lambda: status(witness))


STOP = f"systemctl stop {PUBLISHER} {SEALER} postgresql@17-main"
# Units that a test restarts so often would not be started again.
START = f"systemctl reset-failed; systemctl start postgresql@17-main {SEALER} {PUBLISHER}"
COPY = (
    "rm -rf /root/{0} && mkdir /root/{0} && cp -a /var/lib/postgresql/17/main /root/{0}/main && "
    "cp -a /var/lib/sensmail-sealer /root/{0}/sealer"
)
PUT_BACK = (
    "rm -rf /var/lib/postgresql/17/main /var/lib/sensmail-sealer && "
    "cp -a /root/{0}/main /var/lib/postgresql/17/main && cp -a /root/{0}/sealer /var/lib/sensmail-sealer"
)


@pytest.fixture
def put_back(host: Host) -> Iterator[Callable[[], None]]:
    """The whole state of the records as it was: database and signing keys, as a snapshot of the host would bring it."""
    host.check_output(f"{STOP} && {COPY.format('older')} && {START}")

    def back() -> None:
        host.check_output(f"{STOP} && {COPY.format('newer')} && {PUT_BACK.format('older')} && {START}")

    yield back
    host.check_output(f"{STOP}; {PUT_BACK.format('newer')} && rm -rf /root/older /root/newer; {START}")
    host.run(f"systemctl reset-failed {PUBLISHER_CHECK} {SEALER}")
    host.check_output("systemctl restart dovecot.service")  # each of its old sessions would fail one look-up


def test_a_host_that_was_put_back_is_found(host: Host, put_back: Callable[[], None]) -> None:
    size = record(host, 20)
    until(lambda: number(host, KEPT) >= size, 20, lambda: status(host))
    put_back()
    until(lambda: "WitnessAhead" in status(host), 40, lambda: status(host))
    checked = host.run(f"{SENSMAIL} witness check")
    assert checked.rc == 1
    assert "it was put back to an older state" in checked.stdout
    assert (
        number(host, "SELECT max(size) FROM records.ahead WHERE ledger = 'access'") >= size
    )  # the collector records too
    assert host.run(f"systemctl start {PUBLISHER_CHECK}").rc != 0  # which is mailed
    # and it stays found once it has grown past what the witness knows
    record(host, 60)
    until(lambda: "Forked" in status(host), 320, lambda: status(host))


def test_everything_is_cosigned_again_in_the_end(host: Host) -> None:
    until(lambda: number(host, KEPT) >= number(host, HEAD), 60, lambda: status(host))
    until(lambda: host.run(f"{SENSMAIL} witness check").rc == 0, 60, lambda: status(host))
