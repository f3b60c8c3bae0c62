"""A fresh SoftHSM2 token: the real library of Debian, called as an HSM's would be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"


def make_token(home: Path, label: str) -> Path:
    """A new token below `home`; returns the configuration that $SOFTHSM2_CONF has to name.

    Raises:
        FileNotFoundError: SoftHSM2 is not installed.
    """
    tool = shutil.which("softhsm2-util")
    if tool is None or not MODULE.exists():
        raise FileNotFoundError("tests of the pkcs11 root need SoftHSM2: apt install softhsm2")
    (home / "tokens").mkdir(exist_ok=True)
    configuration = home / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {home}/tokens\nobjectstore.backend = file\n")
    words = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "5678"]
    subprocess.run([tool, *words], check=True, capture_output=True, env={"SOFTHSM2_CONF": str(configuration)})
    return configuration
