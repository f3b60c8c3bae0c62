"""Look at a table before anything is written: can its columns be sealed, and if not, what has to be done first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import sql
from psycopg.rows import namedtuple_row

from sensmail.fields import text
from sensmail.fields.envelope import OVERHEAD
from sensmail.rotation.errors import NotProtectable
from sensmail.rotation.model import Column, KeyColumn, Table, Wanted
from sensmail.rotation.rowkey import BYTES, CASTS, INTEGER, TEXT, UUID_KIND
from sensmail.store import Connection

GUARD = "sensmail_sealed_"  # prefix of the constraints that the guard makes
_KINDS = {"uuid": UUID_KIND, "int2": INTEGER, "int4": INTEGER, "int8": INTEGER, "text": TEXT, "varchar": TEXT,
          "bytea": BYTES}  # fmt: skip
_OWN_DOMAIN = "accounts.sealed"

_TABLE = """
    SELECT c.oid, c.relkind::text AS kind, row_security_active(c.oid) AS hidden, c.reloptions,
           EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AND c.relkind = 'r' AS inherited,
           c.relispartition AS part
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s
"""

# Each column with the type under all its domains; of a domain, varchar(n) may be inside.
_COLUMNS = """
    WITH RECURSIVE below (attnum, type, length, depth) AS (
        SELECT attnum, atttypid, atttypmod, 0 FROM pg_attribute
        WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT b.attnum, t.typbasetype, greatest(t.typtypmod, b.length), depth + 1
        FROM below AS b JOIN pg_type AS t ON t.oid = b.type WHERE t.typtype = 'd'
    )
    SELECT a.attname AS name, a.attnum AS number, t.typname AS type, a.attgenerated <> '' AS generated,
           CASE WHEN b.length > 4 THEN b.length - 4 END AS length, format_type(a.atttypid, NULL) AS shown,
           b.depth > 0 AS domain, array_position(k.conkey, a.attnum) AS key_position
    FROM pg_attribute AS a
    JOIN (SELECT DISTINCT ON (attnum) * FROM below ORDER BY attnum, depth DESC) AS b USING (attnum)
    JOIN pg_type AS t ON t.oid = b.type
    LEFT JOIN pg_constraint AS k ON k.conrelid = a.attrelid AND k.contype = 'p'
    WHERE a.attrelid = %(oid)s
"""

# What else hangs on a column: an index, a constraint, a default, a generated column, a policy, statistics. Views are
# readers and may stay; they show the sealed text.
_DEPENDENTS = """
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
    FROM pg_depend AS d
    LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_attrdef AS v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s AND d.refobjsubid = %(number)s
      AND d.classid NOT IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass)
      AND (k.conname IS NULL OR NOT starts_with(k.conname, %(guard)s))
      AND (v.oid IS NULL OR pg_get_expr(v.adbin, v.adrelid) !~ '^NULL(::|$)')
    ORDER BY 1
"""


def inspect(connection: Connection, wanted: Sequence[Wanted]) -> Table:
    """The table of these columns, all of which are of one table.

    Raises:
        NotProtectable: everything that stands in the way of its first column that something stands in the way of.
    """
    first = wanted[0]
    name, where = f"{first.schema}.{first.table}", f"{first.database}: {first.schema}.{first.table}"
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        found: Any = cursor.execute(_TABLE, (first.schema, first.table)).fetchone()
        if found is None:
            raise NotProtectable(f"{where}: no such table; correct the name in the data map or in the task")
        _check_table(where, name, found)
        rows: list[Any] = cursor.execute(_COLUMNS, {"oid": found.oid}).fetchall()
    columns = {row.name: row for row in rows}
    for each in wanted:
        _check_column(connection, found.oid, each, columns)
    return Table(
        first.database, first.login, first.schema, first.table, _key(where, columns), first.subject,
        tuple(_column(connection, each, columns[each.column]) for each in wanted), _notes(name, found),
    )  # fmt: skip


def _check_table(where: str, name: str, found: Any) -> None:
    if found.kind not in {"r", "p"}:
        kinds = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
        fix = "name the table that it reads"
        raise NotProtectable(f"{where}: is {kinds.get(found.kind, 'not a table')}; {fix}")
    if found.part:
        raise NotProtectable(f"{where}: is a partition; name the partitioned table")
    if found.inherited:
        fix = "no primary key spans them; move the rows into one table, or into a partitioned one"
        raise NotProtectable(f"{where}: other tables inherit from it; {fix}")
    if found.hidden:
        fix = f"log in as the owner, or as a role with BYPASSRLS, or: ALTER TABLE {name} DISABLE ROW LEVEL SECURITY"
        raise NotProtectable(f"{where}: row security may hide rows from this role; {fix}")


def _key(where: str, columns: dict[str, Any]) -> tuple[KeyColumn, ...]:
    parts = sorted((row for row in columns.values() if row.key_position), key=lambda row: row.key_position)
    if not parts:
        fix = "add one, best of random ids: ALTER TABLE … ADD COLUMN id uuid PRIMARY KEY DEFAULT gen_random_uuid()"
        raise NotProtectable(f"{where}: has no primary key, which a sealed value is bound to; {fix}")
    for row in parts:
        if row.type not in _KINDS:
            fix = "a sealed value is bound to keys of type uuid, smallint, integer, bigint, text, varchar and bytea"
            raise NotProtectable(f"{where}: primary key column {row.name} is of type {row.shown}; {fix}")
    return tuple(KeyColumn(row.name, _KINDS[row.type], CASTS[_KINDS[row.type]]) for row in parts)


def _check_column(connection: Connection, oid: int, wanted: Wanted, columns: dict[str, Any]) -> None:
    subject, row = columns.get(wanted.subject), columns.get(wanted.column)
    if subject is None or subject.type != "uuid":
        problem = "does not exist" if subject is None else f"is of type {subject.shown}"
        fix = "a column of type uuid must name the person of each row"
        raise NotProtectable(f"{wanted}: its subject column {wanted.subject} {problem}; {fix}")
    if row is None:
        raise NotProtectable(f"{wanted}: no such column; correct the name in the data map or in the task")
    if row.generated:
        raise NotProtectable(f"{wanted}: is a generated column; seal the columns that it is computed from, and drop it")
    if row.type not in {"text", "varchar", "bytea"} or (row.domain and row.shown != _OWN_DOMAIN):
        fix = "a sealed value needs text, varchar or bytea: ALTER TABLE … ALTER COLUMN … TYPE text"
        raise NotProtectable(f"{wanted}: is of type {row.shown}; {fix}")
    if row.key_position or wanted.column == wanted.subject:
        raise NotProtectable(f"{wanted}: is a key; rows are found by it, so it cannot be sealed")
    if row.shown == _OWN_DOMAIN:
        return
    parameters = {"oid": oid, "number": row.number, "guard": GUARD}
    hanging = [text for (text,) in connection.execute(_DEPENDENTS, parameters)]
    if hanging:
        fix = "each would hold, compare or produce plaintext: drop it first"
        raise NotProtectable(f"{wanted}: {'; '.join(hanging)}; {fix}")


def _column(connection: Connection, wanted: Wanted, row: Any) -> Column:
    column = Column(wanted.column, wanted.field, row.type != "bytea", row.shown == _OWN_DOMAIN, row.length)
    if column.limit is not None:
        query = sql.SQL(
            'SELECT coalesce(max(octet_length({0})), 0) FROM {1} WHERE NOT starts_with({0}::text COLLATE "C", {2})'
        ).format(sql.Identifier(column.name), sql.Identifier(wanted.schema, wanted.table), text.PREFIX.decode())
        longest = connection.execute(query).fetchall()[0][0]
        needed = text.size(longest + OVERHEAD)
        if column.limit < needed:
            fix = f"ALTER TABLE {wanted.schema}.{wanted.table} ALTER COLUMN {wanted.column} TYPE text"
            raise NotProtectable(
                f"{wanted}: varchar({column.limit}) is too short, its longest value takes {needed} characters sealed; "
                f"{fix} (that rewrites nothing)"
            )
    return column


def _notes(name: str, found: Any) -> tuple[str, ...]:
    options = dict(each.split("=", 1) for each in found.reloptions or ())
    if int(options.get("fillfactor", 100)) > 70 and found.kind == "r":
        return (f"{name}: sealing anew is faster and leaves no bloat with ALTER TABLE {name} SET (fillfactor = 50)",)
    return ()
