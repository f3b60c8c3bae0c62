"""Hostile logins on every port. Two settings of Dovecot 2.4 that look right kill its auth process from outside."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

from mail.dialogue import IMAPS, LOGIN_PORTS, POP3S, SMTP, SUBMISSION, SUBMISSIONS, Dialogue, accepted, broken, plain
from mail.site_under_test import Person, Site, health, journal

LONG = 10_240
# what the protocol itself does not carry this far may be cut off instead of answered
CUT_OFF = b""

PASSWORDS = (
    b"",
    b"a",
    b"-",
    b"abcdefg",
    b"abcdefgh",
    b"abcdefgh-",
    b"-abcdefg",
    b"ABCDEFGH-secret",
    b"'",
    b"' OR '1'='1",
    b"abcdefgh-' OR '1'='1",
    b"abcdefg'-secret",
    b"\\",
    b"abcdefg\\-secret",
    b"%{user}",
    b"%{password}-%{password}",
    b"%s%n%x%d",
    b"\xff\xfe\xfd",
    b"abcdefgh-\xff\xfe",
    "비밀번호비밀번호".encode(),
    b"\r\nx NOOP\r\n",
    b"\t",
    b"x" * LONG,
    b"abcdefgh-" + b"x" * LONG,
)
LOGINS = (
    b"",
    b"'",
    b"' OR ''='",
    b"@",
    b"%{password}",
    b"nobody@example.org",
    b"../../etc/passwd",
    b"\xff\xfe@\xfd",
    "사용자@example.org".encode(),
    b"x" * LONG,
)


def token(claims: dict[str, object], algorithm: str = "RS256") -> bytes:
    """A JSON web token with a made-up signature."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = {"alg": algorithm, "typ": "JWT", "kid": "default"}
    return b".".join((part(json.dumps(head).encode()), part(json.dumps(claims).encode()), part(b"signature" * 8)))


def responses(alice: Person) -> list[tuple[bytes, bytes]]:
    """Mechanism and initial response of every hostile login."""
    login, good = alice.address.encode(), alice.token.encode()
    claims: dict[str, object] = {"iss": "https://id.example.org", "sub": "a", "email": alice.address, "exp": 4102444800}
    arrays = {**claims, "aud": ["mail", "web"], "groups": [["x"]]}
    tokens = (
        b"",
        b"a",
        good,
        token(claims),
        token(arrays),
        token(arrays, "none"),
        token({**claims, "aud": []}),
        b"..",
        b"x" * LONG,
        b"'",
        b"\xff",
    )
    found = [(b"PLAIN", plain(login, password)) for password in PASSWORDS]
    found += [(b"PLAIN", plain(name, good)) for name in LOGINS]
    found += [(b"PLAIN", plain(login + quote, good)) for quote in (b"'", b"'--", b"\\", b"%00", b" ")]
    found += [
        (b"PLAIN", b""),
        (b"PLAIN", b"\0"),
        (b"PLAIN", b"\0\0\0\0"),
        (b"PLAIN", login),
        (b"PLAIN", plain(login, good + b"\0rest")),
        (b"PLAIN", plain(login, good[:12] + b"\0" + good[12:])),
        (b"PLAIN", b"operator@example.org" + plain(login, b"abcdefgh-secret")),
        (b"CRAM-MD5", login + b" 0123456789abcdef0123456789abcdef"),
        (b"EXTERNAL", login),
        (b"ANONYMOUS", b""),
        (b"NTLM", b"NTLMSSP\0\1"),
        (b"X" * 64, login),
    ]
    for bearer in tokens:
        found.append((b"XOAUTH2", b"user=" + login + b"\1auth=Bearer " + bearer + b"\1\1"))
        found.append((b"OAUTHBEARER", b"n,a=" + login + b",\1auth=Bearer " + bearer + b"\1\1"))
    return [*found, (b"XOAUTH2", b""), (b"XOAUTH2", b"\1\1"), (b"OAUTHBEARER", b"\1" * LONG)]


def assault(site: Site, port: int, alice: Person) -> list[str]:
    """Try everything on one port; returns what was answered wrongly."""
    wrong = []
    for mechanism, response in responses(alice):
        with Dialogue(site, port).secure() as talk:
            answer = talk.authenticate(mechanism, response)
            if answer.startswith((b"+", b"334")) and not accepted(port, answer):  # asked for more: give nothing
                talk.socket.sendall(b"*\r\n")
                answer = talk.answer()
        cut_off = answer == CUT_OFF and len(response) >= LONG
        if accepted(port, answer) or broken(answer) or (not answer and not cut_off):
            wrong.append(f"{port} {mechanism!r} {response[:60]!r}: {answer!r}")
    return wrong


def other_commands(site: Site, alice: Person) -> list[str]:
    """The older login commands, which take the password as it is."""
    wrong = []

    def judge(port: int, password: bytes, answer: bytes) -> None:
        if accepted(port, answer) or broken(answer):
            wrong.append(f"{port} {password[:60]!r}: {answer!r}")

    login = alice.address.encode()
    for password in (b"", b"a", b"abcdefg", b"'", b"a\0b", b"abcdefgh-\0", b"\xff\xfe", b"x" * LONG):
        with Dialogue(site, IMAPS) as talk:
            talk.socket.sendall(b"x LOGIN %s {%d+}\r\n%s\r\n" % (login, len(password), password))
            judge(IMAPS, password, talk.answer())
        with Dialogue(site, POP3S) as talk:
            talk.say(b"USER " + login)
            judge(POP3S, password, talk.say(b"PASS " + password))
        for port in (SUBMISSION, SUBMISSIONS):
            with Dialogue(site, port).secure() as talk:
                talk.say(b"AUTH LOGIN")
                talk.say(base64.b64encode(login))
                judge(port, password, talk.say(base64.b64encode(password)))
        with Dialogue(site, SUBMISSIONS).secure() as talk:
            judge(SUBMISSIONS, password, talk.say(b"AUTH PLAIN not*base64" + password[:20].replace(b"\0", b"")))
    return wrong


def test_every_hostile_login_is_refused_and_nothing_breaks(site: Site, alice: Person) -> None:
    delay = site.machine.run("doveconf -h auth_failure_delay").stdout.split()[0]
    assert delay == "0", f"each refusal takes {delay} s here: set mailbox_auth_failure_delay: 0 for a machine of tests"
    before = health(site)
    with ThreadPoolExecutor(len(LOGIN_PORTS) + 1) as pool:
        attacks = [pool.submit(assault, site, port, alice) for port in LOGIN_PORTS]
        attacks.append(pool.submit(other_commands, site, alice))
        wrong = [line for attack in attacks for line in attack.result()]
    assert wrong == []

    after = health(site)
    assert after.processes == before.processes, "a service died or was restarted"
    assert all("ActiveState=active" in shown for shown in after.processes.values())
    logged = journal(site, before)
    signs = re.compile(r"panic|signal (11|6)|core dumped|segfault|fatal:|Length out of bounds|syntax error", re.I)
    assert [line for line in logged.splitlines() if signs.search(line)] == []

    for port in LOGIN_PORTS:
        with Dialogue(site, port).secure() as talk:
            answer = talk.authenticate(b"PLAIN", plain(alice.address.encode(), alice.token.encode()))
            assert accepted(port, answer), (port, answer)


def test_hostile_envelope(site: Site, bob: Person) -> None:
    """Addresses go into SQL as well."""
    before = health(site)
    domain = site.domain.encode()
    for sender in (b"a'b@example.org", b'"a\'; DROP TABLE x; --"@example.org', b"a\\@example.org"):
        with Dialogue(site, SMTP) as talk:
            talk.say(b"EHLO client.example.org")
            talk.say(b"MAIL FROM:<%s>" % sender)
            for name in (b"o'brien", b"' OR '1'='1", b'"x\' OR 1=1 --"', b"%s", b"\\", b"\xff\xfe", b"x" * 300):
                answer = talk.say(b"RCPT TO:<%s@%s>" % (name, domain))
                assert answer[:1] == b"5", (name, answer)
            assert talk.say(b"RCPT TO:<%s>" % bob.address.encode()).startswith(b"250")
    assert health(site).processes == before.processes
    assert "syntax error" not in journal(site, before)


def test_the_database_sees_no_password(site: Site, alice: Person) -> None:
    """Somebody types the password of the portal into a mail program: it must not end in a statement, nor in its log."""
    statements = "runuser -u postgres -- psql -XAtqc \"SELECT query FROM pg_stat_activity WHERE usename = 'dovecot'\""
    for typed, seen in ((b"Mountain-River-7421", "rtrim('', "), (b"abcdefgh-more", "rtrim('abcdefgh-', ")):
        with Dialogue(site, IMAPS) as talk:
            talk.authenticate(b"PLAIN", plain(alice.address.encode(), typed))
        asked = site.machine.run(statements).stdout
        assert seen in asked
        assert "Mountain" not in asked
        assert "more" not in asked
