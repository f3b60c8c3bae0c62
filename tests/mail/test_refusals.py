"""What must not pass, each tried from outside."""

from __future__ import annotations

import contextlib
import imaplib
import poplib
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

import pytest

from mail.clients import STRANGER, SUBMISSION, deliver, find, letter, mailbox, postbox, send, submission
from mail.dialogue import IMAPS, LOGIN_PORTS, POP3S, SIEVE, SMTP, SUBMISSIONS, Dialogue, accepted, plain
from mail.dialogue import SUBMISSION as STARTTLS_SUBMISSION
from mail.site_under_test import SENSMAIL, Person, Site, give_account_password

ACCOUNT_PASSWORD = "Mountain-River-7421"
SCOPE_OF = {SUBMISSIONS: "smtp", STARTTLS_SUBMISSION: "smtp", IMAPS: "imap", POP3S: "pop3", SIEVE: "sieve"}
OUTSIDE = "someone@example.net"


def eicar() -> EmailMessage:
    """The test file of the anti-malware industry, put together here so that no scanner stumbles over this file."""
    message = letter(STRANGER, OUTSIDE)
    parts = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE", "!$H+H*")
    message.add_attachment("".join(parts).encode(), maintype="application", subtype="octet-stream", filename="a.com")
    return message


def addressed(message: EmailMessage, sender: str, recipient: str) -> EmailMessage:
    message.replace_header("From", sender)
    message.replace_header("To", recipient)
    return message


# ---- malware and spam ----


def test_malware_from_the_world(site: Site, bob: Person) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        deliver(site, addressed(eicar(), STRANGER, bob.address))
    assert refusal.value.smtp_code == 554
    assert "virus found" in str(refusal.value.smtp_error)


@pytest.mark.parametrize("port", SUBMISSION)
def test_malware_from_an_account(site: Site, alice: Person, bob: Person, port: int) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(site, alice, addressed(eicar(), alice.address, bob.address), port)
    assert refusal.value.smtp_code == 554


def test_spam(site: Site, bob: Person) -> None:
    pattern = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        deliver(site, letter(STRANGER, bob.address, text=pattern + "\n"))
    assert refusal.value.smtp_code == 554


def test_suspicious_mail_is_delayed(site: Site, bob: Person) -> None:
    """A well-formed one is not: see test_delivery."""
    message = letter(STRANGER, bob.address)
    del message["Message-ID"], message["Date"]
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        deliver(site, message)
    assert refusal.value.smtp_code == 451


# ---- relaying and senders ----


@pytest.mark.parametrize("sender", [STRANGER, "", "alice@{domain}", "{bob}"])
@pytest.mark.parametrize(
    "recipient", [OUTSIDE, "someone%example.net@{domain}", "@{domain}:someone@example.net", "someone@[192.0.2.1]"]
)
def test_no_open_relay(site: Site, bob: Person, sender: str, recipient: str) -> None:
    names = {"domain": site.domain, "bob": bob.address}
    with smtplib.SMTP(site.hostname, 25, local_hostname="client.example.org", timeout=20) as client:
        client.ehlo()
        client.mail(sender.format(**names))
        assert client.rcpt(recipient.format(**names))[0] in (454, 501, 503, 550, 553, 554)


def test_no_relay_for_the_host_itself(site: Site) -> None:
    """A program on the host that can be made to speak to port 25 sends no mail for strangers."""
    script = (
        "import smtplib; c = smtplib.SMTP('127.0.0.1', 25, 'a.example.org', 20); c.ehlo();"
        " print(c.mail('a@example.org'), c.rcpt('b@example.net'))"
    )
    said = site.machine.run(f'python3 -c "{script}"').stdout
    assert "(454, b'4.7.1" in said or "(554, b'5.7.1" in said, said
    assert "2.1.5" not in said


@pytest.mark.parametrize("port", SUBMISSION)
def test_submission_only_after_login(site: Site, bob: Person, port: int) -> None:
    with Dialogue(site, port).secure() as talk:
        talk.say(b"MAIL FROM:<%s>" % STRANGER.encode())
        assert talk.say(b"RCPT TO:<%s>" % bob.address.encode()).startswith(b"554")


def test_sender_of_someone_else(site: Site, alice: Person, bob: Person) -> None:
    for sender in (bob.address, STRANGER, f"nobody@{site.domain}"):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            send(site, alice, letter(sender, bob.address), sender=sender)
        assert [code for code, _ in refusal.value.recipients.values()] == [553]


@pytest.mark.parametrize("envelope", ["own", "empty"])
def test_from_header_of_someone_else(site: Site, alice: Person, bob: Person, envelope: str) -> None:
    sender = alice.address if envelope == "own" else ""
    for shown in (bob.address, f"{alice.address}, {bob.address}"):
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            send(site, alice, letter(shown, bob.address), sender=sender)
        assert refusal.value.smtp_code == 554


def test_stranger_as_one_of_us(site: Site, alice: Person, bob: Person) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
        deliver(site, letter(alice.address, bob.address), sender=alice.address)
    assert [code for code, _ in refusal.value.recipients.values()] == [554]


# ---- logins ----


def login(site: Site, port: int, person: Person, password: str) -> bool:
    """Whether a stock client gets in (a bare dialogue for ManageSieve, which has none)."""
    try:
        if port in SUBMISSION:
            with submission(site, port, person.address, password):
                return True
        if port == IMAPS:
            with mailbox(site, person.address, password):
                return True
        if port == POP3S:
            with postbox(site, person.address, password):
                return True
        with Dialogue(site, port).secure() as talk:
            return accepted(port, talk.authenticate(b"PLAIN", plain(person.address.encode(), password.encode())))
    except (smtplib.SMTPAuthenticationError, imaplib.IMAP4.error, poplib.error_proto):
        return False


@pytest.mark.parametrize("port", LOGIN_PORTS)
def test_scope(site: Site, alice: Person, port: int) -> None:
    opened = {scope for scope in ("imap", "pop3", "sieve", "smtp") if login(site, port, alice, alice.tokens[scope])}
    assert opened == {SCOPE_OF[port]}


def test_account_password_never_opens_mail(site: Site, bob: Person) -> None:
    give_account_password(site, bob, ACCOUNT_PASSWORD)
    for port in LOGIN_PORTS:
        assert not login(site, port, bob, ACCOUNT_PASSWORD), port
        assert login(site, port, bob, bob.token), port


def test_password_of_someone_else(site: Site, alice: Person, bob: Person) -> None:
    for port in LOGIN_PORTS:
        assert not login(site, port, alice, bob.token), port


def test_revoked(site: Site, people: dict[str, Person]) -> None:
    """It is refused from then on, and an open session can be ended by its selector."""
    person = people["full"]
    selector = person.token.partition("-")[0]
    session = imaplib.IMAP4_SSL(site.hostname, IMAPS, ssl_context=site.tls, timeout=20)
    session.login(person.address, person.token)
    assert session.noop()[0] == "OK"
    site.machine.run(f"{SENSMAIL} account app-password revoke {selector} && doveadm kick -f user_apppw {selector}")
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        [session.noop() for _ in range(3)]
    assert not login(site, IMAPS, person, person.token)


# ---- plain text and old TLS ----


@pytest.mark.parametrize("port", [SMTP, STARTTLS_SUBMISSION])
def test_no_login_in_clear_by_smtp(site: Site, alice: Person, port: int) -> None:
    with Dialogue(site, port) as talk:
        assert b"AUTH" not in talk.say(b"EHLO client.example.org")
        answer = talk.authenticate(b"PLAIN", plain(alice.address.encode(), alice.token.encode()))
        assert answer.startswith((b"503", b"530", b"538")), answer


def test_no_login_at_25_with_tls_either(site: Site, alice: Person) -> None:
    with Dialogue(site, SMTP) as talk:
        talk.say(b"EHLO client.example.org")
        talk.say(b"STARTTLS")
        talk.handshake()
        assert b"AUTH" not in talk.say(b"EHLO client.example.org")
        answer = talk.authenticate(b"PLAIN", plain(alice.address.encode(), alice.token.encode()))
        assert answer.startswith(b"503"), answer


def test_no_mail_in_clear_by_submission(site: Site, alice: Person) -> None:
    with Dialogue(site, STARTTLS_SUBMISSION) as talk:
        talk.say(b"EHLO client.example.org")
        assert talk.say(b"MAIL FROM:<%s>" % alice.address.encode()).startswith(b"530")


def test_no_login_in_clear_by_sieve(site: Site, alice: Person) -> None:
    with Dialogue(site, SIEVE) as talk:
        assert b'"SASL" ""' in talk.greeting
        answer = talk.authenticate(b"PLAIN", plain(alice.address.encode(), alice.token.encode()))
        assert answer.startswith(b"NO"), answer


def test_nothing_else_listens(site: Site) -> None:
    """Mail in clear, the filter, its memory, the scanner, the database."""
    ports = (110, 143, 2000, 3310, 5432, 6379, 11332, 11333, 11334)

    def is_open(port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((site.machine.address, port), timeout=2):
            return True
        return False

    with ThreadPoolExecutor(len(ports)) as pool:
        assert [port for port, found in zip(ports, pool.map(is_open, ports), strict=True) if found] == []


def weak(site: Site, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = site.tls
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:.*TLSv1.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("port", LOGIN_PORTS)
def test_old_tls(site: Site, port: int) -> None:
    with Dialogue(site, port, weak(site, ssl.TLSVersion.TLSv1_2)).secure() as talk:
        assert isinstance(talk.socket, ssl.SSLSocket)
        assert talk.socket.version() == "TLSv1.2"
    with (
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        Dialogue(site, port, weak(site, ssl.TLSVersion.TLSv1_1)) as talk,
    ):
        talk.secure()


@pytest.mark.parametrize("port", [SMTP, STARTTLS_SUBMISSION])
def test_nothing_sent_before_tls_counts_after_it_smtp(site: Site, port: int) -> None:
    with Dialogue(site, port) as talk:
        talk.say(b"EHLO client.example.org")
        talk.socket.sendall(b"STARTTLS\r\nVRFY injected\r\n")
        if talk.answer().startswith(b"220"):
            with contextlib.suppress(ssl.SSLError):  # or it breaks off
                talk.handshake()
                assert talk.say(b"EHLO client.example.org").startswith(b"250-")


def test_nothing_sent_before_tls_counts_after_it_sieve(site: Site) -> None:
    with Dialogue(site, SIEVE) as talk:
        talk.socket.sendall(b'STARTTLS\r\nNOOP "injected"\r\n')
        if talk.answer().startswith(b"OK"):
            with contextlib.suppress(ssl.SSLError):  # or it breaks off
                talk.handshake()
                talk.answer()
                assert b"mark" in talk.say(b'NOOP "mark"')


# ---- manners ----


@pytest.mark.parametrize("port", [SMTP, STARTTLS_SUBMISSION, SUBMISSIONS])
def test_commands_that_tell_too_much(site: Site, bob: Person, port: int) -> None:
    with Dialogue(site, port).secure() as talk:
        offered = talk.say(b"EHLO client.example.org").upper()
        assert not {line[4:].split()[0] for line in offered.splitlines()[1:]} & {b"VRFY", b"EXPN", b"ETRN", b"DSN"}
        assert talk.say(b"VRFY " + bob.address.encode()).startswith((b"502", b"530"))
        assert talk.say(b"EXPN postmaster").startswith((b"500", b"502", b"530"))
        assert b"Postfix" not in talk.greeting


def test_helo_is_asked_for(site: Site) -> None:
    with Dialogue(site, SMTP) as talk:
        assert talk.say(b"MAIL FROM:<a@example.org>").startswith(b"503")


def test_unknown_recipient(site: Site) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
        deliver(site, letter(STRANGER, f"nobody-at-all@{site.domain}"))
    assert [code for code, _ in refusal.value.recipients.values()] == [550]


def test_system_account_is_no_recipient(site: Site) -> None:
    for recipient in (f"daemon@{site.hostname}", f"daemon@{site.domain}", "daemon@localhost", "daemon"):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            deliver(site, letter(STRANGER, f"x@{site.domain}"), recipient=recipient)


def test_too_large(site: Site, bob: Person) -> None:
    limit = int(site.machine.run("postconf -h message_size_limit").stdout)
    with smtplib.SMTP(site.hostname, 25, local_hostname="client.example.org", timeout=20) as client:
        client.ehlo()
        assert int(client.esmtp_features["size"]) == limit
        assert client.mail(STRANGER, [f"size={limit + 1}"])[0] == 552


def test_a_good_login_works_after_all_that(site: Site, alice: Person, bob: Person) -> None:
    message = letter(alice.address, bob.address)
    send(site, alice, message)
    find(site, bob, message["Subject"])
