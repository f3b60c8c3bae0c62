"""A root change with everything real but systemd and the KMS: key service, database, token, register, records."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensmail.cli import main
from sensmail.custody import ceremony, credentials, host, notes, root_key
from sensmail.custody.host import UnitFailed
from sensmail.custody.root_host import RootHost, file_table
from sensmail.fields import row_key
from sensmail.host import systemd
from sensmail.keyd import policy as policy_file
from sensmail.keyd import register, root_keys
from sensmail.keyd.caller import SESSION
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Sealed, Sealing
from sensmail.keyd.root_keys import RootInUse
from sensmail.keys import FileRoot
from sensmail.store import Connection, Settings
from unit.keyd.conftest import ACTOR, EMAIL, Site, make_site, policy
from unit.kms.fake import running
from unit.softhsm import MODULE, PIN

APPROVED = ["--reason", "yearly", "--approver", "privacy_officer", "--approved-by", "Kim", "--reference", "2026-17"]


class Host(Site):
    """A site whose starts hand over the credentials that lie on the disk."""

    def hand_over(self) -> None:
        passed = self.home / "credentials"
        shutil.rmtree(passed)
        passed.mkdir()
        for folder, prefix in (("root", "sensmail-root_"), ("secrets", "sensmail-secret_")):
            for file in (self.home / folder).iterdir():
                if not file.name.startswith("."):
                    shutil.copy(file, passed / f"{prefix}{file.name}")
                    (passed / f"{prefix}{file.name}").chmod(0o400)

    def start(self, *, wait: bool = True) -> None:
        self.hand_over()
        super().start(wait=wait)

    def restart(self) -> None:
        if self.process is not None:
            self.stop()
        self.start()

    def run_root_key(self, ask: root_key.Request) -> root_key.Answer:
        self.hand_over()
        stage = self.home / "stage"
        stage.mkdir(exist_ok=True)
        (stage / root_key.REQUEST).write_bytes(msgspec.json.encode(ask))
        code = f"from pathlib import Path; from sensmail.custody.root_key import main; main(Path({str(stage)!r}))"
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(self.home / "credentials")}
        subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=60)
        answer = msgspec.json.decode((stage / root_key.RESULT).read_bytes(), type=root_key.Answer)
        if answer.error:
            raise UnitFailed(answer.error)
        return answer

    def want(self, **table: object) -> None:
        lines = "".join(f"{name} = {value!r}\n" for name, value in table.items())
        text = (self.home / "keyd.toml").read_text().partition("[root]")[0]
        (self.home / "keyd.toml").write_text(f"{text}[root]\n{lines}")


@pytest.fixture
def on_host(
    tmp_path: Path, configured: Settings, token: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Host, dict[str, dict[str, Any]]]]:
    """A host with a root of provider `file`, and what the settings would be for the others."""
    made = make_site(tmp_path / "k", configured)
    site = Host(made.home, configured, SESSION, {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]})
    document = policy(SESSION)
    document["data_map"] = [each for each in document["data_map"] if each["protection"] == "sealed"]
    site.policy(document)
    (site.home / "credentials" / "sensmail-root_1").rename(tmp_path / "1")
    (site.home / "root").mkdir()
    (site.home / "secrets").mkdir()
    (tmp_path / "1").rename(site.home / "root" / "1")
    first = FileRoot(site.home / "root" / "1").identity().hex()
    notes.write(site.home / root_keys.PATH.name, root_keys.encode([RootInUse(first, file_table(1))]), 0o644)
    program = tmp_path / "systemd-creds"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    monkeypatch.setattr(systemd, "SYSTEMD_CREDS", str(program))
    monkeypatch.setattr(host, "make_root", lambda generation: credentials.make_root(generation, site.home / "root"))
    monkeypatch.setattr(policy_file, "PATH", site.home / "policy.json")
    monkeypatch.setattr(ceremony, "ROOT_CHANGE", site.home / "root-change.json")
    monkeypatch.setattr(ceremony, "RootHost", lambda: RootHost(site.home / "keyd.toml", site.home / "root"))
    monkeypatch.setattr(host, "run_root_key", site.run_root_key)
    monkeypatch.setattr(host, "restart", site.restart)
    monkeypatch.setattr(host, "start", lambda: site.process or site.start())
    given = KeyService.__init__
    monkeypatch.setattr(KeyService, "__init__", lambda self, socket=site.socket, timeout_s=30.0: given(self, socket))
    with running(site.home) as kms:
        for name, value in (("pkcs11-pin", PIN), ("access", kms.access_key), ("secret", kms.secret_key)):
            (site.home / "secrets" / name).write_text(value)
        kms.make_key("made-in-the-console")
        tables: dict[str, dict[str, Any]] = {
            "file": {"provider": "file"},
            "pkcs11": {
                "provider": "pkcs11", "module": str(MODULE), "token": token, "label": f"root {tmp_path.name}",
                "destruction": "software", "pin_credential": "sensmail-secret_pkcs11-pin",
            },
            "ncloud_kms": {
                "provider": "ncloud_kms", "endpoint": kms.endpoint, "key_tag": "made-in-the-console",
                "access_key_credential": "sensmail-secret_access", "secret_key_credential": "sensmail-secret_secret",
                "ca_file": str(kms.certificate),
            },
        }  # fmt: skip
        site.start()
        yield site, tables
        if site.process is not None:
            site.stop()


def test_around_all_providers_with_records_and_register(
    on_host: tuple[Host, dict[str, dict[str, Any]]],
    session: Callable[[str], Connection],
    capsys: pytest.CaptureFixture[str],
) -> None:
    site, tables = on_host
    with site.client() as keys:
        (subject,) = keys.new_subjects()
        (envelope,) = keys.seal([Sealing(subject, EMAIL, row_key(subject), b"kept")])
    for number, kind in enumerate(("pkcs11", "ncloud_kms", "file"), start=1):
        site.want(**tables[kind])
        assert main(["keys", "rotate", "--now", "root", "--reason", "x"]) == 1
        assert "the policy asks for the approval of privacy_officer" in capsys.readouterr().err
        assert main(["keys", "rotate", "--now", "root", *APPROVED]) == 0, capsys.readouterr().err
        assert "done: recorded, and entered into the key register" in capsys.readouterr().out
        site.stop(signal.SIGKILL)
        site.start()
        with site.client() as keys:
            assert [each.provider for each in keys.status().roots] == [kind]
            assert keys.open(Sealed(subject, EMAIL, row_key(subject), envelope), "own_data", ACTOR) == b"kept"
        rows = [line for line in register.lines(session(register.ROLE)) if line.kind == "root"]
        assert [line.provider for line in rows] == ["file", "pkcs11", "ncloud_kms", "file"][: number + 1]
        ended = [(line.destruction, line.approver, bool(line.destroyed)) for line in rows]
        assert ended[:-1] == [("software", "privacy_officer", True)] * number
        assert not ended[-1][2]
    root_records = [row for row in site.rows("act, outcome, detail->>'phase'") if row[0] == "keys.root"]
    assert root_records == [("keys.root", "done", "begin"), ("keys.root", "done", "end")] * 3


def test_the_end_of_a_root_that_the_register_does_not_take_is_not_called_done(
    on_host: tuple[Host, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site, tables = on_host
    site.want(**tables["pkcs11"])
    with monkeypatch.context() as patch:
        patch.setattr(register, "note", lambda *_: None)
        assert main(["keys", "rotate", "--now", "root", *APPROVED]) == 1
    assert "its end is not in the key register" in capsys.readouterr().err
    assert (site.home / "root-change.json").exists()
    assert main(["keys", "rotate", "--now", "root", "--reason", "again"]) == 0
    assert "taken up again: begun by" in capsys.readouterr().out
