"""The data map of the shipped policy and the migrated database agree, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.sensmail.cloud.plugins.modules import account

from sensmail.accounts.personal import ITEMS
from sensmail.store import SUPERUSER, Connection

Open = Callable[[str], Connection]
COLUMNS = """
    SELECT table_schema || '.' || table_name, column_name, domain_schema || '.' || domain_name
    FROM information_schema.columns WHERE table_schema IN ('accounts', 'records')
"""


@pytest.fixture
def columns(session: Open) -> dict[tuple[str, str], str | None]:
    """Every column of the schemas with personal data: (table, column) → domain."""
    return {(table, column): domain for table, column, domain in session(SUPERUSER).execute(COLUMNS)}


def test_every_place_is_there(document: dict[str, Any], columns: dict[tuple[str, str], str | None]) -> None:
    named = {(each["table"], each[key]) for each in document["data_map"] for key in ("column", "subject") if each[key]}
    assert {table for table, _ in named} >= {
        "accounts.subject",
        "records.inbox",
        "records.access",
        "records.governance",
    }
    assert named - columns.keys() == set()


def test_sealed_in_the_policy_is_sealed_in_the_database(
    document: dict[str, Any], columns: dict[tuple[str, str], str | None]
) -> None:
    promised = {(each["table"], each["column"]) for each in document["data_map"] if each["protection"] == "sealed"}
    assert {name for name, domain in columns.items() if domain == "accounts.sealed"} == promised
    assert promised == {("accounts.subject", item) for item in ITEMS}
    assert account.SEALED == ITEMS
