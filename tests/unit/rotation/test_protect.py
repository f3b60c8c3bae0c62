"""Plaintext becomes sealed values, once, and nothing in clear comes again."""

from __future__ import annotations

import psycopg
import pytest
from tests.unit.rotation.conftest import People

from sensmail.fields import text
from sensmail.keyd.client import KeyService
from sensmail.rotation import state
from sensmail.rotation.errors import Blocked, RotationError
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import preview, protect
from sensmail.rotation.statements import Statements
from sensmail.store import Connection


def test_sealed_once_and_opens(people: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> None:
    people.make(2500)
    people.admin.execute("UPDATE people SET phone = NULL WHERE phone LIKE '%7'")
    people.admin.execute("UPDATE people SET phone = '' WHERE phone LIKE '%8'")
    before = people.rows("phone, convert_from(note, 'UTF8')")
    wanted = people.wanted()
    (announced,) = preview(sessions, wanted)
    assert announced.changed
    assert announced.in_clear == {"phone": 2250, "note": 2500}
    assert people.rows("phone, convert_from(note, 'UTF8')") == before

    (done,) = protect(sessions, keys, wanted, quiet)
    assert done.changed
    assert done.census["phone"] | {"active": 0} == dict.fromkeys(done.census["phone"], 0)
    assert (done.census["phone"]["active"], done.census["note"]["active"]) == (2250, 2500)
    assert None not in done.protected_from.values()
    assert people.opened() == before

    sealed = people.rows()
    (again,) = protect(sessions, keys, wanted, quiet)
    assert not again.changed
    assert again.protected_from == done.protected_from
    assert people.rows() == sealed
    assert not preview(sessions, wanted)[0].changed


def test_the_guard_lets_no_plaintext_in(people: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> None:
    people.make(10)
    protect(sessions, keys, people.wanted(), quiet)
    for column, value in (("phone", "010-1"), ("note", b"\x02" * 40), ("phone", "sealed:v1:short"), ("note", b"\x01")):
        with pytest.raises(psycopg.errors.CheckViolation):
            people.admin.execute(f"UPDATE people SET {column} = %s", (value,))
    people.admin.execute("INSERT INTO people (subject) VALUES (gen_random_uuid())")  # NULL is no plaintext


def test_plaintext_that_came_again_voids_the_date(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(10)
    (first,) = protect(sessions, keys, people.wanted(), quiet)
    people.admin.execute("ALTER TABLE people DROP CONSTRAINT sensmail_sealed_20")
    people.admin.execute("UPDATE people SET phone = 'clear' WHERE id = (SELECT id FROM people LIMIT 1)")
    (second,) = protect(sessions, keys, people.wanted(), quiet)
    assert second.changed
    assert second.in_clear == {"phone": 1, "note": 0}
    before, after = first.protected_from["phone"], second.protected_from["phone"]
    assert before is not None
    assert after is not None
    assert after > before


def test_lookalikes_are_named_and_the_rest_is_sealed(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(2000)
    rows = people.rows()
    keys.adopt([rows[0][1], rows[1][1]])
    moved = text.pack(people.seal(rows[0][1], 20, rows[0][0], "of row 0")).decode()
    own = text.pack(people.seal(rows[1][1], 20, rows[1][0], "of row 1")).decode()
    bad = {2: "sealed:v1:nonsense", 3: "sealed:v9:x", 4: moved}
    for number, value in {1: own, **bad}.items():
        people.admin.execute("UPDATE people SET phone = %s WHERE id = %s", (value, rows[number][0]))
    people.admin.execute("UPDATE people SET subject = NULL WHERE id = %s", (rows[5][0],))
    with pytest.raises(Blocked) as error:
        protect(sessions, keys, people.wanted(), quiet)
    said = str(error.value)
    for number in (2, 3, 4, 5):
        assert str(rows[number][0]) in said
    assert "5 values were left" in said  # row 5 has two
    assert "altered" in said
    found = {row[0]: row for row in people.rows()}
    for number, value in {1: own, **bad}.items():
        assert found[rows[number][0]][2] == value
    assert sum(row[2].startswith("sealed:v1:") for row in found.values()) == 1998
    with pytest.raises(psycopg.errors.UndefinedObject):  # no guard yet
        people.admin.execute("ALTER TABLE people DROP CONSTRAINT sensmail_sealed_20")

    for number in bad:
        people.admin.execute("UPDATE people SET phone = 'corrected' WHERE id = %s", (rows[number][0],))
    people.admin.execute("DELETE FROM people WHERE id = %s", (rows[5][0],))
    (done,) = protect(sessions, keys, people.wanted(), quiet)
    assert done.census["phone"]["active"] == 1999
    opened = dict(zip([row[0] for row in people.rows()], people.opened(), strict=True))
    assert opened[rows[1][0]][0] == "of row 1"
    assert opened[rows[2][0]][0] == "corrected"


def test_a_destroyed_person_is_not_given_keys_again(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(50)
    gone = people.rows()[7]
    keys.adopt([gone[1]])
    keys.destroy_subjects([gone[1]], "test", "test", "privacy_officer")
    with pytest.raises(Blocked, match=f"row {gone[0]}: destroyed"):
        protect(sessions, keys, people.wanted(), quiet)
    assert {row[0]: row[2] for row in people.rows()}[gone[0]] == gone[2]


def test_a_refusal_of_the_database_shows_no_value(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(20)
    people.admin.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE check_violation USING MESSAGE = 'refused by trigger', DETAIL = 'Failing row: ' || OLD.phone; END $$"
    )
    people.admin.execute("CREATE TRIGGER refuse BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse()")
    before = people.rows()
    with pytest.raises(RotationError, match="refused by trigger") as error:
        protect(sessions, keys, people.wanted(), quiet)
    assert "010-" not in str(error.value)
    assert error.value.__context__ is None or error.value.__suppress_context__
    assert people.rows() == before


def test_a_field_number_is_never_used_twice(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    people.make(5)
    protect(sessions, keys, people.wanted("phone"), quiet)
    with pytest.raises(RotationError, match="field number 20 belongs to another column"):
        protect(sessions, keys, people.wanted("note"), quiet)
    with sessions.engine() as engine:
        assert [each.column for each in state.registered(engine)] == ["phone"]


def test_an_update_that_a_collation_takes_for_none_is_kept(
    people: People, sessions: Sessions, keys: KeyService, quiet: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.admin.execute("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    people.make(0, "phone text COLLATE ci, note bytea")
    people.admin.execute("INSERT INTO people (subject, phone) VALUES (gen_random_uuid(), 'KIM')")
    original = Statements.write

    def write(self: Statements, connection: Connection, changes: list) -> int:  # type: ignore[type-arg]
        people.admin.execute("UPDATE people SET phone = 'Kim' WHERE phone = 'KIM' COLLATE \"C\"")
        return original(self, connection, changes)

    monkeypatch.setattr(Statements, "write", write)
    protect(sessions, keys, people.wanted(), quiet)
    assert people.opened() == [("Kim", None)]
