"""The mail site under test: its names, its certificate authority, and people with mailboxes made for this run."""

from __future__ import annotations

import json
import secrets
import shlex
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from machine import Machine

SENSMAIL = "/opt/sensmail/current/bin/sensmail"
ALL = "imap pop3 sieve smtp"

# A mailbox needs a tenant to whom its domain belongs.
ADOPT = """
from sensmail import accounts
from sensmail.store import connect
with connect(accounts.ROLE) as session:
    if not session.execute("SELECT 1 FROM accounts.domain WHERE name = '{domain}'").fetchone():
        accounts.ensure(session, accounts.wanted(tenants=[{{"name": "test", "domains": ["{domain}"]}}]))
"""


@dataclass(frozen=True)
class Site:
    """A deployed site, as a mail program sees it.

    Attributes:
        machine: where it runs.
        hostname: the name in its certificate.
        domain: its mail domain.
        operator: who gets the mail to postmaster.
        ca: the certificate authority to trust, PEM.
    """

    machine: Machine
    hostname: str
    domain: str
    operator: str
    ca: str

    @property
    def tls(self) -> ssl.SSLContext:
        """What a careful mail program does: verify chain and name."""
        return ssl.create_default_context(cadata=self.ca)


@dataclass(frozen=True)
class Person:
    """A mailbox with its app passwords by label."""

    address: str
    tokens: dict[str, str] = field(repr=False)

    @property
    def token(self) -> str:
        return self.tokens["all"]


def look(machine: Machine) -> Site:
    """Read the names from the machine itself."""
    command = (
        "postconf -h myhostname mydomain; awk '/^postmaster@/ {print $2; exit}' /etc/postfix/operator_aliases;"
        " cat /etc/sensmail/tls/ca.pem"
    )
    hostname, domain, operator, *ca = machine.run(command).stdout.splitlines()
    return Site(machine, hostname, domain, operator, "\n".join(ca) + "\n")


@contextmanager
def reached(machine: Machine) -> Iterator[Site]:
    """The site; inside, its name resolves to the machine's address, so that its certificate can be verified."""
    found, real = look(machine), socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return real(machine.address if host == found.hostname else host, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield found


def make_people(site: Site, wanted: dict[str, tuple[str, dict[str, str]]]) -> dict[str, Person]:
    """Make mailboxes by the operator's command, all in one SSH session.

    Args:
        site: where.
        wanted: by a name for the tests: options of `account add`, and scopes of the app passwords by label. The
            operator's mailbox keeps its address; every other one is new with each run.
    """
    run = secrets.token_hex(3)
    addresses = {name: site.operator if name == "operator" else f"{name}-{run}@{site.domain}" for name in wanted}
    script = ["set -e", f"/opt/sensmail/current/bin/python -c {shlex.quote(ADOPT.format(domain=site.domain))}"]
    for name, (options, scopes) in wanted.items():
        address = shlex.quote(addresses[name])
        script.append(f"{SENSMAIL} account add {address} {options} >/dev/null")
        for label, scope in scopes.items():
            issue = f"{SENSMAIL} account app-password issue {address} --label {label}-{run} --scope {scope}"
            script.append(f'token=$({issue}); echo "{name} {label} $token"')
    tokens: dict[str, dict[str, str]] = {name: {} for name in wanted}
    for line in site.machine.run("\n".join(script)).stdout.splitlines():
        name, label, token = line.split()
        tokens[name][label] = token
    return {name: Person(addresses[name], tokens[name]) for name in wanted}


def give_account_password(site: Site, person: Person, password: str) -> None:
    """Set the password that opens the portal, as the portal will."""
    hashing = f"from sensmail.accounts.password import digest; print(digest({password!r}))"
    digest = site.machine.run(f"/opt/sensmail/current/bin/python -c {shlex.quote(hashing)}").stdout.strip()
    statement = f"UPDATE accounts.subject SET password_hash = '{digest}' WHERE address = '{person.address}' RETURNING 1"
    done = site.machine.run(f"runuser -u postgres -- psql -XAtq sensmail -c {shlex.quote(statement)}")
    assert done.stdout.strip() == "1"


@dataclass(frozen=True)
class Health:
    """Which processes run, and where the journal stands."""

    processes: dict[str, str]
    cursor: str


UNITS = (
    "postfix.service",
    "dovecot.service",
    "rspamd.service",
    "clamav-daemon.service",
    "valkey-server@rspamd.service",
)


def health(site: Site) -> Health:
    """Take stock before something hostile."""
    shown = site.machine.run(f"systemctl show -p Id,ActiveState,MainPID,NRestarts {' '.join(UNITS)}").stdout
    processes = {block.split("Id=")[1].split("\n")[0]: block for block in shown.strip().split("\n\n")}
    cursor = json.loads(site.machine.run("journalctl -n1 -o json").stdout)["__CURSOR"]
    return Health(processes, cursor)


def journal(site: Site, since: Health) -> str:
    """What was logged since, without sshd."""
    return site.machine.run(f"journalctl --no-pager -o short --after-cursor={shlex.quote(since.cursor)}").stdout
