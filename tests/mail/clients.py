"""Stock clients: what a mail program does, with the standard library."""

from __future__ import annotations

import email
import email.policy
import imaplib
import poplib
import secrets
import smtplib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from mail.site_under_test import Person, Site

TIMEOUT_S = 20
SUBMISSION = (465, 587)
STRANGER = "stranger@example.org"


def letter(sender: str, recipient: str, text: str = "안녕하세요.\n", **headers: str) -> EmailMessage:
    """A well-formed mail with a subject that no other mail has."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = f"test {secrets.token_hex(8)}"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.partition("@")[2])
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


@contextmanager
def submission(site: Site, port: int, login: str, password: str) -> Iterator[smtplib.SMTP]:
    """A logged-in session on 465 or 587.

    Raises:
        smtplib.SMTPAuthenticationError: refused.
    """
    client: smtplib.SMTP
    if port == 465:
        client = smtplib.SMTP_SSL(site.hostname, port, timeout=TIMEOUT_S, context=site.tls)
    else:
        client = smtplib.SMTP(site.hostname, port, timeout=TIMEOUT_S)
        client.starttls(context=site.tls)
    with client:
        client.login(login, password)
        yield client


def send(site: Site, person: Person, message: EmailMessage, port: int = 465, sender: str | None = None) -> None:
    """Submit as `person`.

    Raises:
        smtplib.SMTPException: refused, at login or later.
    """
    with submission(site, port, person.address, person.token) as client:
        client.send_message(message, from_addr=person.address if sender is None else sender)


def deliver(site: Site, message: EmailMessage, sender: str = STRANGER, recipient: str | None = None) -> None:
    """Hand a mail over on port 25 in clear, as an old server elsewhere does.

    Raises:
        smtplib.SMTPException: refused.
    """
    with smtplib.SMTP(site.hostname, 25, local_hostname="client.example.org", timeout=TIMEOUT_S) as client:
        client.sendmail(sender, recipient or message["To"], message.as_bytes(policy=email.policy.SMTP))


@contextmanager
def mailbox(site: Site, login: str, password: str) -> Iterator[imaplib.IMAP4_SSL]:
    """A logged-in IMAP session.

    Raises:
        imaplib.IMAP4.error: refused.
    """
    with imaplib.IMAP4_SSL(site.hostname, 993, ssl_context=site.tls, timeout=TIMEOUT_S) as client:
        client.login(login, password)
        yield client


@contextmanager
def postbox(site: Site, login: str, password: str) -> Iterator[poplib.POP3_SSL]:
    """A logged-in POP3 session.

    Raises:
        poplib.error_proto: refused.
    """
    client = poplib.POP3_SSL(site.hostname, 995, context=site.tls, timeout=TIMEOUT_S)
    try:
        client.user(login)
        client.pass_(password)
        yield client
    finally:
        client.close()


def find(site: Site, person: Person, subject: str, folder: str = "INBOX", seconds: float = 15) -> bytes:
    """The mail with `subject`, as soon as it is there.

    Raises:
        AssertionError: it did not come in time.
    """
    deadline = time.monotonic() + seconds
    with mailbox(site, person.address, person.token) as client:
        while time.monotonic() < deadline:
            there = client.select(f'"{folder}"')[0] == "OK"
            if there and (numbers := client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()):
                part = client.fetch(numbers[0], "(BODY.PEEK[])")[1][0]
                assert isinstance(part, tuple)
                return part[1]
            time.sleep(0.2)
    raise AssertionError(f"no mail {subject!r} in {folder} of {person.address} after {seconds} s")


def parse(raw: bytes) -> EmailMessage:
    """A received mail, with its text decoded."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
