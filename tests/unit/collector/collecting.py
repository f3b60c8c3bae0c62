"""The collector as a process of its own, on a directory of journal files: `collecting.py SETTINGS DIRECTORY HOST`."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from sensmail.records.collector.names import Names
from sensmail.records.collector.service import serve
from sensmail.store import settings

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
settings.SETTINGS_PATH = Path(sys.argv[1])
serve(Names(b"k" * 32), sys.argv[3], threading.Event(), [f"--directory={sys.argv[2]}"])
