"""A whole bundle: each log, then what one log says of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensmail.records import checkpoint
from sensmail.records.bundle import Bundle, Files, part_name, stem
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.errors import RecordsError
from sensmail.records.note import Note, VerifierKey
from sensmail.records.tree import Range
from sensmail.records.verify import chain, cuts, records
from sensmail.records.verify.across import across
from sensmail.records.verify.result import Finding, LogResult, Point, Result

STOPPED_S = 600  # a newest checkpoint older than this at the export: sealing had stopped
SILENT_S = 3600  # the same of a cosignature

Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Held:
    """What a verifier brings along: keys of logs and witnesses; checkpoints that somebody else kept."""

    log_keys: Sequence[VerifierKey] = ()
    witness_keys: Sequence[VerifierKey] = ()
    checkpoints: Sequence[Note] = field(default_factory=tuple)


def verify(path: Path, given: Held, progress: Progress = lambda _done, _all: None) -> Result:
    """Verify a bundle.

    Raises:
        Malformed: the file is not a bundle, or one that is damaged beyond reading.
    """
    with Bundle(path) as bundle:
        manifest = bundle.manifest
        total = sum(bundle.size(part_name(e.ledger, e.generation, part)) for e in manifest.logs for part in e.parts)
        done = 0

        def more(count: int) -> None:
            nonlocal done
            done += count
            progress(done, total)

        result = Result(manifest.made, tuple(each.name for each in given.witness_keys))
        newest = {each.ledger: each.generation for each in manifest.logs}
        for files in manifest.logs:
            one = _log(bundle, files, given, more)
            if newest[files.ledger] == files.generation:
                _freshness(one, manifest.made, given)
            result.logs.append(one)
        if not manifest.logs:
            result.findings.append(Finding("empty"))
        there = {each.origin for each in result.logs}
        for key in given.log_keys:
            if key.name not in there or not any(log.origin == key.name and log.key_given for log in result.logs):
                _missing(result, key)
        for kept in given.checkpoints:
            if (origin := kept.text.partition("\n")[0]) not in there:
                result.findings.append(Finding("checkpoint_of_no_log", {"origin": origin[:200]}))
        across(result, manifest.export)
    return result


def _log(bundle: Bundle, files: Files, given: Held, more: Callable[[int], None]) -> LogResult:
    log = bundle.log(files)
    key = VerifierKey.from_text(log.log_key)
    origin = Origin.from_text(key.name)
    result = LogResult(files.ledger, files.generation, key.name, key in given.log_keys)
    if (origin.ledger, origin.generation) != (files.ledger, files.generation):
        result.find("log_name", origin=key.name)
    if not result.key_given:
        result.find("key_not_given")
    base = stem(files.ledger, files.generation)
    held = chain.follow(bundle.lines(f"{base}/checkpoints"), key, given.witness_keys, result)
    ranges = cuts.ranges(log, key, held, result)
    if ranges is None:
        return result
    cuts.link(bundle.lines(f"{base}/links"), ranges, held, result)
    start = ranges[-1] if ranges else Range()
    bodies = [body for body, _ in held.values()]
    known = [*_ahead(bundle, base, key, result), *_kept(given, key, held, start.size, result)]
    points = [Point(each) for each in bodies] + [Point(each, known=True) for each in known]
    records.Records(bundle, files, log, start, points, result).verify(more)
    times = [at for body, at in held.values() if at and body.size <= result.verified]
    result.complete = max(times, default=None)
    records.held(bundle, f"{base}/held", {each.size: each.root for each in bodies}, result)
    result.cuts = [cuts.seen(each, bodies) for each in log.cuts]
    return result


def _ahead(bundle: Bundle, base: str, key: VerifierKey, result: LogResult) -> list[Checkpoint]:
    """What witnesses have shown and the host did not hold."""
    found = []
    for each in chain.read(bundle.lines(f"{base}/ahead")):
        try:
            found.append(checkpoint.verify(each, key))
        except RecordsError as error:
            result.find("ahead", what=str(error))
    return found


def _kept(
    given: Held, key: VerifierKey, held: dict[str, tuple[Checkpoint, int]], cut: int, result: LogResult
) -> list[Checkpoint]:
    """What the verifier kept of this log; only the log's own signatures make it one."""
    found = []
    for each in given.checkpoints:
        if each.text.partition("\n")[0] != key.name:
            continue
        try:
            body = checkpoint.verify(each, key)
        except RecordsError as error:
            result.find("ahead", what=str(error))
            continue
        if body.size >= cut:
            found.append(body)
        elif each.text not in held:
            result.find("checkpoint_before_cut", size=body.size, time=body.time)
    return found


def _freshness(log: LogResult, made: int, given: Held) -> None:
    if made - log.signed > STOPPED_S:
        log.find("stopped", time=log.signed, made_time=made)
    if given.witness_keys and log.complete is None:
        log.find("not_witnessed")
    elif log.complete is not None and made - log.complete > SILENT_S:
        log.find("witness_silent", time=log.complete, made_time=made)


def _missing(result: Result, key: VerifierKey) -> None:
    """No log of the bundle has a key that was given; whatever stands in its place was begun by somebody else."""
    result.findings.append(Finding("log_missing", {"origin": key.name[:200], "id": key.key_id.hex()}))
