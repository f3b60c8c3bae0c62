"""What is refused before the host is looked at; whatever is accepted gives no more than it shows."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sensmail.accounts import AccountError
from sensmail.policy.approval import Approval
from sensmail.rights import parse, sshkeys
from sensmail.rights.errors import InvalidRight, NotApplied
from sensmail.rights.model import Right
from sensmail.rights.sudo import Sudo
from unit.rights.conftest import KEY, LATER, OTHER_KEY, make_tree

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)
TEXTS = st.text(max_size=80)


@pytest.mark.parametrize("text", ["", "root ", "admin", "Operator", "operator\n"])
def test_unknown_kinds_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRight, match="is not known; use one of operator, sudo, database, portal"):
        parse.kind(text)


@pytest.mark.parametrize("text", ["김운영\n", " 김운영 "])
def test_a_holder_is_trimmed(text: str) -> None:
    assert parse.line("holder", text) == "김운영"


@pytest.mark.parametrize(
    "text", ["", " ", "김\n운영", "김\r운영", "a\x00b", "a\u2028b", "a\u202eb", "a\x1b[31m", "x" * 201]
)
def test_a_holder_is_one_line_that_can_be_read(text: str) -> None:
    with pytest.raises(InvalidRight, match=r"holder .* must be one line"):
        parse.line("holder", text)


@pytest.mark.parametrize(
    "name", ["root", "postgres", "nobody", "sensmail-jobs", "dovecot", "systemd-network", "pg_x", "all"]
)
def test_accounts_of_services_are_refused(name: str) -> None:
    with pytest.raises(InvalidRight, match="belongs to a service; persons have accounts of their own"):
        parse.account("operator", name)


@pytest.mark.parametrize(
    "name", ["", "Kim", "-kim", "1kim", "kim:x", "kim\n", "ki m", "김", "k" * 32, "kim.", "%sudo", "#0"]
)
def test_other_names_cannot_be_accounts(name: str) -> None:
    with pytest.raises(InvalidRight, match="cannot be the name of an account"):
        parse.account("sudo", name)


def test_the_portal_goes_by_address() -> None:
    assert parse.account("portal", "Clerk@Example.KR") == "clerk@example.kr"
    with pytest.raises(AccountError):
        parse.account("portal", "clerk")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no date"),
        ("tomorrow", "is no date"),
        ("2027-02-30", "is no date"),
        ("9999-12-31", "is no date"),
        ("2027-01-31T10:00:00", "has no time zone"),
        ("2026-11-24", "is in the past"),
        ("2026-11-25T12:00:00+09:00", "is in the past"),
        ("2027-11-26", "is too late: .*longest of the policy.* 365 days; the last day is 2027-11-25"),
        ("2099-01-01", "is too late"),
    ],
)
def test_ends_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidRight, match=words):
        parse.until(text, NOW, 365)


def test_a_day_ends_in_korea() -> None:
    assert parse.until("2027-01-31", NOW, 365) == datetime(2027, 1, 31, 15, tzinfo=UTC)
    assert parse.until("2026-11-25", NOW, 365) == datetime(2026, 11, 25, 15, tzinfo=UTC)
    assert parse.until("2027-01-31T10:00:00+09:00", NOW, 365) == datetime(2027, 1, 31, 1, tzinfo=UTC)


@given(TEXTS)
def test_an_end_is_within_what_the_policy_allows_or_refused(text: str) -> None:
    try:
        moment = parse.until(text, NOW, 365)
    except InvalidRight:
        return
    assert NOW < moment <= NOW + timedelta(days=365)


def test_terms_belong_to_their_kind() -> None:
    assert parse.terms("operator", [f"{OTHER_KEY} me@home", KEY, KEY], []) == tuple(sorted({KEY, OTHER_KEY}))
    assert parse.terms("portal", [], []) == ()
    for kind, keys, commands in (
        ("operator", [], []), ("sudo", [], []), ("database", [KEY], []), ("portal", [], ["ALL"]),
        ("operator", [KEY], ["ALL"]), ("sudo", [], ["ALL", "/bin/ls"]),
    ):  # fmt: skip
        with pytest.raises(InvalidRight):
            parse.terms(kind, keys, commands)  # type: ignore[arg-type]


def test_rights_are_named_where_there_is_a_choice() -> None:
    assert (parse.right("operator", ""), parse.right("sudo", "sudo")) == ("login", "sudo")
    assert parse.right("portal", "tenant_admin") == "tenant_admin"
    for kind, text in (("operator", "root"), ("database", ""), ("portal", "")):
        with pytest.raises(InvalidRight, match="right"):
            parse.right(kind, text)  # type: ignore[arg-type]


def weak_rsa() -> str:
    key = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize(
    "text",
    ["", "ssh-ed25519", f"{KEY}\n{OTHER_KEY}", f'command="x" {KEY}', KEY[:-8], "ssh-ed25519 AAAA", "x" * 99],
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(InvalidRight, match="is no public SSH key"):
        sshkeys.normal(text)


def test_a_weak_key_is_named_by_its_fingerprint() -> None:
    with pytest.raises(InvalidRight, match=r"ssh-rsa SHA256:.* is too weak; use ed25519, or RSA with 3072 bits"):
        sshkeys.normal(weak_rsa())


def test_a_private_key_is_refused_and_not_repeated() -> None:
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz"
    with pytest.raises(InvalidRight) as refused:
        sshkeys.normal(secret)
    assert "b3Blb" not in str(refused.value)


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(f"{KEY} kim\n")
    told = subprocess.run(["ssh-keygen", "-lf", file], capture_output=True, text=True, check=True).stdout.split()
    assert sshkeys.fingerprint(KEY) == f"ssh-ed25519 {told[1]}"


@given(st.text(max_size=300))
def test_no_line_of_an_authorized_keys_file_is_passed_over(text: str) -> None:
    """Whatever sshd could read a key from becomes a term."""
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(list(sshkeys.authorized(text))) == len(lines)
    for term in sshkeys.authorized(text):
        assert sshkeys.fingerprint(term).isprintable()


@given(st.binary(min_size=1, max_size=60), st.text("abc= ,\"'-", max_size=30), st.text(max_size=20))
def test_a_key_is_found_behind_any_options(blob: bytes, options: str, comment: str) -> None:
    key = "ssh-ed25519 AAAA" + base64.b64encode(blob).decode()
    line = f"{options} {key} {comment}".replace("\n", "")
    (first, *_) = list(sshkeys.authorized(line)) or [""]
    assert first == key


@given(st.text(max_size=60))
def test_an_accepted_command_is_plain_words(text: str) -> None:
    try:
        (term,) = parse.terms("sudo", [], [text])
    except InvalidRight:
        return
    assert term == "ALL" or re.fullmatch(r"/[\w./+-]+( [\w./@+-]+)*", term, re.ASCII)


COMMANDS = st.from_regex(parse._COMMAND, fullmatch=True).filter(lambda text: len(text) < 100)


@settings(max_examples=40, deadline=None)
@given(st.lists(COMMANDS, min_size=1, max_size=4, unique=True))
def test_sudo_reads_an_accepted_rule_as_it_was_recorded(commands: list[str]) -> None:
    """What visudo refuses gives nothing; what it takes comes back from cvtsudoers term by term."""
    root = Path(tempfile.mkdtemp(prefix="sensmail-rights-"))
    try:
        place = Sudo(make_tree(root))
        right, terms = Right("sudo", "mail", "kim", "sudo"), parse.terms("sudo", [], commands)
        try:
            place.apply(right, terms, LATER)
        except NotApplied:
            assert place.look(right) is None
            return
        assert place.look(right) == place.expected(terms, LATER)
    finally:
        shutil.rmtree(root)


@given(TEXTS, TEXTS)
def test_an_approval_is_never_the_holders_own(one: str, other: str) -> None:
    same = json.dumps("".join(one.split()).casefold()) == json.dumps("".join(other.split()).casefold())
    if same:
        assert parse.not_own(Approval("r", one, "1"), other)
