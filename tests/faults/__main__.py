"""Break a command at seeded moments and run it to completion: `python tests/faults --seed 7 … -- COMMAND`."""

import argparse
import random
import subprocess
import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from faults.kinds import KINDS
from faults.runner import FaultError, plan, run
from stage import ROOT, environment


def main() -> int:
    """The command line; prints the report as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], prog="faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--faults", type=int, default=3, metavar="N")
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS", help="or marks")
    parser.add_argument("--marks", metavar="REGEX", help="count matching lines of output instead of seconds")
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated; default %(default)s")
    parser.add_argument("--machine", help="that a reboot or cut strikes")
    parser.add_argument("--invariant", metavar="SHELL", help="must end with 0 after every attempt")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    unknown = set(kinds) - set(KINDS)
    if unknown:
        parser.error(f"unknown kinds {', '.join(sorted(unknown))}; one of {', '.join(KINDS)}")
    if options.machine is None and set(kinds) != {"kill"}:
        parser.error("a reboot or cut needs --machine; or use --kinds kill")
    check = options.invariant

    def invariant() -> None:
        subprocess.run(check, shell=True, check=True, cwd=ROOT, env=environment())

    faults = plan(options.seed, options.within, options.faults, kinds)
    try:
        report = run(
            faults,
            options.command,
            seed=options.seed,
            machine=options.machine,
            marks=options.marks,
            invariant=invariant if check else None,
        )
    except FaultError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    print(report.to_json())
    return 0


sys.exit(main())
