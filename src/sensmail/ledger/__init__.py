"""The plain insert of a record, in the transaction of the act that it records. Sealing records is not its task."""

from __future__ import annotations

from sensmail.ledger.entry import DETAIL_KEYS, Detail, Entry
from sensmail.ledger.errors import LedgerError, RecordSwallowed, UnknownDetail
from sensmail.ledger.inbox import highest_opening, insert, missing_openings
from sensmail.ledger.inserts import Inserts

__all__ = [
    "DETAIL_KEYS", "Detail", "Entry", "Inserts", "LedgerError", "RecordSwallowed", "UnknownDetail", "highest_opening",
    "insert", "missing_openings",
]  # fmt: skip
