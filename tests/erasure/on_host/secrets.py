"""Every secret of this host, so that the test knows what must not be found: hexadecimal by name, on standard output.

Opens a copy of the second place in memory by the root credential, as only root on this host can.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sensmail.keys import FileRoot, Place, slot
from sensmail.keys.replicas import read_copy

CREDENTIALS = Path("/etc/sensmail/keys/root")
PLACE = Path("/var/lib/sensmail-keyd-second/ring")
found: dict[str, str] = {}
memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
try:
    roots = []
    for credential in sorted(CREDENTIALS.glob("[0-9]*"), key=lambda path: int(path.name)):
        name = f"sensmail-root_{credential.name}"
        clear = memory / name
        with clear.open("wb") as file:
            subprocess.run(["systemd-creds", "decrypt", f"--name={name}", credential, "-"], check=True, stdout=file)
        clear.chmod(0o400)
        roots.append(FileRoot(clear))
        found[f"root key {credential.name}"] = clear.read_bytes().hex()
        found[f"credential {credential.name}"] = credential.read_bytes().hex()
    copy = memory / "copy"
    shutil.copytree(PLACE, copy)
    journal, state = read_copy(Place(copy), roots)
    epoch = journal.epoch
    wrapped = slot.parse((copy / slot.name(epoch.number)).read_bytes(), str(copy))
    found[f"epoch key {epoch.number}"] = epoch.key.hex()
    found[f"wrapped epoch key {epoch.number}"] = wrapped.wrapped.hex()
    found[f"recovery part {epoch.number}"] = wrapped.recovery.hex()
    for subject in state.keys.subjects():
        for key in state.versions(subject):
            if any(key.material):
                found[f"subject key {subject.hex()} {key.version}"] = key.material.hex()
finally:
    shutil.rmtree(memory)
json.dump(found, sys.stdout)
