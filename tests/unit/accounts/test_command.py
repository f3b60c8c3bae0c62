"""`sensmail account` and `sensmail db` as an operator types them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from sensmail import accounts
from sensmail.accounts import app_password
from sensmail.cli import main
from sensmail.store import Connection, Settings, settings
from sensmail.store.migrate import available

Open = Callable[[str], Connection]


class Type(Protocol):
    """Types a command; returns exit code, standard output and standard error."""

    def __call__(self, *words: str) -> tuple[int, str, str]: ...


@pytest.fixture
def type_(configured: Settings, session: Open, capsys: pytest.CaptureFixture[str]) -> Type:
    wanted = accounts.wanted(tenants=[{"name": "t", "domains": ["example.kr"]}])
    accounts.ensure(session(accounts.ROLE), wanted)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capsys.readouterr())

    return run


def test_life_of_a_mailbox(type_: Type, session: Open) -> None:
    assert type_("account", "list") == (0, "no mailboxes yet\n", "")
    code, out, _ = type_("account", "add", "Hong@Example.kr", "--quota", "1G", "--send-limit", "9")
    assert (code, out.splitlines()[0]) == (0, "mailbox hong@example.kr: state active")
    assert type_("account", "add", "hong@example.kr") == (0, "hong@example.kr is there already, nothing changed\n", "")
    code, token, note = type_(
        "account", "app-password", "issue", "hong@example.kr", "--label", "phone", "--expires", "2030-01-31"
    )
    assert (code, note) == (0, "app password 'phone' of hong@example.kr, shown this once:\n")
    row = session("dovecot").execute("SELECT selector, hash, scope FROM mail.app_password").fetchone()
    assert row is not None
    assert app_password.verify(row[1], token.strip())
    assert row[2] == ["imap", "smtp"]
    _, listing, _ = type_("account", "list")
    assert listing == (
        f"hong@example.kr  active  1.0 GiB  9 mails/h\n    {row[0]}  phone  imap,smtp  expires 2030-01-31 15:00 UTC\n"
    )
    assert token.strip() not in listing
    assert type_("account", "app-password", "revoke", row[0]) == (0, "revoked: 'phone' of hong@example.kr\n", "")
    assert session("dovecot").execute("SELECT * FROM mail.app_password").fetchall() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["account", "add", "hong"], "sensmail: address 'hong' has no name, no @ or no domain"),
        (["account", "add", "a@b.kr"], "sensmail: domain b.kr of a@b.kr belongs to no tenant"),
        (["account", "add", "a@example.kr", "--quota", "big"], "sensmail: quota 'big' is not a size"),
        (["account", "app-password", "issue", "a@example.kr", "--label", "x"], "sensmail: mailbox a@example.kr is not"),
        (["account", "app-password", "revoke", "abcdefgh"], "sensmail: no living app password has selector abcdefgh"),
        (["account", "app-password", "revoke", "abcdefgh-x"], "sensmail: give only the first 8 characters"),
    ],
)
def test_refusals_end_with_1_and_one_line(type_: Type, words: list[str], message: str) -> None:
    code, out, error = type_(*words)
    assert (code, out) == (1, "")
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_database_commands(type_: Type) -> None:
    assert type_("db", "migrate") == (0, f"nothing to do, {len(available())} migrations applied\n", "")
    code, out, _ = type_("db", "status")
    assert code == 0
    assert out.startswith("applied ")
    assert "0001_accounts.sql" in out
    assert "pending" not in out


def test_check_says_what_would_be_done(type_: Type, configured: Settings) -> None:
    settings.SETTINGS_PATH.write_text(settings.SETTINGS_PATH.read_text().replace(configured.name, "not_there_yet"))
    code, out, _ = type_("db", "migrate", "--check")
    assert (code, out.splitlines()[0]) == (0, "would create database not_there_yet")
    assert type_("db", "status")[0] == 1


def test_no_database(configured: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.SETTINGS_PATH.write_text('[database]\nhost = "/nonexistent"\n')
    assert main(["account", "list"]) == 1
    assert "sensmail: no session on database sensmail at /nonexistent as sensmail-jobs" in capsys.readouterr().err
