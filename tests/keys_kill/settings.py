"""What the deployment writes on a host, for a rig in one directory: root credential, key service, engine, policy."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import stage
from keys_kill.cluster import Cluster
from sensmail.policy.facts import applied_document
from sensmail.policy.load import load

_POLICY = stage.ROOT / "inventories/local/group_vars/all/policy.yml"
_PLENTY = 100_000_000
_CALLERS: list[dict[str, Any]] = [
    {
        "unit": "sensmail-rotate.service",
        "acts": ["reseal", "check", "census", "replace", "retire", "destroy_retired", "roll", "status"],
        "purposes": [],
        "openings_per_minute": None,
    },
    {
        "unit": "session",
        "acts": ["subjects", "seal", "open", "check", "census", "destroy", "roll", "status", "tombstones"],
        "purposes": ["request"],
        "openings_per_minute": _PLENTY,
        "new_subjects_per_minute": _PLENTY,
    },
]


def write(home: Path, places: Sequence[Path], cluster: Cluster) -> None:
    """Write everything below `home`, settings as `etc/sensmail`; the places are empty directories."""
    etc = home / "etc" / "sensmail"
    for directory in (*places, etc, home / "credentials"):
        directory.mkdir(mode=0o700)
    root = home / "credentials" / "sensmail-root_1"
    root.write_bytes(os.urandom(32))
    root.chmod(0o400)
    listed = ", ".join(f'"{place}"' for place in places)
    (etc / "keyd.toml").write_text(f'places = [{listed}]\n\n[root]\nprovider = "file"\n')
    where = cluster.settings
    (etc / "engine.toml").write_text(f'[database]\nhost = "{where.host}"\nport = {where.port}\nname = "{where.name}"\n')
    document = applied_document(load(_POLICY))
    document["applied"]["keys"]["callers"] = _CALLERS
    (etc / "policy.json").write_text(json.dumps(document))


def environment(home: Path) -> dict[str, str]:
    """What a unit gets from systemd, and where Python finds engine and tests."""
    path = os.pathsep.join(str(stage.ROOT / each) for each in ("src", "tests"))
    return {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "CREDENTIALS_DIRECTORY": str(home / "credentials")}
