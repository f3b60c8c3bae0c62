"""Writing records to `records.inbox`, and finding openings that left none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import msgspec
import psycopg

from sensmail.ledger.entry import Entry
from sensmail.ledger.errors import RecordSwallowed
from sensmail.store import Connection

_COLUMNS: LiteralString = "ledger, act, account, origin, {}, client, purpose, outcome, unit, detail"
# One parameter for any number of rows: one parse, one plan. The statement fails as a whole, by a division by zero,
# where fewer rows were kept: so it holds in autocommit as well, and costs one round trip.
_STATEMENT: LiteralString = """
    WITH kept AS (
        INSERT INTO records.inbox ({target}{more}) SELECT {source}{more}
        FROM json_to_recordset({{entries}}::json) AS given (ledger records.ledger, act text, account text, origin text,
            subject uuid, client text, purpose text, outcome records.outcome, unit text, detail jsonb, opening bigint,
            acted_at timestamptz, clock text)
        RETURNING id{back}
    ) SELECT array_agg(id), array_agg({number}), 1 / (count(*) = {{count}})::int FROM kept
"""


def _statement(
    more: LiteralString = "", back: LiteralString = "", number: LiteralString = "NULL::bigint"
) -> LiteralString:
    target, source = _COLUMNS.format("subject_id"), _COLUMNS.format("subject")
    return _STATEMENT.format(target=target, source=source, more=more, back=back, number=number)


PLAIN = _statement()
NUMBERED = _statement(", opening", ", opening", "opening")  # only the key service may write and read this column
DATED = _statement(", acted_at, clock")  # only the collector may write these
# A record is in the inbox or, sealed, in the ledger; one snapshot shows both. Below a cut there is nothing to see.
_GAPS: LiteralString = """
    WITH bounds AS (SELECT greatest(%(after)s::bigint, (SELECT max(opening) FROM records.cut)) AS after),
    numbers AS (
        SELECT opening AS here FROM records.inbox WHERE opening > %(after)s AND opening <= %(through)s
        UNION SELECT opening FROM records.access WHERE opening > %(after)s AND opening <= %(through)s
        UNION SELECT %(through)s::bigint + 1
    )
    SELECT before + 1, here - 1
    FROM (SELECT here, lag(here, 1, bounds.after) OVER (ORDER BY here) AS before
          FROM numbers, bounds WHERE here > bounds.after) AS pairs
    WHERE here > before + 1 ORDER BY here
"""
_HIGHEST: LiteralString = """
    SELECT greatest((SELECT max(opening) FROM records.inbox), (SELECT max(opening) FROM records.access),
        (SELECT max(opening) FROM records.cut), 0)
"""
_LOOK = "look for triggers and rules that no migration made (psql: \\d records.inbox)"
encode = msgspec.json.Encoder().encode


def insert(connection: Connection, entries: Sequence[Entry]) -> list[int]:
    """Add records by one statement, in the caller's transaction or in one of its own; returns their ids, in order.

    Raises:
        RecordSwallowed: not every record was kept as it was given; nothing was added, or roll back.
        psycopg.Error: nothing was added.
    """
    if not entries:
        return []
    given = [each.opening for each in entries]
    dated = any(each.acted_at is not None for each in entries)
    statement = NUMBERED if numbered(given) else DATED if dated else PLAIN
    statement = statement.format(entries="%s", count="%s")
    try:
        cursor = connection.execute(statement, (encode(entries).decode(), len(given)), prepare=True)
    except psycopg.errors.DivisionByZero:
        raise fewer(given) from None
    ids, kept, _ = cursor.fetchall()[0]
    return checked(given, ids, kept)


def numbered(given: Sequence[int | None]) -> bool:
    """Whether the statement with opening numbers is needed."""
    return any(each is not None for each in given)


def fewer(given: Sequence[int | None]) -> RecordSwallowed:
    """What a division by zero of the statement means."""
    return RecordSwallowed(f"records.inbox kept fewer than {len(given)} records; {_LOOK}")


def checked(given: Sequence[int | None], ids: Sequence[int | None], kept: Sequence[int | None]) -> list[int]:
    """The ids, where every record was kept as it was given. Raises RecordSwallowed."""
    sound = [each for each in ids if each is not None]
    if list(kept) != list(given) or len(set(sound)) != len(given):
        raise RecordSwallowed(f"records.inbox changed what it kept of {len(given)} records; {_LOOK}")
    return sound


def missing_openings(connection: Connection, through: int, after: int = 0) -> list[range]:
    """The numbers from `after` + 1 to `through` that no record bears.

    The key service says up to where every number has its record (`settled`); a gap below is a record that was
    swallowed or removed.
    """
    rows = connection.execute(_GAPS, {"through": through, "after": after}).fetchall()
    return [range(first, last + 1) for first, last in rows]


def highest_opening(connection: Connection) -> int:
    """The highest opening number that a record bears or bore; 0 where there is none."""
    (number,) = connection.execute(_HIGHEST).fetchall()[0]
    return int(number)
