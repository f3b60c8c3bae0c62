"""A hot standby of the real cluster, made by PostgreSQL's own base backup: it takes no record, so nothing opens."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import Unavailable
from sensmail.keyd.protocol import Sealed, Sealing
from sensmail.keys import FileRoot, Keyring, Place
from sensmail.store import SUPERUSER, Settings, connect

from .conftest import ACTOR, EMAIL, Site, make_site


@pytest.fixture
def standby(database: Settings) -> Iterator[Settings]:
    """The whole cluster once more, in recovery, open for reading."""
    home = Path(tempfile.mkdtemp(prefix="sensmail-pg-", dir="/tmp"))
    home.chmod(0o755)
    source, data = Path(database.host) / "data", home / "data"
    with connect(SUPERUSER, settings=database, database="postgres") as primary:
        primary.execute("SELECT pg_backup_start('standby', fast => true)")
        subprocess.run(["cp", "-a", source, data], check=True)
        label = primary.execute("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)").fetchall()[0][0]
    subprocess.run(["cp", "-a", source / "pg_wal", data], check=True)
    (data / "postmaster.pid").unlink()
    (data / "backup_label").write_text(label)
    (data / "standby.signal").touch()
    [binaries] = [max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[4]))]
    owner = data.owner()
    shutil.chown(home, owner)
    for name in ("backup_label", "standby.signal"):
        shutil.chown(data / name, owner)
    become = ["runuser", "-u", owner, "--"] if owner != "root" else []
    control = [*become, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(home / "log"), "-o", f"-k {home}"]
    subprocess.run([*control, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        yield replace(database, host=str(home))
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        shutil.rmtree(home)


def test_a_standby_takes_no_record_so_nothing_opens(tmp_path: Path, standby: Settings) -> None:
    site: Site = make_site(tmp_path / "k", standby)
    with Keyring.open([Place(each) for each in site.places], FileRoot(site.root)) as ring:
        subject = UUID(bytes=ring.new_subject_key().subject)
    site.start()
    try:
        with KeyService(site.socket) as keys:
            with pytest.raises(Unavailable, match="standby"):
                keys.new_subjects()
            [envelope] = keys.seal([Sealing(subject, EMAIL, row_key(1), b"secret")])
            with pytest.raises(Unavailable, match=r"the database is a standby; .*; nothing was opened"):
                keys.open(Sealed(subject, EMAIL, row_key(1), envelope), "own_data", ACTOR)
            with pytest.raises(Unavailable, match="standby"):
                keys.roll("kim", "why")
            assert "standby" in keys.status().database
        assert site.rows() == []
    finally:
        site.stop()
