"""What each source's lines say: lines as the services of a deployed host wrote them, forged ones, and noise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.ledger import DETAIL_KEYS
from sensmail.records.collector.found import Act, Kind, Refused
from sensmail.records.collector.parsers import clamav, dovecot, nginx, pgaudit, postfix, rspamd, sshd, sudo

IP, CLERK = "198.18.3.1", "clerk@sensmail.test"


def event(name: str, **fields: str) -> str:
    return "stats: " + json.dumps({"event": name, "hostname": "mail", "categories": ["auth"], "fields": fields})


LOGIN = {"original_user": CLERK, "remote_ip": IP, "protocol": "imap", "session": "5CgzgBFh", "mechanism": "PLAIN"}
SCAN = "(rspamd_proxy) <e6725c>; proxy; rspamd_task_write_log: sensmail ip: 198.18.3.1, "
REQUEST = {"addr": IP, "method": "GET", "path": "/accounts/login/", "status": 200, "agent": "Mozilla/5.0"}
ACTS: list[tuple[Any, str, Act]] = [
    (sshd, f"Accepted publickey for kim from {IP} port 53870 ssh2: ED25519 SHA256:DeHBto",
     Act("ssh.login", "administration", "kim", Kind.HOST, IP, detail={"method": "publickey"})),
    (sshd, f"Failed password for invalid user my pass from {IP} port 5 ssh2",
     Act("ssh.login", "administration", "my pass", Kind.HOST, IP, outcome="refused", detail={"method": "password"})),
    (sshd, f"Invalid user nobodyhere from {IP} port 53886",
     Act("ssh.login", "administration", "nobodyhere", Kind.HOST, IP, outcome="refused")),
    (sshd, "pam_unix(sshd:session): session closed for user kim",
     Act("ssh.logout", "administration", "kim", Kind.HOST)),
    # a name that looks like the rest of the line
    (sshd, f"Failed password for invalid user x from 9.9.9.9 port 1 ssh2: y from {IP} port 5 ssh2",
     Act("ssh.login", "administration", "x from 9.9.9.9 port 1 ssh2: y", Kind.HOST, IP, outcome="refused",
         detail={"method": "password"})),
    (sudo, "     kim : PWD=/home/kim ; USER=root ; COMMAND=/usr/bin/mysql --password=hunter2",
     Act("sudo.run", "administration", "kim", Kind.HOST, detail={"command": "mysql", "target": "root"})),
    (sudo, "kim : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id",
     Act("sudo.run", "administration", "kim", Kind.HOST, outcome="refused",
         detail={"command": "id", "target": "root"})),
    (sudo, "kim : PWD=/tmp/a ; COMMAND=b ; USER=root ; COMMAND=/usr/bin/id",
     Act("sudo.run", "administration", "kim", Kind.HOST, detail={"command": "?", "target": "?"})),
    (sudo, "kim : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=hunter2",
     Act("sudo.run", "administration", "kim", Kind.HOST, detail={"command": "?", "target": "root"})),
    (dovecot, event("auth_request_finished", **LOGIN, success="yes", client_id='"name" "Thunderbird" "version" "140"'),
     Act("imap.login", "mail", CLERK, Kind.MAIL, IP, "Thunderbird 140",
         detail={"method": "PLAIN", "session": "5CgzgBFh"})),
    (dovecot, event("auth_request_finished", **LOGIN | {"protocol": "sieve", "remote_ip": "::ffff:192.0.2.1"}),
     Act("sieve.login", "mail", CLERK, Kind.MAIL, "192.0.2.1", outcome="refused",
         detail={"method": "PLAIN", "session": "5CgzgBFh"})),
    (dovecot, event("imap_id_received", user=CLERK, remote_ip=IP, session="s", id_param_name="Apple Mail"),
     Act("imap.client", "mail", CLERK, Kind.MAIL, IP, "Apple Mail", detail={"session": "s"})),
    (dovecot, f"imap({CLERK})<10236><dHU0><{IP}>: Disconnected: Logged out in=56 out=2344 deleted=0 expunged=2 "
     "trashed=0 hdr_count=0 hdr_bytes=0 body_count=1 body_bytes=1380",
     Act("imap.logout", "mail", CLERK, Kind.MAIL, IP,
         detail={"bytes": 2344, "deleted": 2, "read": 1, "session": "dHU0"})),
    (dovecot, f"pop3({CLERK})<1><s><{IP}>: Disconnected: Logged out top=0/0, retr=3/900, del=1/4, size=1200",
     Act("pop3.logout", "mail", CLERK, Kind.MAIL, IP, detail={"read": 3, "bytes": 900, "deleted": 1, "session": "s"})),
    (dovecot, f"managesieve({CLERK})<1><s><{IP}>: Disconnected: Logged out bytes=10/20",
     Act("sieve.logout", "mail", CLERK, Kind.MAIL, IP, detail={"bytes": 20, "session": "s"})),
    (postfix, f"4jZ4xn4tJZzHby5: client=unknown[{IP}], sasl_method=PLAIN, sasl_username={CLERK}",
     Act("mail.submit", "mail", CLERK, Kind.MAIL, IP, detail={"message": "4jZ4xn4tJZzHby5"})),
    (postfix, f"NOQUEUE: reject: RCPT from unknown[{IP}]: 553 5.7.1 <other@example.org>: Sender address rejected; "
     f"from=<other@example.org> to=<m@sensmail.test> proto=ESMTP helo=<a> sasl_method=PLAIN sasl_username={CLERK}",
     Act("mail.submit", "mail", CLERK, Kind.MAIL, IP, outcome="refused", detail={"code": "553"})),
    (postfix, f"4jZ4xn4tJZzHby5: to=<{CLERK}>, orig_to=<info@sensmail.test>, "
     "relay=mx.sensmail.test[private/dovecot-lmtp], delay=0.23, delays=0.19/0.01/0.02/0.02, "
     "dsn=2.0.0, status=sent (250 2.0.0 <x> QgVu Saved)",
     Act("mail.receive", "mail", CLERK, Kind.MAIL, detail={"message": "4jZ4xn4tJZzHby5"})),
    (rspamd, SCAN + f"user: {CLERK}, qid: 4jZ4zT, action: reject, scores: -0.10/15.00, symbols: MIME_GOOD,CLAM_VIRUS, "
     "len: 354, rcpts: a@sensmail.test,b@example.org",
     Act("mail.scan", "mail", CLERK, Kind.MAIL, IP, outcome="refused",
         detail={"message": "4jZ4zT", "verdict": "malware", "count": 2})),
    (rspamd, SCAN + "qid: 4jZ4zT, action: soft reject, scores: 0/15, symbols: X, len: 3, rcpts: a@sensmail.test",
     Act("mail.scan", "mail", "", Kind.NOBODY, IP, outcome="failed",
         detail={"message": "4jZ4zT", "verdict": "soft reject", "count": 1})),
    (clamav, "instream(local): Sensmail.Eicar-Test-File.UNOFFICIAL(5411f415441a99d8801d307b45cc085c:354) FOUND",
     Act("malware.found", "malware", outcome="refused", detail={"verdict": "Sensmail.Eicar-Test-File.UNOFFICIAL"})),
    (nginx, "sensmail:" + json.dumps(REQUEST),
     Act("web.request", "web", origin=IP, client="Mozilla/5.0",
         detail={"method": "GET", "path": "/accounts/login/", "code": 200})),
    (nginx, "sensmail:" + json.dumps(REQUEST | {"path": "/reset/key/3-d9f2a1/?next=x", "status": 404}),
     Act("web.request", "web", origin=IP, client="Mozilla/5.0", outcome="refused",
         detail={"method": "GET", "path": "/reset/key/*/", "code": 404})),
    (pgaudit, "[1] postgres@sensmail [local] LOG:  AUDIT: OBJECT,1,1,READ,SELECT,TABLE,accounts.subject,"
     "<not logged>,<not logged>",
     Act("data.read", "unknown", "postgres", Kind.ROLE, "local",
         detail={"table": "accounts.subject", "command": "SELECT"})),
]  # fmt: skip
NOTHING = [
    (sshd, "Connection closed by 198.18.3.1 port 4 [preauth]"),
    (sudo, "pam_unix(sudo:session): session opened for user root(uid=0) by kim(uid=1000)"),
    (dovecot, event("imap_id_received", remote_ip=IP, id_param_name="Thunderbird")),
    (dovecot, event("auth_request_finished", **LOGIN | {"protocol": "doveadm"})),
    (dovecot, f"imap-login: Logged in: user=<{CLERK}>, method=PLAIN, rip={IP}, mpid=1, TLS, session=<x>"),
    # a stranger whose greeting looks like the end of an account's line
    (postfix, f"NOQUEUE: reject: RCPT from unknown[{IP}]: 550 x; from=<a> to=<b> proto=ESMTP "
     f"helo=<x> sasl_method=PLAIN sasl_username={CLERK}>"),
    (postfix, f"4jZ4xp1S2KzHbyV: client=unknown[{IP}]"),
    (postfix, f"4jZ4xn4tJZzHby5: to=<{CLERK}>, relay=mx.sensmail.test[private/dovecot-lmtp], delay=0.23, "
     "delays=0.19/0.01/0.02/0.02, dsn=4.0.0, status=deferred (x)"),
    (rspamd, SCAN + "qid: 4jZ4zT, action: no action, scores: 0/15, symbols: X, len: 3, rcpts: a@sensmail.test"),
    (clamav, "instream(local): OK"),
    (nginx, "2026/11/25 03:00:00 [crit] 1#1: no"),
    (pgaudit, "[1] dovecot@sensmail [local] LOG:  connection authorized: user=dovecot database=sensmail"),
]  # fmt: skip
MALFORMED = [
    (sshd, "Accepted publickey for kim from nowhere port 53870 ssh2"),
    (sshd, "Failed password"),
    (sshd, "Accepted "),
    (sudo, "COMMAND=x"),
    (dovecot, 'stats: {"event":"auth_request_finished","fields":{"remote_ip":'),
    (dovecot, event("auth_request_finished", **LOGIN | {"remote_ip": "localhost"})),
    (postfix, f"4jZ4xn4tJZzHby5: client=unknown[unknown], sasl_method=PLAIN, sasl_username={CLERK}"),
    (postfix, "4jZ4xn4tJZzHby5: to=<a@b>, relay=x[private/dovecot-lmtp], status=sent"),
    (rspamd, SCAN + "qid: x"),
    (clamav, "  FOUND"),
    (nginx, "sensmail:{"),
    (nginx, "sensmail:" + json.dumps(REQUEST | {"addr": "evil"})),
    (pgaudit, "postgres@sensmail [local] LOG:  AUDIT: SESSION,1"),
]
PARSERS = (clamav, dovecot, nginx, pgaudit, postfix, rspamd, sshd, sudo)


@pytest.mark.parametrize(("source", "message", "act"), ACTS)
def test_a_line_says_who_did_what(source: Any, message: str, act: Act) -> None:
    assert source.parse(message) == act
    assert act.detail.keys() <= DETAIL_KEYS


@pytest.mark.parametrize(("source", "message"), NOTHING)
def test_other_lines_say_nothing(source: Any, message: str) -> None:
    assert source.parse(message) is None


@pytest.mark.parametrize(("source", "message"), MALFORMED)
def test_a_malformed_line_is_refused_without_being_quoted(source: Any, message: str) -> None:
    found = source.parse(message)
    assert isinstance(found, Refused)
    assert IP not in found.reason
    assert CLERK not in found.reason


FRAGMENTS = st.sampled_from([part for _, text, *_ in [*ACTS, *NOTHING] for part in text.split(" ")] + [IP, "\n", "\0"])
MESSAGES = st.one_of(
    st.text(),
    st.lists(FRAGMENTS | st.text(max_size=8), max_size=40).map(" ".join),
    st.tuples(
        st.sampled_from([text for _, text, *_ in [*ACTS, *NOTHING]]), st.integers(0, 300), st.text(max_size=5)
    ).map(lambda given: given[0][: given[1]] + given[2] + given[0][given[1] :]),
)


@pytest.mark.parametrize("source", PARSERS)
@given(message=MESSAGES)
def test_no_line_stops_a_parser(source: Any, message: str) -> None:
    found = source.parse(message)
    assert found is None or isinstance(found, Act | Refused)
    if isinstance(found, Act):
        assert found.detail.keys() <= DETAIL_KEYS
        assert all(isinstance(each, str | int) for each in found.detail.values())


def test_a_hostile_line_takes_no_time() -> None:
    hostile = ["Failed x for " + " from a port 1 ssh2" * 150, "NOQUEUE: reject: RCPT from a[1]: 550 "
               + " proto=ESMTP helo=<x> sasl_method=a sasl_username=" * 60, "a : PWD=" + "x ; " * 900 + "COMMAND=/a",
               "imap(a)<1><s><1.1.1.1>: " + " in=1 out=1 deleted=1 expunged=1 " * 100]  # fmt: skip
    for message in hostile:
        for source in PARSERS:
            source.parse(message)
