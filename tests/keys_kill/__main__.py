"""Kill changes of keys at seeded moments: `python tests/keys_kill --kills 200 --seed 7`; prints the report as JSON."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tools"))

from keys_kill.campaign import Campaign
from keys_kill.cluster import home
from keys_kill.plan import PHASES
from keys_kill.rig import rig


def say(line: str) -> None:
    """Progress; the report alone goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0], prog="keys_kill")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N")
    parser.add_argument("--phases", default=",".join(PHASES), metavar="A,B", help="default %(default)s")
    options = parser.parse_args()
    phases = options.phases.split(",")
    if unknown := set(phases) - set(PHASES):
        parser.error(f"unknown phases {', '.join(sorted(unknown))}; known are {', '.join(PHASES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything it has started ends too
    with home() as place, rig(place, options.rows, options.seed) as one:
        campaign = Campaign(one, options.seed, phases, say)
        try:
            campaign.run(options.kills)
        except AssertionError as error:
            print(f"keys_kill: {error}", file=sys.stderr)
            return 1
        finally:
            print(campaign.report.to_json())
    return 0


sys.exit(main())
