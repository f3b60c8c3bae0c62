"""Dovecot on the host: what it runs, whose the mail is, who may ask what."""

from __future__ import annotations

from testinfra.host import Host


def test_runs_and_comes_back_after_a_reboot(host: Host) -> None:
    service = host.service("dovecot")
    assert service.is_running
    assert service.is_enabled


def test_no_other_way_to_start_it(host: Host) -> None:
    """The package's socket would open port 143."""
    assert host.check_output("systemctl is-enabled dovecot.socket || true") == "masked"


def test_accepts_its_configuration(host: Host) -> None:
    done = host.run("doveconf -n")
    assert (done.rc, done.stderr) == (0, "")


def test_limits_fit_together(host: Host) -> None:
    """Dovecot warns at its start where one service is limited below what others may ask of it."""
    logged = host.check_output(
        "journalctl --no-pager -q -u dovecot --boot -n 2000 | grep -c 'is lower than required' || true"
    )
    assert logged == "0"


def test_doors(host: Host) -> None:
    listening = host.check_output("ss -Hltnp | awk '/dovecot/ {sub(/.*:/, \"\", $4); print $4}' | sort -nu").split()
    assert listening == ["993", "995", "4190"]


def test_mail_belongs_to_its_own_account(host: Host) -> None:
    store = host.file("/var/vmail")
    assert (store.user, store.group, store.mode) == ("vmail", "vmail", 0o700)
    assert host.user("vmail").shell == "/usr/sbin/nologin"
    assert host.check_output("find /var/vmail -not -user vmail") == ""


def test_only_postfix_may_ask_for_logins_and_deliver(host: Host) -> None:
    sockets = "/var/spool/postfix/private/"
    for name in ("auth", "dovecot-lmtp", "quota-status"):
        assert host.check_output("stat -c '%%U %%a' %s", sockets + name) == "postfix 600", name


def test_mechanisms(host: Host) -> None:
    """Tokens come later; until then a mechanism without a password must not exist."""
    listed = host.check_output("doveconf -h auth_mechanisms").splitlines()
    assert sorted(line.strip() for line in listed) == ["login = yes", "plain = yes"]
