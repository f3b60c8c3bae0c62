"""Rspamd, ClamAV and their memory on the host: who reaches them, where the keys are."""

from __future__ import annotations

import shlex

import pytest
from testinfra.host import Host

UNITS = ("rspamd.service", "clamav-daemon.service", "valkey-server@rspamd.service")


@pytest.mark.parametrize("unit", UNITS)
def test_runs_and_comes_back_after_a_reboot(host: Host, unit: str) -> None:
    service = host.service(unit)
    assert service.is_running
    assert service.is_enabled


def test_default_memory_is_off(host: Host) -> None:
    """The package's own instance would listen on TCP."""
    assert not host.service("valkey-server.service").is_running


def test_nothing_listens_on_the_network(host: Host) -> None:
    assert host.run("ss -Hltnp | grep -E 'rspamd|clamd|valkey'").stdout == ""


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("/run/rspamd/controller.sock", "_rspamd:_rspamd 600"),
        ("/run/clamav/clamd.ctl", "clamav:_rspamd 660"),
        ("/run/valkey-rspamd", "valkey:_rspamd 2750"),
        ("/var/spool/postfix/rspamd", "_rspamd:postfix 750"),
        ("/var/lib/sensmail/dkim", "root:_rspamd 750"),
    ],
)
def test_who_reaches_what(host: Host, path: str, who: str) -> None:
    assert host.check_output("stat -c '%%U:%%G %%a' %s", path) == who


def test_keys(host: Host) -> None:
    """2048 bits for each domain, which Rspamd reads and cannot write, and the record that belongs to it."""
    keys = host.check_output("ls /var/lib/sensmail/dkim").split()
    domains = host.check_output("postconf -h virtual_mailbox_domains").split()
    assert keys
    for domain in domains:
        record = host.file(f"/var/lib/sensmail/dns/dkim-{domain}.txt")
        assert record.mode == 0o644
        selector = record.content_string.partition(".")[0]
        key = f"/var/lib/sensmail/dkim/{domain}.{selector}.key"
        assert host.check_output("stat -c '%%U:%%G %%a' %s", key) == "root:_rspamd 640"
        assert "2048 bit" in host.check_output("openssl pkey -noout -text -in %s | head -1", key)
        public = host.check_output("openssl pkey -pubout -in %s | grep -v -e ----- | tr -d '\\n'", key)
        published = "".join(record.content_string.split('"')[1::2])
        assert published == f"v=DKIM1; k=rsa; p={public}"
        assert all(len(text) <= 255 for text in record.content_string.split('"')[1::2])


def test_a_second_run_keeps_the_keys(host: Host) -> None:
    before = host.check_output("cat /var/lib/sensmail/dkim/* /var/lib/sensmail/dns/dkim-*")
    host.check_output("systemctl start sensmail-dkim.service")
    assert host.check_output("cat /var/lib/sensmail/dkim/* /var/lib/sensmail/dns/dkim-*") == before


def test_the_unit_that_makes_keys_is_shut_in(host: Host) -> None:
    exposure = host.run("systemd-analyze security --threshold=20 sensmail-dkim.service")
    assert exposure.rc == 0, exposure.stdout[-200:]


def test_accepts_its_configuration(host: Host) -> None:
    assert host.run("rspamadm configtest --quiet").rc == 0


def test_tells_nobody_abroad(host: Host) -> None:
    for module in ("fuzzy_check", "url_redirector", "asn", "history_redis"):
        assert '"enabled":false' in host.check_output("rspamadm configdump -j %s | tr -d ' \\n'", module), module


@pytest.mark.parametrize(
    ("origin", "signed"),
    [("--user someone@{0}", True), ("--ip 127.0.0.1", True), ("--ip 203.0.113.9", False), ("--ip 10.1.2.3", False)],
)
def test_who_gets_our_signature(host: Host, origin: str, signed: bool) -> None:
    """Rspamd's own default trusts every private network, and would sign what it sends in our name."""
    domain = host.check_output("postconf -h mydomain")
    mail = f"From: someone@{domain}\nTo: a@example.org\nSubject: x\nMessage-ID: <1@{domain}>\n\nx\n"
    scan = f"rspamc -h /run/rspamd/controller.sock --from someone@{domain} {origin.format(domain)} symbols"
    assert ("DKIM_SIGNED" in host.check_output(f"printf %s {shlex.quote(mail)} | {scan}")) is signed


def test_scanner_has_signatures(host: Host) -> None:
    """One of ours, or the public ones; an empty scanner would find every mail clean."""
    files = host.check_output("ls /var/lib/clamav").split()
    assert [name for name in files if name.endswith((".cvd", ".cld", ".ndb", ".hdb"))]
