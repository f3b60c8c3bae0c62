"""Whether a witness may cosign. Pure; the order of the questions is that of C2SP tlog-witness."""

from __future__ import annotations

from sensmail.records import checkpoint, proof
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.errors import Malformed, NotProven
from sensmail.records.note import VerifierKey
from sensmail.records.tree import EMPTY_ROOT
from sensmail.records.witness.errors import BadSubmission, Conflict, Unproven, Untrusted
from sensmail.records.witness.submission import Submission


def judge(log: VerifierKey, last: Checkpoint | None, given: Submission) -> Checkpoint:
    """The checkpoint that may be cosigned now.

    Args:
        log: key of the log that the checkpoint's origin names.
        last: what was cosigned last; None before the first.
        given: what was handed in.

    Raises:
        Untrusted, BadSubmission, Conflict, Unproven.
    """
    body = _signed(log, given)
    size, root = (last.size, last.root) if last else (0, EMPTY_ROOT)
    if given.old > body.size:
        raise BadSubmission(f"old size {given.old} is larger than the checkpoint, {body.size}\n")
    if given.old != size or (size == body.size and root != body.root):
        raise Conflict(size)
    try:
        proof.verify_consistency(size, root, body.size, body.root, given.proof)
    except NotProven as error:
        raise Unproven(f"{error}\n") from None
    try:
        checkpoint.follow(last, body) if last else checkpoint.begin(body)
    except (NotProven, Malformed) as error:
        raise Untrusted(f"{error}\n") from None
    return body


def _signed(log: VerifierKey, given: Submission) -> Checkpoint:
    try:
        return checkpoint.verify(given.checkpoint, log)
    except Malformed as error:
        raise BadSubmission(f"{error}\n") from None
    except NotProven as error:
        raise Untrusted(f"{error}\n") from None
