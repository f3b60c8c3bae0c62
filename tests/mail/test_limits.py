"""Send limits and quotas, per account."""

from __future__ import annotations

import smtplib

import pytest

from mail.clients import STRANGER, deliver, find, letter, send, submission
from mail.site_under_test import Person, Site

FORGED = {"X_Sensmail_Send_Limit": "99999"}  # what the inside uses; from a client it must mean nothing


def test_send_limit(site: Site, people: dict[str, Person], bob: Person) -> None:
    slow = people["slow"]  # 3 an hour
    crowd = [bob.address.replace("@", f"+{number}@") for number in range(4)]
    with submission(site, 465, slow.address, slow.token) as client:
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            client.send_message(letter(slow.address, bob.address, **FORGED), to_addrs=crowd)
        assert refusal.value.smtp_code == 451
        for _ in range(3):
            client.send_message(letter(slow.address, bob.address, **FORGED))
        # postmaster among the recipients frees nobody
        for recipients in ([bob.address], [f"postmaster@{site.domain}"]):
            with pytest.raises(smtplib.SMTPDataError) as refusal:
                client.send_message(letter(slow.address, bob.address, **FORGED), to_addrs=recipients)
            assert refusal.value.smtp_code == 451
            assert "limit" in str(refusal.value.smtp_error)


def test_others_are_not_held_up(site: Site, alice: Person, bob: Person) -> None:
    for _ in range(4):
        send(site, alice, letter(alice.address, bob.address))


def test_account_that_may_not_send(site: Site, people: dict[str, Person], bob: Person) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(site, people["mute"], letter(people["mute"].address, bob.address))
    assert refusal.value.smtp_code == 554


def test_most_recipients_of_one_mail(site: Site, alice: Person, bob: Person) -> None:
    limit = int(site.machine.run("postconf -P submissions/inet/smtpd_recipient_limit").stdout.split()[-1])
    with submission(site, 465, alice.address, alice.token) as client:
        client.mail(alice.address)
        codes = [client.rcpt(bob.address.replace("@", f"+{number}@"))[0] for number in range(limit + 1)]
    assert codes == [250] * limit + [452]


def test_full_mailbox_is_said_at_the_door(site: Site, people: dict[str, Person]) -> None:
    full = people["full"]  # 100 KiB
    message = letter(STRANGER, full.address, text=("x" * 70 + "\n") * 2500)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
        deliver(site, message)
    assert [code for code, _ in refusal.value.recipients.values()] == [552]


def test_full_mailbox_for_a_colleague(site: Site, people: dict[str, Person], alice: Person) -> None:
    """Accepted, then sent back: the sender learns of it, and nothing is stored beyond the quota."""
    full = people["full"]
    message = letter(alice.address, full.address, text=("x" * 70 + "\n") * 2500)
    send(site, alice, message)
    notice = find(site, alice, "Undelivered Mail Returned to Sender", seconds=20)
    assert b"5.2.2" in notice
    stored = site.machine.run(f"doveadm -f tab quota get -u {full.address}").stdout.splitlines()
    used = next(int(line.split("\t")[2]) for line in stored if "STORAGE" in line)
    assert used <= 100


def test_small_mail_still_fits(site: Site, people: dict[str, Person]) -> None:
    deliver(site, letter(STRANGER, people["full"].address))
