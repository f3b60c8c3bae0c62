"""The command line of verification."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sensmail.records import note
from sensmail.records.cosignature import COSIGNATURE
from sensmail.records.errors import Malformed
from sensmail.records.note import ED25519, MAX_BYTES, Note, VerifierKey
from sensmail.records.verify import show
from sensmail.records.verify.whole import Held, verify

HELP = "verify a bundle of records, offline (봉인된 기록 검증)"
_EPILOG = """exit codes: 0 everything verified; 1 something is wrong or missing; 2 the file cannot be read, or a wrong
command line; 3 nothing is wrong, but something is not proven, such as a log whose key you did not give"""
_WIDTH, _EVERY_S = 40, 0.2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what verification takes."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the file that `sensmail records export` wrote")
    parser.add_argument(
        "--log-key", action="append", default=[], metavar="KEY",
        help="verifier key of a log (NAME+id+key), or a file with one a line; again for each log",
    )  # fmt: skip
    parser.add_argument(
        "--witness-key", action="append", default=[], metavar="KEY", help="the same of a witness; may be repeated"
    )
    parser.add_argument(
        "--checkpoint", action="append", default=[], type=Path, metavar="FILE",
        help="a checkpoint that you or a witness kept: the bundle must contain it; may be repeated",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Verify and print; returns the exit code."""
    try:
        given = Held(
            _keys(options.log_key, ED25519), _keys(options.witness_key, COSIGNATURE), _notes(options.checkpoint)
        )
        result = verify(options.bundle, given, _bar())
    except (Malformed, OSError) as error:
        print(f"sensmail verify: {error}", file=sys.stderr)
        return show.UNREADABLE
    if options.json:
        print(json.dumps(show.document(result), ensure_ascii=False, indent=2))
    else:
        sys.stdout.write(show.text(result))
    return show.code(result)


def _keys(given: list[str], kind: int) -> list[VerifierKey]:
    texts: list[str] = []
    for each in given:
        if "+" in each and not Path(each).is_file():
            texts.append(each)
        else:
            lines = _small(Path(each)).decode("utf-8", "replace").splitlines()
            texts += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [VerifierKey.from_text(each, kind) for each in texts]


def _notes(files: list[Path]) -> list[Note]:
    return [note.parse(_small(each)) for each in files]


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Malformed(f"{path}: more than {MAX_BYTES} bytes: not a key and not a checkpoint")
    return data


def _bar() -> Callable[[int, int], None]:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda _done, _all: None
    shown = 0.0

    def draw(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if done >= total or now - shown >= _EVERY_S:
            shown, share = now, min(done / max(total, 1), 1.0)
            sys.stderr.write(f"\r{'█' * int(_WIDTH * share):<{_WIDTH}} {share:4.0%}" + ("\n" if done >= total else ""))
            sys.stderr.flush()

    return draw
