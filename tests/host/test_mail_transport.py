"""Postfix on the host: whose it is, what it runs, what it says about itself."""

from __future__ import annotations

import pytest
from testinfra.host import Host


def test_runs_and_comes_back_after_a_reboot(host: Host) -> None:
    service = host.service("postfix")
    assert service.is_running
    assert service.is_enabled


def test_accepts_its_configuration(host: Host) -> None:
    """Unknown parameters, unused ones and services are only warnings to Postfix; here they are faults."""
    done = host.run("postfix check && postconf -n >/dev/null && postconf -M >/dev/null")
    assert (done.rc, done.stdout + done.stderr) == (0, "")


def test_doors(host: Host) -> None:
    listening = host.check_output("ss -Hltnp | awk '/master/ {sub(/.*:/, \"\", $4); print $4}' | sort -nu").split()
    assert listening == ["25", "465", "587"]


def test_nobody_but_postfix_reads_how_it_asks_the_database(host: Host) -> None:
    assert host.check_output("stat -c '%U:%G %a' /etc/postfix/sql/*.cf | sort -u") == "root:postfix 640"


def test_every_look_up_answers(host: Host) -> None:
    """A typing error in one would put off all mail."""
    for name in host.check_output("ls /etc/postfix/sql").split():
        done = host.run("runuser -u postfix -- postmap -q nobody@example.org pgsql:/etc/postfix/sql/%s", name)
        assert (done.rc, done.stderr) == (1, ""), name


def test_a_fault_of_the_database_is_over_when_it_is_over(host: Host) -> None:
    """By default all mail would stand still for a minute more."""
    assert host.check_output("grep -L '^retry_interval = 1$' /etc/postfix/sql/*.cf || true") == ""


def test_filter_scans_all_that_is_accepted(host: Host) -> None:
    accepted = int(host.check_output("postconf -h message_size_limit"))
    scanned = host.check_output("rspamadm configdump -j options | tr -d ' \\n' | grep -oP '\"max_message\":\\K[0-9]+'")
    streamed = host.check_output("clamconf | awk '$1 == \"StreamMaxLength\" {print $3; exit}'").strip('"')
    assert 0 < accepted < int(scanned) < int(streamed)


@pytest.mark.parametrize("name", ["mydestination", "alias_maps"])
def test_no_system_account_gets_mail(host: Host, name: str) -> None:
    assert host.check_output("postconf -h %s", name) == ""
