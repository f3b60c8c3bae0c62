"""A mail finds its way: sent by one account with a stock client, filtered, signed, and read by the other."""

from __future__ import annotations

import re
import secrets
import shutil
import smtplib
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

import dkim
import pytest

from mail.clients import SUBMISSION, deliver, find, letter, mailbox, parse, postbox, send
from mail.dialogue import SIEVE, Dialogue, plain
from mail.site_under_test import Health, Person, Site, health, journal


@pytest.mark.parametrize("port", SUBMISSION)
def test_from_account_to_account(site: Site, alice: Person, bob: Person, port: int) -> None:
    before = health(site)
    tell_tale = {"User_Agent": "Tell-Tale 1.0", "X_Mailer": "Tell-Tale 1.0", "X_Originating_IP": "[203.0.113.9]"}
    message = letter(alice.address, bob.address, **tell_tale)
    send(site, alice, message, port)
    raw = find(site, bob, message["Subject"])
    received = parse(raw)
    assert received.get_content().strip() == "안녕하세요."

    # signed, as a stranger verifies it: by the record that the operator is told to publish
    assert dkim.verify(raw, dnsfunc=lambda name, timeout=5: _published(site, name))
    assert f"d={site.domain};" in received["DKIM-Signature"]

    # scanned: by both, each in its own words
    logged = journal(site, before)
    queued = re.search(rf"cleanup\[\d+\]: (\w+): message-id={re.escape(message['Message-ID'])}", logged)
    assert queued
    assert re.search(rf"rspamd_task_write_log: sensmail .*\bqid: {queued[1]},", logged)
    assert re.search(r"clamd\[\d+\]: instream\(local\): OK", logged)

    # nothing of the sender's computer, nothing of the inside
    headers = "\n".join(f"{name}: {value}" for name, value in received.items())
    client = site.machine.address.rpartition(".")[0] + ".1"
    for secret in ("Tell-Tale", "203.0.113.9", client, "X-Sensmail"):
        assert secret not in headers


def _published(site: Site, name: bytes | str) -> bytes:
    text = site.machine.run(f"cat /var/lib/sensmail/dns/dkim-{site.domain}.txt").stdout
    wanted = name.decode() if isinstance(name, bytes) else name
    assert text.startswith(f"{wanted.rstrip('.')}. IN TXT"), (wanted, text)
    return "".join(re.findall(r'"([^"]*)"', text)).encode()


def test_altered_mail_does_not_verify(site: Site, alice: Person, bob: Person) -> None:
    message = letter(alice.address, bob.address, text="pay 10\n")
    send(site, alice, message)
    raw = find(site, bob, message["Subject"])
    altered = raw.replace(b"pay 10", b"pay 99")
    assert altered != raw
    assert not dkim.verify(altered, dnsfunc=lambda name, timeout=5: _published(site, name))


def test_from_the_world_without_tls(site: Site, bob: Person) -> None:
    """A server that knows no TLS can still deliver; only TLS at 25 would lose mail."""
    message = letter("stranger@example.org", bob.address)
    deliver(site, message)
    received = parse(find(site, bob, message["Subject"]))
    assert received["Authentication-Results"].startswith(f"{site.hostname};")
    assert received["X-Spamd-Result"]


def test_from_the_world_with_tls(site: Site, bob: Person) -> None:
    message = letter("stranger@example.org", bob.address)
    with smtplib.SMTP(site.hostname, 25, local_hostname="client.example.org", timeout=20) as client:
        assert client.starttls(context=site.tls)[0] == 220
        client.send_message(message)
    assert "TLSv1." in (parse(find(site, bob, message["Subject"])).get_all("Received") or [""])[-1]


def test_read_by_pop3(site: Site, alice: Person) -> None:
    message = letter(alice.address, alice.address)
    send(site, alice, message)
    find(site, alice, message["Subject"])
    with postbox(site, alice.address, alice.token) as client:
        count = client.stat()[0]
        newest = b"\n".join(client.retr(count)[1])
    assert message["Subject"].encode() in newest


def test_another_stock_client(site: Site, alice: Person, bob: Person, tmp_path: Path) -> None:
    """curl sends and reads; it shares no code with Python's clients."""
    curl = shutil.which("curl")
    assert curl, "curl is missing: apt install curl"
    message = letter(alice.address, bob.address)
    (tmp_path / "ca.pem").write_text(site.ca)
    (tmp_path / "mail").write_bytes(message.as_bytes())
    common = [curl, "--silent", "--show-error", "--max-time", "20", "--cacert", str(tmp_path / "ca.pem")]
    for port in (465, 587, 993):
        common += ["--resolve", f"{site.hostname}:{port}:{site.machine.address}"]
    to_send = ["--mail-from", alice.address, "--mail-rcpt", bob.address, "--upload-file", str(tmp_path / "mail")]
    login = ["--user", f"{alice.address}:{alice.token}"]
    subprocess.run([*common, *login, f"smtp://{site.hostname}:587", "--ssl-reqd", *to_send], check=True)
    find(site, bob, message["Subject"])
    login = ["--user", f"{bob.address}:{bob.token}"]
    search = ["-X", f'SEARCH SUBJECT "{message["Subject"]}"', f"imaps://{site.hostname}/INBOX"]
    found = subprocess.run([*common, *login, *search], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"\* SEARCH \d+\s*", found)


def test_detail_after_plus(site: Site, bob: Person) -> None:
    message = letter("stranger@example.org", bob.address.replace("@", "+shop@"))
    deliver(site, message)
    find(site, bob, message["Subject"])


def test_upper_case_is_the_same_address(site: Site, alice: Person, bob: Person) -> None:
    message = letter(alice.address, bob.address.upper())
    send(site, alice, message)
    find(site, Person(bob.address.upper(), bob.tokens), message["Subject"])


@pytest.mark.parametrize("name", ["postmaster", "abuse"])
def test_operator_aliases(site: Site, people: dict[str, Person], name: str) -> None:
    message = letter("stranger@example.org", f"{name}@{site.domain}")
    deliver(site, message)
    find(site, people["operator"], message["Subject"])


def test_postmaster_without_domain(site: Site, people: dict[str, Person]) -> None:
    """RFC 5321 4.5.1."""
    message = letter("stranger@example.org", f"postmaster@{site.domain}")
    deliver(site, message, recipient="postmaster")
    find(site, people["operator"], message["Subject"])


def test_mail_of_the_host_reaches_the_operator(site: Site, people: dict[str, Person]) -> None:
    """Failure mails of units and cron come this way."""
    subject = f"unit failed {secrets.token_hex(8)}"
    site.machine.run(f"printf 'Subject: {subject}\\n\\nsee the journal\\n' | sendmail root")
    assert dkim.verify(
        find(site, people["operator"], subject), dnsfunc=lambda name, timeout=5: _published(site, name)
    ), "not signed: an operator elsewhere might never see it"


def test_special_folders(site: Site, alice: Person) -> None:
    with mailbox(site, alice.address, alice.token) as client:
        listed = b"\n".join(line for line in client.list()[1] if isinstance(line, bytes))
        for folder in (b"Sent", b"Drafts", b"Junk", b"Trash"):
            assert re.search(rb"\\%s[ )].* %s$" % (folder, folder), listed, re.M), listed
        # 2024.보고: a dot and Hangul, in the modified UTF-7 of IMAP
        assert client.create('"2024.&vPSs4A-/a.b"')[0] == "OK"
        assert any(isinstance(line, bytes) and line.endswith(b" 2024.&vPSs4A-/a.b") for line in client.list()[1])


def test_what_the_filter_calls_spam_goes_to_junk(site: Site, alice: Person, bob: Person) -> None:
    pattern = "YJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
    message = letter(alice.address, bob.address, text=pattern + "\n")
    send(site, alice, message)
    find(site, bob, message["Subject"], folder="Junk")


def test_own_rules_by_managesieve(site: Site, alice: Person) -> None:
    mark = secrets.token_hex(4)
    script = (
        f'require ["fileinto", "mailbox"]; if header :contains "Subject" "{mark}" {{ fileinto :create "R"; }}'.encode()
    )
    with Dialogue(site, SIEVE).secure() as sieve:
        assert sieve.authenticate(b"PLAIN", plain(alice.address.encode(), alice.token.encode())).startswith(b"OK")
        assert sieve.say(b'PUTSCRIPT "mine" {%d+}\r\n%s' % (len(script), script)).startswith(b"OK")
        assert sieve.say(b'SETACTIVE "mine"').startswith(b"OK")
    message = letter("stranger@example.org", alice.address)
    message.replace_header("Subject", f"about {mark}")
    deliver(site, message)
    find(site, alice, message["Subject"], folder="R")


def test_one_recipient_a_delivery(site: Site, alice: Person, bob: Person) -> None:
    """A sealed mailbox takes mail under its owner's key, so two owners never share an LMTP transaction."""
    before = health(site)
    message = letter(alice.address, alice.address)
    message["Cc"] = bob.address
    send(site, alice, message)
    find(site, alice, message["Subject"])
    find(site, bob, message["Subject"])
    saved = r"postfix/lmtp\[\d+\]: .*status=sent \(250 2.0.0 <[^>]+> ([^ :]+)(?::R\d+)? Saved\)"
    deliveries = re.findall(saved, _settled(site, before))  # R2: second recipient of one transaction
    assert len(set(deliveries)) == 2, deliveries


def _settled(site: Site, before: Health) -> str:
    """The journal, once Postfix has written down what Dovecot has stored."""
    time.sleep(0.5)
    return journal(site, before)


def test_receipt_has_an_empty_sender(site: Site, alice: Person, bob: Person) -> None:
    """Mail programs send read receipts so."""
    receipt: EmailMessage = letter(alice.address, bob.address)
    send(site, alice, receipt, sender="")
    find(site, bob, receipt["Subject"])
