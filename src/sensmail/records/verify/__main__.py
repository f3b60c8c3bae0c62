"""`sensmail-verify` and `python -m sensmail.records.verify`: for an auditor who has the package and nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sensmail.records.verify.command import HELP, arguments, run


def main(given: Sequence[str] | None = None) -> int:
    """Entry point; the exit codes stand in the help."""
    parser = argparse.ArgumentParser(prog="sensmail-verify", description=HELP)
    arguments(parser)
    return run(parser.parse_args(given))


if __name__ == "__main__":
    sys.exit(main())
