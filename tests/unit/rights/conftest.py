"""A host in a directory, its processes likewise, and the test's database: everything real but the kernel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from sensmail import accounts, store
from sensmail.policy.approval import Approval
from sensmail.rights.database import Database
from sensmail.rights.desk import Desk
from sensmail.rights.host import Host
from sensmail.rights.model import Kind, Place, Right, Wanted
from sensmail.rights.operator import Operators
from sensmail.rights.portal import Portal
from sensmail.rights.register import ROLE, Actor, Register
from sensmail.rights.sessions import Sessions
from sensmail.rights.sudo import Sudo
from sensmail.rights.terms import BASELINE, Declared, Terms
from sensmail.store import SUPERUSER, Connection, Settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZTAy3+D8gcNxUMsYBC7WC0QAqPSsZ2aCX/VZrHKM1X"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMhLZqBaoqwZYYLBRWnmW3mPJ4sU2TM4HH4lOrX0JR0q"
APPROVAL = Approval("privacy_officer", "이책임", "권한신청-2026-031")
# Midnight: this module is loaded twice, as a plugin and by name.
LATER = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=90)
TERMS = Terms("privacy_officer", longest_days=365, dormant_days=181, retention_days=1827)
TENANT, ADDRESS = "한빛군청", "clerk@example.kr"

_PASSWD = "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:105::/var/lib/postgresql:/bin/bash\n"
_SHADOW = "root:*:20000:0:99999:7:::\npostgres:!:20000::::::\n"
_GROUP = "root:x:0:\nsudo:x:27:\npostgres:x:105:\nsensmail-operators:x:990:\n"
_SUDOERS = "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir {}\n"


@dataclass
class Processes:
    """Processes of the made-up host; killing one removes it."""

    proc: Path
    killed: list[int] = field(default_factory=list)
    immortal: set[int] = field(default_factory=set)

    def start(self, pid: int, uid: int, parent: int = 1, group: str = "/system.slice/ssh.service") -> None:
        directory = self.proc / str(pid)
        directory.mkdir(parents=True)
        uids = "\t".join([str(uid)] * 4)
        (directory / "status").write_text(f"Name:\tx\nState:\tS (sleeping)\nPPid:\t{parent}\nUid:\t{uids}\n")
        (directory / "cgroup").write_text(f"0::{group}\n")

    def kill(self, pid: int, _signal: int) -> None:
        self.killed.append(pid)
        if pid not in self.immortal:
            shutil.rmtree(self.proc / str(pid), ignore_errors=True)


@dataclass
class Site:
    """What a test works with."""

    desk: Desk
    host: Host
    processes: Processes
    admin: Connection
    subject: UUID

    def wanted(self, kind: Kind = "operator", account: str = "kim", **changes: object) -> Wanted:
        shapes: dict[Kind, tuple[Right, tuple[str, ...]]] = {
            "operator": (Right("operator", "mail", account, "login"), (KEY,)),
            "sudo": (Right("sudo", "mail", account, "sudo"), ("/usr/bin/systemctl reload nginx",)),
            "database": (Right("database", self.database, account, "sensmail_auditor"), ()),
            "portal": (Right("portal", TENANT, str(self.subject), "tenant_admin"), ()),
        }
        right, terms = shapes[kind]
        values: dict[str, object] = {
            "right": right, "holder": "김운영", "terms": terms, "until": LATER, "reason": "operation",
            "approval": APPROVAL,
        }  # fmt: skip
        return Wanted(**{**values, **changes})  # type: ignore[arg-type]

    @property
    def database(self) -> str:
        return self.admin.info.dbname

    def keys(self, account: str = "kim") -> Path:
        return self.host.root / "etc/ssh/sensmail-keys" / account

    def rule(self, account: str = "kim") -> Path:
        return self.host.root / "etc/sudoers.d" / f"sensmail-{account}"

    def acts(self) -> list[str]:
        return [row[0] for row in self.admin.execute("SELECT act FROM records.inbox ORDER BY id")]


def make_tree(root: Path) -> Host:
    """A host with root, postgres and no person."""
    for directory in ("etc/ssh/sensmail-keys", "etc/sudoers.d", "etc/skel", "home", "root", "var/log"):
        (root / directory).mkdir(parents=True)
    for name, text in (("passwd", _PASSWD), ("shadow", _SHADOW), ("group", _GROUP), ("gshadow", "")):
        (root / "etc" / name).write_text(text)
    shutil.copy("/etc/login.defs", root / "etc")
    (root / "etc/sudoers").write_text(_SUDOERS.format(root / "etc/sudoers.d"))
    return Host("mail", root)


def make_desk(host: Host, sessions: Sessions, where: Settings, connection: Connection) -> Desk:
    places: dict[Kind, Place] = {
        "operator": Operators(host, sessions),
        "sudo": Sudo(host),
        "database": Database(where.name, lambda: store.connect(SUPERUSER, settings=where)),
        "portal": Portal(connection),
    }
    declared = (*BASELINE, Declared("operator", "ops", frozenset({OTHER_KEY}), "deploys"))
    actor = Actor("root", "198.51.100.7", "test", "session")
    return Desk(Register(connection, actor), places, TERMS, declared, "mail")


@pytest.fixture
def site(database: Settings, session: Callable[[str], Connection], tmp_path: Path) -> Site:
    processes = Processes(tmp_path / "proc")
    processes.start(1, 0, 0, "/init.scope")
    host = make_tree(tmp_path / "host")
    sessions = Sessions(processes.proc, processes.kill)
    admin = session(SUPERUSER)
    wanted = accounts.wanted(tenants=[{"name": TENANT, "domains": ["example.kr"]}])
    accounts.ensure(session(accounts.ROLE), wanted)
    row = admin.execute(
        "INSERT INTO accounts.subject (id, tenant_id, address, state, quota_bytes, send_limit_per_hour) "
        "SELECT gen_random_uuid(), id, %s, 'active', 1, 1 FROM accounts.tenant RETURNING id",
        (ADDRESS,),
    ).fetchone()
    assert row is not None
    return Site(make_desk(host, sessions, database, session(ROLE)), host, processes, admin, row[0])


@pytest.fixture(autouse=True)
def _no_persons_left(server: Settings) -> object:
    """Roles of persons belong to the cluster, not to the test's database."""
    yield
    with store.connect(SUPERUSER, settings=server, database="postgres") as admin:
        for (name,) in admin.execute(
            "SELECT rolname FROM pg_roles WHERE rolname IN ('kim', 'lee', 'mallory')"
        ).fetchall():
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")
