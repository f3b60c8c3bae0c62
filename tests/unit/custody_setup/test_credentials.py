"""Root credentials: made once, whole or not at all, never in clear, never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensmail.custody import credentials
from sensmail.custody import make_root as make_root_unit
from sensmail.custody.credentials import CredentialError, destroy_root, generations, make_root
from sensmail.host import systemd
from sensmail.host.hardening import HardeningError


@pytest.fixture
def creds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for systemd-creds, which keeps its arguments and turns every byte over."""
    program = tmp_path / "systemd-creds"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n[ -e {tmp_path}/fail ] && {{ echo no host key >&2; exit 1; }}\n'
        f"tee {tmp_path}/plain | tr '\\000-\\377' '\\377\\000-\\376'\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(systemd, "SYSTEMD_CREDS", str(program))
    return tmp_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_first_generation_is_sealed_under_its_name(creds: Path, root: Path) -> None:
    path = make_root(1, root)
    assert path == root / "1"
    arguments = (creds / "arguments").read_text().split()
    assert arguments == ["encrypt", "--name=sensmail-root_1", "--with-key=auto", "--tpm2-pcrs=", "-", "-"]
    plain = (creds / "plain").read_bytes()
    assert len(plain) == 32
    assert plain not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_unit_makes_it_in_a_process_that_is_hardened_first(
    creds: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        assert generations(root) == []
        raise HardeningError("memory cannot be locked")

    monkeypatch.setattr(make_root_unit, "harden", refused)
    assert make_root_unit.main(["1"], root) == 1
    assert "memory cannot be locked" in capsys.readouterr().err
    assert generations(root) == []
    monkeypatch.setattr(make_root_unit, "harden", lambda: None)
    assert make_root_unit.main(["1"], root) == 0
    assert generations(root) == [1]
    assert make_root_unit.main(["1"], root) == 1
    assert "holds a root key already" in capsys.readouterr().err


def test_two_root_keys_differ(creds: Path, root: Path) -> None:
    make_root(1, root)
    first = (creds / "plain").read_bytes()
    make_root(2, root)
    assert (creds / "plain").read_bytes() != first
    assert generations(root) == [1, 2]


def test_a_root_key_is_never_replaced(creds: Path, root: Path) -> None:
    before = make_root(1, root).read_bytes()
    with pytest.raises(CredentialError, match=r"root/1: holds a root key already"):
        make_root(1, root)
    assert (root / "1").read_bytes() == before


def test_nothing_is_left_when_it_cannot_be_sealed(creds: Path, root: Path) -> None:
    (creds / "fail").touch()
    with pytest.raises(CredentialError, match="encrypt failed: no host key"):
        make_root(1, root)
    assert list(root.iterdir()) == []


def test_nothing_is_left_without_the_program(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "SYSTEMD_CREDS", "/nowhere/systemd-creds")
    with pytest.raises(CredentialError, match="does not run"):
        make_root(1, root)
    assert list(root.iterdir()) == []


def test_half_a_credential_is_no_generation(creds: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the bytes were written and before they got their name."""

    def cut(self: object, source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(credentials.Files, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            make_root(1, root)
    assert generations(root) == []
    make_root(1, root)
    assert generations(root) == [1]
    assert [each.name for each in root.iterdir()] == ["1"]


def test_generations_as_a_unit_gets_them(tmp_path: Path) -> None:
    for name in ("sensmail-root_2", "sensmail-root_10", "sensmail-secret_pkcs11-pin", "notes"):
        (tmp_path / name).touch()
    assert generations(tmp_path) == [2, 10]
    assert generations(tmp_path / "none") == []


def test_destroyed_is_overwritten_before_it_goes(creds: Path, root: Path) -> None:
    path = make_root(1, root)
    before = path.read_bytes()
    with path.open("rb") as still_open:
        destroy_root(1, root)
        after = still_open.read()
    assert len(after) == len(before)
    assert after != before
    assert generations(root) == []
    with pytest.raises(CredentialError, match=r"root/1: not destroyed"):
        destroy_root(1, root)


def test_a_directory_that_cannot_be_read_is_named(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(CredentialError, match=r"root/file: Not a directory"):
        generations(root / "file")
