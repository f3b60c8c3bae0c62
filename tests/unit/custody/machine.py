"""A host whose root key may lie with any provider: credential files, a real token, the strict imitation of the KMS.

What stands for systemd: a unit's start hands over the credentials that lie on the disk, and a restart of the service
opens the key file anew with what the settings say.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.custody import credentials, host, root_key
from sensmail.custody.host import UnitFailed
from sensmail.custody.root_change import Standing, change_root
from sensmail.custody.root_host import RootHost, file_table
from sensmail.host import systemd
from sensmail.keyd import root_keys
from sensmail.keyd.errors import KeyServiceError, RollIncomplete
from sensmail.keyd.protocol import Why
from sensmail.keyd.root_keys import RootInUse
from sensmail.keyd.settings import CREDENTIALS, load
from sensmail.keys import Keyring, Officers, Place
from sensmail.keys.errors import KeyFailure, PlaceUnreachable
from sensmail.keys.provider import make_roots
from unit.kms.fake import FakeKms
from unit.softhsm import MODULE, PIN

Kind = Literal["file", "pkcs11", "ncloud_kms"]
KINDS: tuple[Kind, ...] = ("file", "pkcs11", "ncloud_kms")
WHY = Why("kim", "every two years", "privacy_officer")


class Cut(BaseException):
    """The process was killed here."""


class Machine:
    """One host; its service is one open keyring, which `restart` opens anew."""

    def __init__(self, folder: Path, kind: Kind, token: str, kms: FakeKms, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.token, self.kms = folder, token, kms
        self.log, self.cut_at, self.made = list[str](), 0, 0
        self.configuration, self.state = folder / "keyd.toml", folder / "root-change.json"
        self.roots, self.secrets, self.passed = folder / "root", folder / "secrets", folder / "passed"
        for each in (self.roots, self.secrets, folder / "one", folder / "two"):
            each.mkdir()
        for name, value in (("pkcs11-pin", PIN), ("access", kms.access_key), ("secret", kms.secret_key)):
            (self.secrets / name).write_text(value)
        self._stand_in_for_systemd(patch)
        self.host = RootHost(self.configuration, self.roots)
        self.want(kind)
        table: dict[str, Any] = self.host.wanted(RootInUse("0" * 32, {}))
        if kind == "file":
            table = file_table(1)
        first = RootInUse(self.host.prepare(table), table)
        self.host.remember([first])
        places = [Place(folder / "one"), Place(folder / "two")]
        self._start_unit()
        officers = Officers.of([X25519PrivateKey.generate().public_key() for _ in range(3)])
        self.ring = Keyring.create(places, load(self.configuration).roots(), officers)
        self.key = self.ring.new_subject_key()
        self.held = {first.identity}

    def _stand_in_for_systemd(self, patch: pytest.MonkeyPatch) -> None:
        program = self.folder / "systemd-creds"
        program.write_text("#!/bin/sh\nexec cat\n")
        program.chmod(0o755)
        patch.setattr(systemd, "SYSTEMD_CREDS", str(program))
        patch.setattr(host, "make_root", lambda generation: credentials.make_root(generation, self.roots))
        patch.setenv(CREDENTIALS, str(self.passed))
        patch.setattr(root_key, "harden", lambda: None)
        patch.setattr(host, "run_root_key", self._run_unit)
        patch.setattr(host, "restart", self._restart)

    def _start_unit(self) -> None:
        """Its credentials are those that lie on the disk now."""
        shutil.rmtree(self.passed, ignore_errors=True)
        self.passed.mkdir()
        for folder, prefix in ((self.roots, "sensmail-root_"), (self.secrets, "sensmail-secret_")):
            for file in folder.iterdir():
                if not file.name.startswith("."):
                    shutil.copy(file, self.passed / f"{prefix}{file.name}")
                    (self.passed / f"{prefix}{file.name}").chmod(0o400)

    def _run_unit(self, ask: root_key.Request) -> root_key.Answer:
        self.act(f"{ask.act} {ask.table['provider']}")
        self._start_unit()
        stage = self.folder / "stage"
        stage.mkdir(exist_ok=True)
        (stage / root_key.REQUEST).write_bytes(msgspec.json.encode(ask))
        root_key.main(stage)
        answer = msgspec.json.decode((stage / root_key.RESULT).read_bytes(), type=root_key.Answer)
        if answer.error:
            raise UnitFailed(answer.error)
        return answer

    def _restart(self) -> None:
        self.act("restart")
        self.reopen()

    def reopen(self) -> None:
        """The service ends, by whatever, and starts again."""
        self.ring.close()
        self._start_unit()
        roots = load(self.configuration).roots()
        self.held = {each.identity().hex() for each in roots}
        self.ring = Keyring.open([Place(self.folder / "one"), Place(self.folder / "two")], roots)
        self._loaded = roots

    def act(self, name: str) -> None:
        if len(self.log) + 1 == self.cut_at:
            raise Cut
        self.log.append(name)

    # what an operator does

    def table(self, kind: Kind, **other: object) -> Mapping[str, Any]:
        """Settings of a root that is not there yet; a key of the KMS is made in its console."""
        self.made += 1
        if kind == "file":
            return {"provider": "file"}
        if kind == "pkcs11":
            return {
                "provider": "pkcs11", "module": str(MODULE), "token": self.token, "destruction": "software",
                "label": f"{self.folder.name} {self.made}", "pin_credential": "sensmail-secret_pkcs11-pin", **other,
            }  # fmt: skip
        self.kms.make_key(f"{self.folder.name}{self.made}")
        return {
            "provider": "ncloud_kms", "endpoint": self.kms.endpoint, "key_tag": f"{self.folder.name}{self.made}",
            "access_key_credential": "sensmail-secret_access", "secret_key_credential": "sensmail-secret_secret",
            "ca_file": str(self.kms.certificate), "timeout_s": 2, **other,
        }  # fmt: skip

    def want(self, kind: Kind, **other: object) -> Mapping[str, Any]:
        """Role keys writes this root into the settings."""
        table = self.table(kind, **other)
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
        self.configuration.write_text(f'places = ["{self.folder}/one", "{self.folder}/two"]\n[root]\n{lines}')
        return table

    def change(self, why: Why = WHY) -> Iterator[str]:
        """`sensmail keys rotate --now root`."""
        return change_root(self.host, self, self.state, why, self.ledger, self.destroyed)

    # the service

    def standing(self) -> Standing:
        status = self.ring.status()
        settled = not status.destroying and set(status.places.values()) == {"in step"}
        return Standing(status.root, frozenset(self.held), settled)

    def rewrap(self, why: Why) -> None:
        self.act("rewrap")
        try:
            self.ring.roll(root=self._loaded[-1])
        except PlaceUnreachable as error:
            raise KeyServiceError(str(error)) from error
        except KeyFailure as error:
            raise RollIncomplete(str(error)) from error

    # its records

    def ledger(self, why: Why, outcome: str, detail: Mapping[str, str | int]) -> None:
        self.act(f"record {detail['phase']} {why.approver}")

    def destroyed(self, identity: str, why: Why) -> None:
        self.act(f"register {identity[:4]} {why.approver}")

    # what is seen from outside

    def in_use(self) -> list[RootInUse]:
        return root_keys.read(self.configuration.with_name(root_keys.PATH.name))

    def opens(self, root: RootInUse) -> bool:
        """Whether this root still wraps and opens, asked past everything above."""
        self._start_unit()
        (made,) = make_roots(root.table, self.passed)
        try:
            return made.unwrap(made.wrap(bytes(32), b"x"), b"x") == bytes(32)
        except KeyFailure:
            return False

    def check(self, old: RootInUse) -> None:
        """What a finished root change leaves."""
        assert not self.state.exists()
        (new,) = self.in_use()
        assert new.identity != old.identity
        assert self.standing() == Standing(new.identity, frozenset({new.identity}), True)
        self.reopen()
        assert self.ring.key(self.key.subject) == self.key
        assert self.opens(new)
        assert not self.opens(old)


Make = Callable[[Kind], Machine]
