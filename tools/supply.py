#!/usr/bin/env python3
"""What comes from outside: a bill of materials for each lock, and an audit of the locks for known vulnerabilities.

`supply.py sbom` writes build/sbom/<lock>.cdx.json (CycloneDX). `supply.py audit` asks the vulnerability service through
pip-audit and counts what was really answered: a package that the service does not know, or a service out of reach, is
reported as "not assessed", never as free of findings. It ends with 1 only where there are findings; a package that was
not assessed fails it with `--complete`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "sbom"
SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Audit:
    """The answer for one lock: how many packages were assessed, which were not, and the findings in words."""

    lock: str
    assessed: int
    not_assessed: tuple[str, ...]
    findings: tuple[str, ...]


def locks() -> list[Path]:
    """The controller's lock and one for each Python of a managed host."""
    return sorted(ROOT.glob("requirements*.txt"))


def pinned(lock: Path) -> dict[str, str]:
    """Name and version of everything a lock pins."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.M)
    return {name.lower().replace("_", "-"): version for name, version in found}


def sbom(lock: Path) -> Path:
    """Write the CycloneDX document of a lock and return its path.

    Raises:
        subprocess.CalledProcessError: cyclonedx-py refuses the lock.
        ValueError: the document does not hold every pinned package.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    target = OUT / f"{lock.stem}.cdx.json"
    command: list[str | Path] = [SCRIPTS / "cyclonedx-py", "requirements", "--pyproject", ROOT / "pyproject.toml"]
    command += ["--output-reproducible", "--of", "JSON", "-o", target, lock]
    subprocess.run(command, check=True, capture_output=True)
    document = json.loads(target.read_text(encoding="utf-8"))
    listed = {part["name"].lower().replace("_", "-"): part["version"] for part in document["components"]}
    if listed != pinned(lock):
        raise ValueError(f"{target} and {lock.name} differ: {sorted(listed.items() ^ pinned(lock).items())}")
    return target


def audit(lock: Path) -> Audit:
    """Ask the vulnerability service about one lock."""
    command: list[str | Path] = [SCRIPTS / "pip-audit", "-r", lock, "--disable-pip", "--require-hashes", "-f", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr.strip().splitlines()[-1:] or "pip-audit said nothing", file=sys.stderr)
        return Audit(lock.name, 0, tuple(pinned(lock)), ())
    return judge(lock.name, rows)


def judge(lock: str, rows: list[dict[str, Any]]) -> Audit:
    """Sort pip-audit's rows: a skipped package is not assessed, whatever its closing line says."""
    skipped = tuple(row["name"] for row in rows if "skip_reason" in row)
    found = tuple(
        f"{row['name']} {row['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no release yet'}"
        for row in rows
        for flaw in row.get("vulns", [])
    )
    return Audit(lock, len(rows) - len(skipped), skipped, found)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="supply", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=("sbom", "audit"))
    parser.add_argument("--complete", action="store_true", help="a package that was not assessed fails the audit")
    options = parser.parse_args()
    if options.verb == "sbom":
        for lock in locks():
            print(sbom(lock).relative_to(ROOT))
        return 0
    audits = [audit(lock) for lock in locks()]
    for one in audits:
        total = one.assessed + len(one.not_assessed)
        print(f"{one.lock}: {one.assessed} of {total} assessed, {len(one.findings)} findings")
        if one.not_assessed:
            print(f"  NOT ASSESSED: {len(one.not_assessed)} packages; the vulnerability service gave no answer")
        print("".join(f"  {finding}\n" for finding in one.findings), end="")
    bad = any(one.findings or (options.complete and one.not_assessed) for one in audits)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
