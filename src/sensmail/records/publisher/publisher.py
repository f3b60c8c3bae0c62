"""One witness and one ledger: what the witness has not cosigned yet is handed in, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from sensmail.records import checkpoint, cosignature
from sensmail.records.entry import Ledger
from sensmail.records.note import Note, Signature
from sensmail.records.proof import Leaves
from sensmail.records.publisher.client import Client, Stands
from sensmail.records.publisher.database import Cosigned, Database, Head, Ours
from sensmail.records.publisher.errors import Forked, Misbehaves, RowsChanged, WitnessAhead, WitnessWentBack
from sensmail.records.tree import Range
from sensmail.records.witness.submission import Submission


class Publisher:
    """Ask it again and again, as long as the session lives.

    Args:
        client: of the witness.
        database: a session of the publisher's role.
        ledger: which.
    """

    def __init__(self, client: Client, database: Database, ledger: Ledger) -> None:
        self._client, self._database, self._ledger = client, database, ledger
        self._witness = client.key.to_text()
        self._asked = False

    def publish(self, stopped: Callable[[], bool] = lambda: False) -> Cosigned | None:
        """Hand in everything up to the newest checkpoint; what was cosigned is durable at each step.

        With a new session, the newest is handed in even where it was cosigned before: the database may be an older one.

        Returns:
            What is cosigned now; None where there is no log yet.

        Raises:
            PublishError, RecordsError, psycopg.Error.
        """
        ours = self._database.ours(self._ledger)
        if ours is None:
            return None
        last = self._database.last(ours, self._witness)
        for head in self._due(ours, last):
            if stopped():
                break
            if last is None or _order(head) > _order(last.head) or (head is ours.head and not self._asked):
                last = self._hand_in(ours, last, head)
        self._asked = True
        return last

    def _due(self, ours: Ours, last: Cosigned | None) -> list[Head]:
        """The last checkpoint of each key that the witness may not have seen, then the newest of all."""
        return [*self._database.kept(ours, last.head.turn if last else 0), ours.head]

    def _hand_in(self, ours: Ours, last: Cosigned | None, head: Head) -> Cosigned | None:
        step = self._step(ours, last.range if last else Range(), head)
        answer = self._client.submit(step.submission)
        if isinstance(answer, Stands):
            seen = self._client.newest(ours.key)
            self._look(ours, last, answer.size, seen)
            tree = self._database.range_at(ours, answer.size)
            if seen:
                last = self._recognise(ours, seen, tree)
                if _order(last.head) >= _order(head):
                    return last
            elif answer.size == step.submission.old:
                raise self._forked(ours, seen, answer.size)
            elif answer.size > head.body.size:
                return last  # an ordinary witness has seen a later one; that one is next
            step = self._step(ours, tree, head)
            answer = self._client.submit(step.submission)
            if isinstance(answer, Stands):
                raise self._forked(ours, seen, answer.size)
        return self._keep(ours, head, step.range, answer)

    def _step(self, ours: Ours, old: Range, head: Head) -> _Step:
        """The proof from a size to a head. It is made from the rows, and what was signed has to come out of them."""
        leaves = list(chain.from_iterable(self._database.leaves(ours, old.size, head.body.size)))
        grown = old.copy()
        grown.extend(leaves)
        if grown.root() != head.body.root:
            raise RowsChanged(
                f"{ours.ledger}: records {old.size} to {head.body.size - 1} do not give the root that was signed: at "
                "least "
                f"one was changed after it was sealed. Keep the database as it is and run `sensmail records check`"
            )
        proof = Leaves(leaves, old).consistency(old.size)
        return _Step(Submission(old.size, tuple(proof), head.note), grown)

    def _keep(self, ours: Ours, head: Head, tree: Range, line: Signature) -> Cosigned:
        signed = Note(head.note.text, (*head.note.signatures, line))
        at = cosignature.cosigned(signed, self._client.key)
        kept = Cosigned(Head(head.turn, signed, head.body), tree, at)
        self._database.keep(ours, self._witness, kept)
        return kept

    def _look(self, ours: Ours, last: Cosigned | None, size: int, seen: Note | None) -> None:
        """Whether this database can be that of which the witness has cosigned `size` records.

        Raises:
            WitnessAhead, WitnessWentBack, Misbehaves.
        """
        name, top = self._client.witness.name, ours.head.body.size
        if seen and (shown := checkpoint.parse(seen.text).size) != size:
            raise Misbehaves(f"{name}: stands at size {size} and shows a note of size {shown}")
        if size > top:
            if seen:
                self._database.keep_ahead(ours, self._witness, seen)
            raise WitnessAhead(
                f"{name}: has cosigned {ours.ledger} up to size {size}, this database ends at {top}: it was put back "
                "to "
                f"an older state. Nothing more is handed in. Bring the lost records back, or open a new generation"
            )
        if last and size < last.head.body.size:
            raise WitnessWentBack(
                f"{name}: has cosigned {ours.ledger} up to size {last.head.body.size} and now says {size}: its store "
                "was "
                f"put back. Ask its administrator why; what it cosigned before stays valid in this database"
            )

    def _recognise(self, ours: Ours, seen: Note, tree: Range) -> Cosigned:
        """What the witness shows as something that we signed: its answer did not reach us. Raises Forked."""
        body = checkpoint.parse(seen.text)
        heads = [*self._database.kept(ours, 0), ours.head]
        turn = next((each.turn for each in heads if each.body.key == body.key), None)
        if turn is None or tree.root() != body.root:
            raise self._forked(ours, seen, body.size)
        found = Cosigned(Head(turn, seen, body), tree, cosignature.cosigned(seen, self._client.key))
        self._database.keep(ours, self._witness, found)
        return found

    def _forked(self, ours: Ours, seen: Note | None, size: int) -> Forked:
        if seen:
            self._database.keep_ahead(ours, self._witness, seen)
        return Forked(
            f"{self._client.witness.name}: has cosigned another {ours.ledger} of size {size} than this database holds: "
            f"it was put back to an older state and has gone on since, or somebody else signs. Nothing more is handed "
            "in"
        )


@dataclass(frozen=True)
class _Step:
    """What is handed in, and the tree at that size."""

    submission: Submission
    range: Range


def _order(head: Head) -> tuple[int, int, int]:
    return head.turn, head.body.size, head.body.time
