"""Run as `python -m up [down]` with the virtual environment of `tools/setup`."""

import sys

from up.cli import main

sys.exit(main())
