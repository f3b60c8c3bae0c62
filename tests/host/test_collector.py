"""The collector on the host: people log in by every door, and the records say who, from where and by which program."""

from __future__ import annotations

import imaplib
import json
import re
import smtplib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from machine import Machine
from mail.clients import letter, mailbox, postbox, submission
from mail.site_under_test import ALL, Person, Site, make_people, reached

UNIT = "sensmail-collector.service"
PATIENCE_S = 40
# A record is in the inbox or, sealed, in the ledger.
COLUMNS = "act, account, origin, subject_id, client, purpose, outcome, unit, detail::jsonb"
INBOX, LEDGER = (
    f"SELECT at AS received, {COLUMNS} FROM records.inbox",
    f"SELECT received, {COLUMNS} FROM records.access",
)
RECORDS = f"({INBOX} UNION ALL {LEDGER}) AS r"
SOURCES = ("ssh", "dovecot", "postfix", "nginx", "rspamd", "clamav-daemon", "postgresql@17-main")


def query(host: Host, statement: str) -> list[Any]:
    text = host.check_output(
        "runuser -u postgres -- psql -X -At -d sensmail -c %s", f"SELECT row_to_json(r) FROM ({statement}) r"
    )
    return [json.loads(each) for each in text.splitlines()]


@pytest.fixture
def since(host: Host) -> str:
    """Records that came later are of this test."""
    return str(query(host, "SELECT clock_timestamp() AS now")[0]["now"])


def recorded(host: Host, since: str, where: str, least: int = 1) -> list[Any]:
    """Records, as soon as there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = query(host, f"SELECT * FROM {RECORDS} WHERE received > '{since}' AND {where} ORDER BY received")
        if len(found) >= least:
            return found
        assert time.monotonic() < deadline, f"no record where {where}"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def site(machine: Machine) -> Iterator[Site]:
    with reached(machine) as found:
        yield found


@pytest.fixture(scope="module")
def person(site: Site) -> Person:
    return make_people(site, {"recorded": ("", {"all": ALL})})["recorded"]


@pytest.fixture(scope="module")
def here(machine: Machine) -> str:
    """This computer's address, as the machine sees it."""
    return machine.run("echo ${SSH_CONNECTION%% *}").stdout.strip()


# what there is


def test_it_runs_fenced_in(host: Host) -> None:
    assert host.service(UNIT).is_running
    assert host.service(UNIT).is_enabled
    for unit in (UNIT, "sensmail-collector-key.service"):
        report = host.run(f"systemd-analyze security --no-pager {unit}").stdout
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
        assert exposure
        assert float(exposure[1]) <= 2.0


def test_its_key_is_encrypted_and_roots(host: Host) -> None:
    key = host.file("/etc/sensmail/collector/names")
    assert (key.user, key.mode) == ("root", 0o600)
    name = "--name=sensmail-collector-names"
    assert host.check_output(f"systemd-creds decrypt {name} {key.path} - | wc -c") == "32"
    assert host.run(f"systemd-creds decrypt --name=other {key.path} -").rc != 0


@pytest.mark.parametrize("name", SOURCES)
def test_journald_drops_no_line_of_a_source(host: Host, name: str) -> None:
    """What journald reads itself; systemd does not tell it of an interval of 0."""
    interval = host.check_output(f"readlink /run/systemd/units/log-rate-limit-interval:{name}.service")
    burst = host.check_output(f"readlink /run/systemd/units/log-rate-limit-burst:{name}.service")
    assert (interval, burst) == ("1", "1000000")


# people at every door


def test_imap(host: Host, site: Site, person: Person, since: str, here: str) -> None:
    imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")
    with imaplib.IMAP4_SSL(site.hostname, 993, ssl_context=site.tls, timeout=20) as client:
        client._simple_command("ID", '("name" "Thunderbird" "version" "140.0")')
        client.login(person.address, person.token)
        client.select("INBOX")
    login, logout = recorded(host, since, f"account = '{person.address}' AND act LIKE 'imap.log%'", 2)
    assert (login["act"], login["origin"], login["client"], login["outcome"]) == (
        "imap.login", here, "Thunderbird 140.0", "done")  # fmt: skip
    assert (logout["act"], logout["origin"]) == ("imap.logout", here)
    assert login["detail"]["session"] == logout["detail"]["session"]
    assert query(host, f"SELECT id FROM accounts.subject WHERE address = '{person.address}'") == [
        {"id": login["subject_id"]}
    ]
    assert login["unit"] == "dovecot.service"


def test_a_program_that_names_itself_later(host: Host, site: Site, person: Person, since: str, here: str) -> None:
    imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")
    with mailbox(site, person.address, person.token) as client:
        client._simple_command("ID", '("name" "Apple Mail" "version" "16.0")')
    (record,) = recorded(host, since, f"account = '{person.address}' AND act = 'imap.client'")
    assert (record["client"], record["origin"]) == ("Apple Mail 16.0", here)


def test_pop3(host: Host, site: Site, person: Person, since: str, here: str) -> None:
    with postbox(site, person.address, person.token) as client:
        client.quit()
    found = recorded(host, since, f"account = '{person.address}' AND act LIKE 'pop3.%'", 2)
    assert [(each["act"], each["origin"]) for each in found] == [("pop3.login", here), ("pop3.logout", here)]


def test_a_mail_on_its_way(host: Host, site: Site, person: Person, since: str, here: str) -> None:
    message = letter(person.address, person.address)
    with submission(site, 465, person.address, person.token) as client:
        client.send_message(message)
    acts = ("smtp.login", "mail.submit", "mail.scan", "mail.receive")
    for act in acts:
        record = recorded(host, since, f"account = '{person.address}' AND act = '{act}'")[0]
        assert (record["outcome"], record["origin"]) == ("done", "" if act == "mail.receive" else here)
    whole = " ".join(map(str, query(host, f"SELECT * FROM {RECORDS} WHERE received > '{since}'")))
    assert message["Subject"] not in whole
    assert message["Message-ID"] not in whole


def test_a_mistyped_name_is_not_kept(host: Host, site: Site, person: Person, since: str, here: str) -> None:
    secret = "mistyped-pass-9431"
    with pytest.raises(imaplib.IMAP4.error), mailbox(site, secret, "x"):
        pass
    with pytest.raises(smtplib.SMTPException), submission(site, 465, person.address, "wrong"):
        pass
    (stranger,) = recorded(host, since, "act = 'imap.login' AND outcome = 'refused'")
    assert re.fullmatch("unknown:[0-9a-f]{32}", stranger["account"])
    assert stranger["origin"] == here
    assert recorded(host, since, f"act = 'smtp.login' AND outcome = 'refused' AND account = '{person.address}'")
    assert secret not in str(query(host, f"SELECT * FROM {RECORDS} WHERE received > '{since}'"))


def test_ssh(host: Host, machine: Machine, since: str, here: str) -> None:
    machine.run("true")
    login = recorded(host, since, f"act = 'ssh.login' AND account = '{machine.user}'")[0]
    logout = recorded(host, since, f"act = 'ssh.logout' AND detail->>'session' = '{login['detail']['session']}'")[0]
    assert (login["origin"], logout["origin"]) == (here, here)
    ssh = [
        "ssh",
        "-F",
        str(machine.ssh_config),
        "-o",
        "BatchMode=yes",
        "-l",
        "nobody-of-this-name",
        machine.name,
        "true",
    ]
    assert subprocess.run(ssh, capture_output=True, check=False, timeout=30).returncode != 0
    refused = recorded(host, since, "act = 'ssh.login' AND outcome = 'refused'")[0]
    assert refused["account"].startswith("unknown:")


def test_sudo(host: Host, since: str) -> None:
    host.check_output("sudo -u nobody /usr/bin/env SECRET=hunter2 /bin/true")
    record = recorded(host, since, "act = 'sudo.run' AND detail->>'command' = 'env'")[0]
    assert (record["account"], record["detail"]["target"]) == ("root", "nobody")
    assert "hunter2" not in str(record)


@pytest.fixture
def application(host: Host) -> Iterator[None]:
    """A location as a role of an application adds it."""
    file = "/etc/nginx/sensmail.d/recorded-test.conf"
    host.check_output(f"echo 'location /accounts/ {{ return 403; }}' > {file} && nginx -t -q && systemctl reload nginx")
    time.sleep(1)
    yield
    host.check_output(f"rm {file} && systemctl reload nginx")


def test_http(application: None, host: Host, site: Site, since: str, here: str) -> None:
    headers = {"User-Agent": "Browser/1.0", "X-Forwarded-For": "9.9.9.9", "Forwarded": "for=9.9.9.9"}
    request = urllib.request.Request(f"https://{site.hostname}/accounts/x7-secret/?token=geheim", headers=headers)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, context=site.tls, timeout=10)
    (record,) = recorded(host, since, "act = 'web.request'")
    assert (record["origin"], record["client"]) == (here, "Browser/1.0")
    assert record["detail"] == {"method": "GET", "path": "/accounts/*/", "code": 403}
    assert "geheim" not in str(record)


def test_reading_the_policy_leaves_no_record(host: Host, site: Site, since: str) -> None:
    urllib.request.urlopen(f"https://{site.hostname}/policy/ko/", context=site.tls, timeout=10).read()
    host.check_output("logger marker")
    time.sleep(3)
    assert query(host, f"SELECT act FROM {RECORDS} WHERE received > '{since}' AND act = 'web.request'") == []


def test_who_reads_personal_tables_by_hand(host: Host, since: str) -> None:
    query(host, "SELECT address FROM accounts.subject WHERE address = 'geheim@sensmail.test'")
    record = recorded(host, since, "act = 'data.read' AND detail->>'table' = 'accounts.subject'")[0]
    assert (record["account"], record["origin"]) == ("postgres", "local")
    lines = host.check_output("journalctl -u postgresql@17-main --since=-2min -o cat | grep AUDIT")
    assert "geheim" not in lines
    host.check_output("/opt/sensmail/current/bin/sensmail account show geheim@sensmail.test || true")
    services = [each for each in recorded(host, since, "act = 'data.read'") if each["account"] != "postgres"]
    assert services == []


# who is not believed, and what is not lost


def test_a_forged_line_is_refused(host: Host, since: str) -> None:
    fields = {"original_user": "forged@x", "remote_ip": "9.9.9.9", "protocol": "imap", "success": "yes"}
    message = "stats: " + json.dumps({"event": "auth_request_finished", "fields": fields})
    host.check_output("runuser -u nobody -- logger -t dovecot %s", message)
    record = recorded(host, since, "act = 'journal.refused' AND detail->>'reason' LIKE 'claims to be of dovecot%'")[0]
    assert record["account"].startswith("uid ")
    assert query(host, f"SELECT act FROM {RECORDS} WHERE received > '{since}' AND origin = '9.9.9.9'") == []


def test_nothing_is_lost_while_database_and_collector_are_down(host: Host, since: str) -> None:
    burst = 500
    host.check_output(f"systemctl kill --signal=KILL {UNIT}")
    host.check_output("systemctl stop postgresql@17-main.service")
    try:
        host.check_output(f"for i in $(seq {burst}); do sudo -u nobody /bin/true; done")
    finally:
        host.check_output("systemctl start postgresql@17-main.service")
        host.check_output("systemctl restart dovecot.service")  # each of its old sessions would fail one login
    host.check_output(f"systemctl kill --signal=KILL {UNIT}")
    assert len(recorded(host, since, "act = 'sudo.run' AND detail->>'command' = 'true'", burst)) == burst
    assert query(host, f"SELECT act FROM {RECORDS} WHERE received > '{since}' AND act = 'journal.gap'") == []


def test_a_vacuum_past_its_place_is_a_gap(host: Host, since: str) -> None:
    host.check_output(f"systemctl stop {UNIT}")
    try:
        host.check_output("for i in 1 2 3; do seq 200 | systemd-cat; journalctl --sync; journalctl --rotate; done")
        host.check_output("journalctl --vacuum-files=1")
    finally:
        host.check_output(f"systemctl start {UNIT}")
    gap = recorded(host, since, "act = 'journal.gap'")[0]
    assert gap["detail"]["count"] == gap["detail"]["last"] - gap["detail"]["first"] + 1 > 400
    assert gap["outcome"] == "failed"
