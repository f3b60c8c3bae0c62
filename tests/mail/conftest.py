"""One site and a few people for all end-to-end tests. The certificate's name resolves to the machine's address here."""

from __future__ import annotations

import contextlib
import smtplib
import time
from collections.abc import Iterator

import pytest

from machine import Machine
from mail.site_under_test import ALL, Person, Site, make_people, reached

PEOPLE = {
    "alice": ("", {"all": ALL, "imap": "imap", "pop3": "pop3", "sieve": "sieve", "smtp": "smtp"}),
    "bob": ("", {"all": ALL}),
    "full": ("--quota 100K", {"all": "imap"}),
    "slow": ("--send-limit 3", {"all": "smtp"}),
    "mute": ("--send-limit 0", {"all": "smtp"}),
    "operator": ("", {"all": ALL}),
}
READY_S = 60  # Rspamd compiles its patterns at its first start


@pytest.fixture(scope="session")
def site(machine: Machine) -> Iterator[Site]:
    with reached(machine) as found:
        wait_for_filter(found)
        yield found


def wait_for_filter(site: Site) -> None:
    """Until Postfix answers with more than «try again later», which is right while its filter starts."""
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP(site.hostname, 25, timeout=10) as client:
            if client.ehlo("client.example.org")[0] == 250 and client.mail("a@example.org")[0] == 250:
                return
        assert time.monotonic() < deadline, f"{site.hostname} does not take mail on port 25 after {READY_S} s"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def people(site: Site) -> dict[str, Person]:
    return make_people(site, PEOPLE)


@pytest.fixture(scope="session")
def alice(people: dict[str, Person]) -> Person:
    return people["alice"]


@pytest.fixture(scope="session")
def bob(people: dict[str, Person]) -> Person:
    return people["bob"]
