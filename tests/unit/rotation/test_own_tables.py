"""The engine's own table of people, with the rights of the role that timers and modules work with."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from tests.unit.rotation.conftest import People

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Sealing
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import preview, protect
from sensmail.rotation.reseal import Reason, reseal

COLUMNS = ("name", "emergency_email", "department", "position", "employee_number")


@pytest.fixture
def wanted(people: People) -> list[Wanted]:
    return [
        Wanted(people.database.name, "accounts", "subject", column, "id", number)
        for number, column in enumerate(COLUMNS, start=20)
    ]


@pytest.fixture
def subjects(people: People, keys: KeyService) -> list[UUID]:
    """30 people, the third column empty for all of them."""
    made = keys.new_subjects(30)
    tenant = people.admin.execute("INSERT INTO accounts.tenant (name) VALUES ('t') RETURNING id").fetchall()[0][0]
    for number, subject in enumerate(made):
        values = [
            None if place == 2 else keys.seal([Sealing(subject, 20 + place, row_key(subject), b"value %d" % place)])[0]
            for place in range(5)
        ]
        people.admin.execute(
            "INSERT INTO accounts.subject (id, tenant_id, address, quota_bytes, send_limit_per_hour, "
            'name, emergency_email, department, "position", employee_number)'
            " VALUES (%s, %s, %s, 1, 1, %s, %s, %s, %s, %s)",
            (subject, tenant, f"p{number}@example.kr", *values),
        )
    return made


def test_protect_finds_everything_in_order(
    people: People, wanted: list[Wanted], subjects: list[UUID], sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    assert preview(sessions, wanted)[0].in_clear == dict.fromkeys(COLUMNS, 0)
    (done,) = protect(sessions, keys, wanted, quiet)
    assert [done.census[column]["active"] for column in COLUMNS] == [30, 30, 0, 30, 30]
    assert None not in done.protected_from.values()
    assert not protect(sessions, keys, wanted, quiet)[0].changed


def test_reseal(
    people: People, wanted: list[Wanted], subjects: list[UUID], sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    done = reseal(sessions, keys, wanted, Reason("test", "test"), quiet, settle_s=0)
    assert done.retired == 30
    rows = people.admin.execute('SELECT id, name, "position" FROM accounts.subject').fetchall()
    assert {bytes(name[:6]) for _, name, _ in rows} == {b"\x01\x01\x00\x00\x00\x02"}
    opened = people.open([(key, 20, key, name) for key, name, _ in rows] + [(key, 23, key, at) for key, _, at in rows])
    assert opened == ["value 0"] * 30 + ["value 3"] * 30


def test_a_renamed_table_and_column_stay_the_same_field(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(20)
    (first,) = protect(sessions, keys, people.wanted(), quiet)
    people.admin.execute("ALTER TABLE people RENAME TO members")
    people.admin.execute("ALTER TABLE members RENAME phone TO mobile")
    wanted = [replace(each, table="members", column={"phone": "mobile"}.get(each.column, each.column))
              for each in people.wanted()]  # fmt: skip
    done = reseal(sessions, keys, wanted, Reason("test", "test"), quiet, settle_s=0)
    assert done.retired == 20
    (again,) = protect(sessions, keys, wanted, quiet)
    assert not again.changed
    assert again.protected_from == {"mobile": first.protected_from["phone"], "note": first.protected_from["note"]}
