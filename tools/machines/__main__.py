"""Run as `python3 tools/machines VERB` from a checkout, or as `python3 -m machines VERB` with tools/ on the path."""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from machines.cli import main

sys.exit(main())
