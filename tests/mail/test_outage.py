"""What cannot be filtered waits with its sender; nothing passes unscanned."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mail.clients import STRANGER, deliver, find, letter
from mail.conftest import wait_for_filter
from mail.site_under_test import Person, Site


@contextmanager
def stopped(site: Site, *units: str) -> Iterator[None]:
    names = " ".join(units)
    site.machine.run(f"systemctl stop {names}")
    try:
        yield
    finally:
        site.machine.run(f"systemctl start {names}")


def test_scanner_down(site: Site, bob: Person) -> None:
    with stopped(site, "clamav-daemon.socket", "clamav-daemon.service"):
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            deliver(site, letter(STRANGER, bob.address))
        assert refusal.value.smtp_code == 451
    message = letter(STRANGER, bob.address)
    deliver(site, message)
    find(site, bob, message["Subject"])


def test_filter_down(site: Site, bob: Person) -> None:
    with stopped(site, "rspamd.service"):
        with pytest.raises(smtplib.SMTPException) as refusal:
            deliver(site, letter(STRANGER, bob.address))
        assert "451" in str(refusal.value)
    wait_for_filter(site)
