"""The database on the host: who gets in, who sees what, and what its log never holds."""

from __future__ import annotations

import secrets

import pytest
from testinfra.host import Host

COMMAND = "psql -X -At -v ON_ERROR_STOP=1 -h /run/postgresql"


def query(host: Host, user: str, statement: str, role: str | None = None) -> tuple[int, str]:
    """Run a statement as a user of the operating system; exit code and output."""
    done = host.run("runuser -u %s -- " + COMMAND + " -d sensmail -U %s -c %s", user, role or user, statement)
    return done.rc, (done.stdout + done.stderr).strip()


def test_listens_on_its_socket_only(host: Host) -> None:
    assert query(host, "postgres", "SHOW listen_addresses") == (0, "")
    assert "postgres" not in host.check_output("ss -Hltnp")


def test_pages_have_checksums(host: Host) -> None:
    assert query(host, "postgres", "SHOW data_checksums") == (0, "on")


@pytest.mark.parametrize(
    ("user", "role"),
    [("nobody", "postgres"), ("nobody", "dovecot"), ("nobody", "nobody"), ("sensmail-jobs", "postgres")],
)
def test_nobody_gets_in_under_another_name(host: Host, user: str, role: str) -> None:
    code, output = query(host, user, "SELECT 1", role)
    assert code == 2
    assert "authentication failed" in output or "no pg_hba.conf entry" in output


def test_nothing_is_trusted(host: Host) -> None:
    methods = query(host, "postgres", "SELECT DISTINCT auth_method FROM pg_hba_file_rules WHERE error IS NULL")
    assert methods == (0, "peer")
    assert query(host, "postgres", "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == (0, "0")
    assert query(host, "postgres", "SELECT count(*) FROM pg_ident_file_mappings WHERE error IS NOT NULL") == (0, "0")


@pytest.mark.parametrize("user", ["dovecot", "postfix"])
def test_mail_services_see_their_views_only(host: Host, user: str) -> None:
    if not host.user(user).exists:
        pytest.skip(f"{user} is not installed on this host")
    assert query(host, user, "SELECT count(*) >= 0 FROM mail.mailbox") == (0, "t")
    for table in ("accounts.subject", "accounts.app_password", "store.migration"):
        code, output = query(host, user, f"SELECT * FROM {table}")
        assert code != 0
        assert "permission denied" in output
    other = {"dovecot": "mail.alias", "postfix": "mail.app_password"}[user]
    code, output = query(host, user, f"SELECT * FROM {other}")
    assert code != 0
    assert "permission denied" in output


def test_nothing_is_pending(host: Host) -> None:
    assert host.check_output("sensmail db migrate --check").startswith("nothing to do")


def test_log_is_in_the_journal_and_quotes_no_row(host: Host) -> None:
    marker = f"marker-{secrets.token_hex(4)}@example.kr"
    statement = f"INSERT INTO accounts.alias VALUES ('{marker}', 'x'), ('{marker}', 'x')"
    assert query(host, "sensmail-jobs", statement)[0] != 0
    log = host.check_output("journalctl -u postgresql@17-main.service --since -1min --no-pager -o cat")
    assert "sensmail-jobs@sensmail [local] ERROR:" in log
    assert marker not in log


def test_account_lives_through_the_command(host: Host) -> None:
    refused = host.run("sensmail account add nobody@unknown.invalid")
    assert refused.rc == 1
    assert "belongs to no tenant" in refused.stderr
    assert host.run("runuser -u nobody -- sensmail account list").rc == 1
    assert host.run("runuser -u sensmail-jobs -- sensmail account list").rc == 0
