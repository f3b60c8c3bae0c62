"""Make one root key: `python -m sensmail.custody.make_root GENERATION`, as unit sensmail-keyd-root@GENERATION.service.

The key is in clear in this process and in systemd-creds for a moment: the unit keeps both out of swap and core files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sensmail.custody import credentials
from sensmail.host.hardening import HardeningError, harden


def main(arguments: list[str], directory: Path = credentials.DIRECTORY) -> int:
    """Exit status 1 and one line on standard error where no key was made."""
    try:
        harden()
        print(f"made {credentials.make_root(int(arguments[0]), directory)}")
    except (credentials.CredentialError, HardeningError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
