"""A foreign database belongs to others, who may set its search path and put anything of any name into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.unit.rotation.conftest import People

from sensmail.keyd.client import KeyService
from sensmail.rotation.errors import ForeignState
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import protect
from sensmail.store import SUPERUSER, Connection, Settings, connect

TABLE = "CREATE TABLE people (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), subject uuid, phone text)"
SHADOW = """
    CREATE FUNCTION public.textsend(text) RETURNS bytea LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'called as %%', current_user; END $$
"""


@pytest.fixture
def shop(people: People, database: Settings) -> Iterator[Connection]:
    """A database whose owner looks for names in `public` first."""
    name = f"{database.name}_shop"
    people.admin.execute("CREATE ROLE shopkeeper")
    people.admin.execute(f"CREATE DATABASE {name} OWNER shopkeeper")
    people.admin.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    try:
        with connect(SUPERUSER, settings=database, database=name) as made:
            made.execute(TABLE)
            made.execute("INSERT INTO people (subject, phone) VALUES (gen_random_uuid(), 'x')")
            yield made
    finally:
        people.admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        people.admin.execute("DROP ROLE shopkeeper")


@pytest.fixture
def wanted(shop: Connection) -> list[Wanted]:
    return [Wanted(shop.info.dbname, "public", "people", "phone", "subject", 20, SUPERUSER)]


def test_names_are_those_of_postgresql(
    shop: Connection, wanted: list[Wanted], sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    shop.execute(SHADOW.replace("%%", "%"))
    for session in (sessions.on(wanted[0]), sessions.engine()):
        with session:
            assert session.execute("SHOW search_path").fetchall() == [("pg_catalog, pg_temp",)]
    (done,) = protect(sessions, keys, wanted, quiet, rewrite=False)
    assert done.census["phone"]["active"] == 1


def test_a_state_of_somebody_else_is_refused(
    shop: Connection, wanted: list[Wanted], sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    shop.execute("CREATE SCHEMA sensmail_rotation AUTHORIZATION shopkeeper")
    with pytest.raises(ForeignState, match="sensmail_rotation belongs to shopkeeper, not to postgres"):
        protect(sessions, keys, wanted, quiet)
    assert shop.execute("SELECT phone FROM people").fetchall() == [("x",)]
    shop.execute("DROP SCHEMA sensmail_rotation")
    protect(sessions, keys, wanted, quiet, rewrite=False)
    again = [replace(wanted[0], column="phone")]
    assert not protect(sessions, keys, again, quiet)[0].in_clear["phone"]


def test_so_is_one_in_the_engines_database(people: People, sessions: Sessions) -> None:
    people.admin.execute('ALTER SCHEMA sensmail_rotation OWNER TO "sensmail-jobs"')
    with pytest.raises(ForeignState, match="belongs to sensmail-jobs, not to sensmail_owner"):
        sessions.engine()
