"""App passwords of the two demo mailboxes: made on the host, shown here, kept for the next `make up`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from up.host import Site

FILE = Path("build/demo-accounts.json")
LOCAL_PARTS = ("clerk", "manager")  # playbooks/demo.yml makes their mailboxes
SENSMAIL = "/opt/sensmail/current/bin/sensmail"


def accounts(site: Site) -> dict[str, str]:
    """Address and app password of each demo mailbox.

    A password is shown by the host once, so it is kept in a file that only its owner reads, with the machine's
    identity: after `make down` and `make up` there are new ones.

    Raises:
        subprocess.CalledProcessError: the host refuses to make one.
    """
    identity = site.on("cat /etc/machine-id").strip()
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    if kept.get("machine") == identity:
        return dict(kept["accounts"])
    label = f"make up {time.strftime('%Y-%m-%d %H:%M:%S')}"
    made = {
        address: site.on(SENSMAIL, "account", "app-password", "issue", address, "--label", label).strip()
        for address in (f"{local}@{site.domains[0]}" for local in LOCAL_PARTS)
    }
    FILE.parent.mkdir(exist_ok=True)
    FILE.unlink(missing_ok=True)
    with os.fdopen(os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"machine": identity, "accounts": made}, file)
    return made
