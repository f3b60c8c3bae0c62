"""The host asks its own resolver, which answers nobody else."""

from __future__ import annotations

import re
import time

from testinfra.host import Host


def lookup(host: Host, name: str) -> tuple[int, float]:
    """Exit code and seconds of a look-up of the name."""
    start = time.monotonic()
    code = host.run("getent ahostsv4 %s", name).rc
    return code, time.monotonic() - start


def test_the_host_asks_here(host: Host) -> None:
    servers = re.findall(r"^nameserver (\S+)", host.file("/etc/resolv.conf").content_string, re.MULTILINE)
    assert servers == ["127.0.0.1"]
    assert host.service("unbound").is_running
    assert host.service("unbound").is_enabled


def test_nobody_else_is_answered(host: Host) -> None:
    sockets = host.check_output("ss -Hlntu sport = :53").splitlines()
    listening = {line.split()[4].rpartition(":")[0].partition("%")[0] for line in sockets}
    assert listening
    assert listening <= {"127.0.0.1", "[::1]"}


def test_records_of_other_roles_are_answered(host: Host) -> None:
    record = "/etc/unbound/sensmail.d/test.conf"
    host.check_output(f"echo \"local-data: 'box.sensmail.test. 60 IN A 192.0.2.77'\" > {record}")
    try:
        host.check_output("systemctl reload-or-restart unbound")
        assert "192.0.2.77" in host.check_output("getent ahostsv4 box.sensmail.test")
    finally:
        host.check_output(f"rm {record} && systemctl reload-or-restart unbound")


def test_what_does_not_exist_is_said_at_once(host: Host) -> None:
    """A mail filter asks dozens of names a message; each that waits delays the mail. Machines have no DNS outside."""
    for name in ("www.debian.org", "zen.spamhaus.org", "no-such-name.sensmail.test"):
        code, seconds = lookup(host, name)
        assert code == 2, name
        assert seconds < 2, name


def test_signatures_are_checked(host: Host) -> None:
    assert "validator" in host.check_output("unbound-checkconf -o module-config")
    assert host.file("/var/lib/unbound/root.key").size > 0


def test_names_that_are_looked_up_are_not_logged(host: Host) -> None:
    word = f"whom-i-write-to-{time.time_ns()}.example"
    lookup(host, word)
    assert word not in host.check_output("journalctl --unit=unbound --no-pager --since=-60s")
