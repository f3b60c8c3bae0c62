"""`python -m sensmail.cli`."""

from __future__ import annotations

import sys

from sensmail.cli import main

sys.exit(main())
