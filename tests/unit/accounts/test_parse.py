"""Plain data in, checked values out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.accounts import parse
from sensmail.accounts.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "size"), [("5G", 5 * 2**30), ("500m", 500 * 2**20), (1048576, 1048576), (" 1T ", 2**40), ("7", 7)]
)
def test_size(text: str | int, size: int) -> None:
    assert parse.size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "5GB", "1.5G", "9" * 18 + "T", "٣G", "G"])
def test_bad_size(text: str) -> None:
    with pytest.raises(InvalidValue, match="such as 5G"):
        parse.size(text)


def test_bare_date_lasts_until_the_end_of_the_day_in_korea() -> None:
    assert parse.moment("2027-01-31") == datetime(2027, 1, 31, 15, tzinfo=UTC)
    assert parse.moment(date(2027, 1, 31)) == datetime(2027, 1, 31, 15, tzinfo=UTC)
    assert parse.moment("2027-01-31T10:00:00+09:00") == datetime(2027, 1, 31, 1, tzinfo=UTC)
    assert parse.moment(None) is None


@given(st.text())
def test_any_moment_is_read_or_refused(text: str) -> None:
    try:
        result = parse.moment(text)
    except InvalidValue:
        return
    assert result is not None
    assert result.tzinfo is UTC


@pytest.mark.parametrize("text", ["tomorrow", "2027-13-01", "2027-01-31T10:00:00", "9999-12-31", ""])
def test_bad_moment(text: str) -> None:
    with pytest.raises(InvalidValue, match="write a date"):
        parse.moment(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accounts": [{"address": "a@x.kr"}, {"address": "A@X.KR"}]}, "account 'a@x.kr' is listed twice"),
        ({"aliases": [{"address": "a@x.kr", "targets": []}] * 2}, "alias 'a@x.kr' is listed twice"),
        ({"tenants": [{"name": "t", "domains": ["x.kr", "X.kr"]}]}, "domain 'x.kr' is listed twice"),
        ({"tenants": [{"name": "t"}, {"name": " t"}]}, "tenant 't' is listed twice"),
        ({"tenants": [{"name": "\n"}]}, "tenant name"),
        ({"tenants": [{"name": "t", "contract_end": "soon"}]}, "tenant 't' contract_end 'soon': write a date"),
        ({"accounts": [{"address": "a@x.kr", "send_limit_per_hour": -1}]}, "send_limit_per_hour -1 of a@x.kr"),
        (
            {"accounts": [{"address": "a@x.kr", "app_passwords": [{"label": "p"}, {"label": " p "}]}]},
            "app password label of a@x.kr 'p' is listed twice",
        ),
        ({"accounts": [{"address": "a@x.kr", "app_passwords": [{"label": "p", "scope": ["ftp"]}]}]}, "choose one or"),
    ],
)
def test_bad_values_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        parse.wanted(**arguments)


def test_defaults() -> None:
    wanted = parse.wanted(accounts=[{"address": "A@x.kr", "app_passwords": [{"label": "p", "scope": None}]}])
    mailbox = wanted.mailboxes[0]
    assert (mailbox.address, mailbox.present, mailbox.quota_bytes) == ("a@x.kr", True, None)
    assert mailbox.password_on_create_only
    assert mailbox.app_passwords[0].scope == ("imap", "smtp")
