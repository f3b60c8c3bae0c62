"""What every host has: updates, a right clock, a journal that lasts, locales, kernel settings, and failure mails."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

import pytest
from testinfra.host import Host


def test_security_updates_come_by_themselves(host: Host) -> None:
    settings = host.check_output("apt-config dump")
    origins = re.findall(r'Unattended-Upgrade::Origins-Pattern:: "(.*)";', settings)
    assert origins == ["origin=Debian,codename=${distro_codename}-security,label=Debian-Security"]
    for expected in (
        'APT::Periodic::Unattended-Upgrade "1"',
        'DPkg::Options:: "--force-confold"',
        'MailReport "on-change"',
    ):
        assert expected.lower() in settings.lower()
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert host.service(timer).is_enabled
        assert host.service(timer).is_running
    dry = host.run("unattended-upgrade --dry-run --verbose")
    assert dry.rc == 0, dry.stderr
    assert "label=Debian-Security" in dry.stdout + dry.stderr


def test_the_clock_is_watched(host: Host) -> None:
    assert host.service("chrony").is_running
    assert host.service("chrony").is_enabled
    in_container = host.run("systemd-detect-virt --quiet --container").rc == 0
    command = host.check_output("tr '\\0' ' ' < /proc/$(cat /run/chrony/chronyd.pid)/cmdline")
    assert (" -x" in command) is in_container, "a container leaves the clock alone, any other host sets it"


def test_the_journal_outlives_a_restart(host: Host) -> None:
    assert host.check_output("ls /var/log/journal/$(cat /etc/machine-id)/system.journal")
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    wanted = dict(re.findall(r"^(\w+)=(.*)$", settings, re.MULTILINE))
    assert wanted["Storage"] == "persistent"
    assert wanted["MaxRetentionSec"].endswith("day")
    word = f"remember-{uuid.uuid4().hex}"
    host.check_output(f"logger {word} && journalctl --sync && systemctl restart systemd-journald")
    assert word in host.check_output(f"journalctl --directory=/var/log/journal --no-pager -g {word}")


def test_times_and_words_are_korean(host: Host) -> None:
    assert host.check_output("date -d @0 +%z") == "+0900"
    assert {"ko_KR.utf8", "en_US.utf8"} <= set(host.check_output("locale -a").split())
    assert host.check_output("LC_ALL=ko_KR.UTF-8 date -d @0 +%A") == "목요일"


def test_network_settings_are_in_force(host: Host) -> None:
    text = host.file("/etc/sysctl.d/90-sensmail-net.conf").content_string
    wanted = dict(re.findall(r"^([\w.]+) = (\d+)$", text, re.MULTILINE))
    assert len(wanted) > 5
    assert {name: host.check_output(f"sysctl -n {name}") for name in wanted} == wanted


def test_units_of_ours_are_fenced_in(host: Host) -> None:
    for unit in (
        "sensmail-alert@x.service",
        "sensmail-settings.service",
        "sensmail-firewall.service",
        "sensmail-certificate.service",
    ):
        report = json.loads(host.check_output(f"systemd-analyze security --json=short --no-pager {unit}"))
        assert report
        exposure = re.search(
            r"Overall exposure level for \S+: ([\d.]+)", host.run(f"systemd-analyze security --no-pager {unit}").stdout
        )
        assert exposure, unit
        assert float(exposure[1]) <= 2.0, unit


def said(host: Host, source: str, words: str) -> bool:
    """True when the journal has the words within ten seconds."""
    look = f"journalctl --no-pager --output=cat --boot {source} | grep -qF -e '{words}'"
    return bool(host.run(f'timeout 10 sh -c "until {look}; do sleep 0.3; done"').rc == 0)


class Failing:
    """A unit that fails as often as it is started, and says something personal before."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = f"boom-{uuid.uuid4().hex[:8]}.service"
        said = "login of kim@corp.example.kr from 203.0.113.9 failed"
        unit = f'[Service]\\nType=oneshot\\nExecStart=/bin/sh -c "echo {said}; exit 3"\\n'
        host.check_output(f"printf '{unit}' > /run/systemd/system/{self.name}")
        host.check_output("systemctl daemon-reload")

    def fail(self) -> None:
        self.host.run(f"systemctl start {self.name}")

    def alert(self, words: str) -> bool:
        """True when the unit that mails says so, in good time."""
        return said(self.host, f"--unit=sensmail-alert@{self.name}.service", words)


@pytest.fixture
def failing(host: Host) -> Iterator[Failing]:
    unit = Failing(host)
    yield unit
    host.run(f"rm -f /run/systemd/system/{unit.name} /run/sensmail-alert/{unit.name}")
    host.run("systemctl reset-failed; systemctl daemon-reload")


def test_every_unit_reports_its_failure(host: Host) -> None:
    units = host.check_output("systemctl list-units --all --type=service,timer --no-legend --plain").splitlines()
    names = [line.split()[0] for line in units if not line.startswith("sensmail-alert@")]
    shown = host.check_output(
        "systemctl show --property=Id,OnFailure,LoadState " + " ".join(f"'{name}'" for name in names)
    )
    for block in shown.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines())
        if fields["LoadState"] == "loaded":
            assert f"sensmail-alert@{fields['Id']}.service" in fields["OnFailure"].split()


def test_a_failed_unit_is_mailed_to_the_operators(host: Host, failing: Failing) -> None:
    if not host.service("postfix").is_running:
        pytest.skip("no mail system on this host")
    failing.fail()
    assert failing.alert("Finished"), "the mail was handed over"
    operator = re.search(r"--to=(\S+)", host.check_output("systemctl cat sensmail-alert@.service"))
    assert operator
    assert said(host, "--since=-20s SYSLOG_FACILITY=2", f"to=<{operator[1]}>")


@pytest.fixture
def mailed(host: Host, failing: Failing) -> Iterator[str]:
    """Where mails end up that would leave; the directory is seen by the unit that mails alone."""
    place = f"/run/{failing.name}.mail"
    script = f"#!/bin/sh\\ncat >> {place}/out; echo =END= >> {place}/out\\n"
    dropin = f"/run/systemd/system/sensmail-alert@{failing.name}.service.d"
    host.check_output(
        f"mkdir -p {place} {dropin} && printf '{script}' > {place}/sendmail && chmod 755 {place}/sendmail"
    )
    had = host.file("/usr/sbin/sendmail").exists
    if not had:
        host.check_output("touch /usr/sbin/sendmail")
    binds = f"[Service]\\nBindReadOnlyPaths={place}/sendmail:/usr/sbin/sendmail\\nReadWritePaths={place}\\n"
    host.check_output(f"printf '{binds}' > {dropin}/test.conf && systemctl daemon-reload")
    yield f"{place}/out"
    host.run(f"rm -rf {place} {dropin}")
    if not had:
        host.run("rm /usr/sbin/sendmail")


def test_the_mail_says_what_happened_and_nothing_personal(host: Host, failing: Failing, mailed: str) -> None:
    failing.fail()
    assert failing.alert("Finished")
    text = host.file(mailed).content_string
    assert f"{failing.name} failed" in text
    assert "ExecMainStatus=3" in text
    assert "login of <address> from <ip> failed" in text
    assert "kim@corp" not in text
    assert "203.0.113.9" not in text


def test_a_unit_that_fails_again_and_again_sends_one_mail(host: Host, failing: Failing, mailed: str) -> None:
    failing.fail()
    assert failing.alert("Finished")
    failing.fail()
    assert failing.alert("failed again")
    assert host.file(mailed).content_string.count("=END=") == 1


def test_a_mail_that_fails_sends_no_mail(host: Host, failing: Failing, mailed: str) -> None:
    host.check_output(f"printf '#!/bin/sh\\nexit 75\\n' > {mailed.rpartition('/')[0]}/sendmail")
    failing.fail()
    assert failing.alert("could not be sent")
    again = f"--unit=sensmail-alert@sensmail-alert@{failing.name}.service.service"
    assert host.run(f"sleep 2; journalctl --boot --no-pager --quiet {again}").stdout == ""
