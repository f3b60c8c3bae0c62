"""The form of personal items, and that no refusal repeats one."""

from __future__ import annotations

import traceback
import unicodedata
from typing import Any

import pytest

from sensmail import accounts
from sensmail.accounts import InvalidValue
from sensmail.accounts.personal import ITEMS

ADDRESS = "hong@example.kr"


def sealed(**items: Any) -> dict[str, str]:
    (mailbox,) = accounts.wanted(accounts=[{"address": ADDRESS, **items}]).mailboxes
    return dict(mailbox.sealed)


def test_every_item_in_canonical_form() -> None:
    decomposed = unicodedata.normalize("NFD", "담당자")
    assert decomposed != "담당자"
    assert sealed(name=f" {decomposed} ", emergency_email="A.b@EXAMPLE.한국", employee_number="0012") == {
        "name": "담당자",
        "emergency_email": "A.b@example.xn--3e0b707e",
        "employee_number": "0012",
    }


def test_items_left_out_are_not_wanted() -> None:
    assert sealed() == sealed(**dict.fromkeys(ITEMS)) == {}


@pytest.mark.parametrize(
    ("item", "value", "said"),
    [
        ("name", "", "1 to 100 printable"),
        ("name", "  ", "1 to 100 printable"),
        ("name", "가" * 101, "1 to 100 printable"),
        ("department", "감사\n과", "1 to 100 printable"),
        ("position", "과\u202e장", "1 to 100 printable"),
        ("employee_number", "00\x0012", "1 to 100 printable"),
        ("emergency_email", "", "is not a mail address"),
        ("emergency_email", "kim", "is not a mail address"),
        ("emergency_email", "kim@localhost", "is not a mail address"),
        ("emergency_email", '"kim lee"@example.net', "is not a mail address"),
        ("emergency_email", "kim@example.net, lee@example.net", "is not a mail address"),
        ("emergency_email", "kim@example.net\nBcc: lee@example.net", "is not a mail address"),
        ("emergency_email", "k" * 65 + "@example.net", "is not a mail address"),
        ("emergency_email", "HONG@example.kr", "is the mailbox itself"),
    ],
)
def test_refused_without_repeating_the_value(item: str, value: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{item} of {ADDRESS}.* ?{said}") as caught:
        sealed(**{item: value})
    told = "".join(traceback.format_exception(caught.value, chain=True)) + repr(caught.value.__context__)
    assert not value.strip() or value.strip() not in told


def test_no_item_is_shown_by_repr() -> None:
    wanted = accounts.wanted(accounts=[{"address": ADDRESS, "name": "담당자"}])
    assert "담당자" not in repr(wanted)
