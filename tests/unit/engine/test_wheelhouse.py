"""Wheels on the controller: digests that follow the content, locked downloads, a build that leaves no trace."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible_collections.sensmail.cloud.plugins.plugin_utils import wheelhouse
from ansible_collections.sensmail.cloud.plugins.plugin_utils.wheelhouse import Wheelhouse, WheelhouseError

from .conftest import VERSION, Place


def test_digest_follows_sources_and_lock(cold: Place) -> None:
    seen = [cold.digest, cold.digest]
    cold.edit("second")
    seen.append(cold.digest)
    cold.lock.write_text(cold.lock.read_text() + "# more\n")
    seen.append(cold.digest)
    (cold.root / "src/sensmail/a.sql").write_text("")
    seen.append(cold.digest)
    (cold.root / "src/sensmail/a.sql").rename(cold.root / "src/sensmail/b.sql")
    seen.append(cold.digest)
    assert seen[0] == seen[1]
    assert len(set(seen)) == len(seen) - 1


def test_digest_ignores_what_is_not_installed(cold: Place) -> None:
    before = cold.digest
    cache = cold.root / "src/sensmail/__pycache__"
    cache.mkdir()
    (cache / "x.pyc").write_bytes(b"x")
    (cold.root / "README.md").write_text("new wording")
    assert cold.digest == before


def test_archive_holds_every_wheel_and_its_hash(cold: Place) -> None:
    with tarfile.open(cold.archive()) as tar:
        names = tar.getnames()
        content = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]  # plain files
    assert sorted(names) == ["depend-1.0-py3-none-any.whl", "requirements.txt", "sensmail-1.2.3-py3-none-any.whl"]
    requirements = content.pop("requirements.txt").decode()
    for wheel in content.values():
        assert hashlib.sha256(wheel).hexdigest() in requirements


def test_same_sources_same_bytes(cold: Place, tmp_path: Path) -> None:
    def own(cache: str) -> bytes:
        with tarfile.open(Wheelhouse(cold.root, tmp_path / cache).archive(VERSION, "x86_64")) as tar:
            return tar.extractfile("sensmail-1.2.3-py3-none-any.whl").read()  # type: ignore[union-attr]

    first = own("one")
    assert first == own("two")
    with zipfile.ZipFile(io.BytesIO(first)) as wheel:
        assert {entry.date_time for entry in wheel.infolist()} == {(2020, 1, 1, 0, 0, 0)}


def test_build_leaves_the_checkout_as_it_was(cold: Place) -> None:
    before = sorted(cold.root.rglob("*"))
    cold.archive()
    assert sorted(cold.root.rglob("*")) == before


def test_second_call_runs_nothing(cold: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cold.archive()

    def never(arguments: list[str], what: str) -> None:
        pytest.fail(f"{what}: {arguments}")

    monkeypatch.setattr(wheelhouse, "_pip", never)
    assert cold.archive() == first


def test_wheel_with_another_hash_is_refused_and_not_kept(cold: Place) -> None:
    good = cold.lock.read_text()
    cold.lock.write_text("depend==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(WheelhouseError, match=rf"the wheels of {cold.lock.name} .* could not be had: (?s:.*)[Hh]ash"):
        cold.archive()
    cold.lock.write_text(good)
    assert Path(cold.archive()).is_file()


def test_lock_without_hashes_is_refused(cold: Place) -> None:
    cold.lock.write_text("depend==1.0\n")
    with pytest.raises(WheelhouseError, match=r"(?is)could not be had: .*hash"):
        cold.archive()


def test_interrupted_download_is_started_again(cold: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = wheelhouse._pip

    def cut(arguments: list[str], what: str) -> None:
        real(arguments, what)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wheelhouse, "_pip", cut)
        with pytest.raises(KeyboardInterrupt):
            cold.archive()
    assert not list((cold.cache / "wheelhouse").glob("*"))
    assert Path(cold.archive()).is_file()


def test_old_archives_go(cold: Place) -> None:
    for number in range(wheelhouse.KEPT_ARCHIVES + 2):
        cold.edit(str(number))
        last = cold.archive()
    kept = list((cold.cache / "release").iterdir())
    assert len(kept) == wheelhouse.KEPT_ARCHIVES
    assert Path(last) in kept


def test_not_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(WheelhouseError, match=f"no engine below {tmp_path}"):
        Wheelhouse(tmp_path, tmp_path).digests()


def test_broken_source_says_so(cold: Place) -> None:
    (cold.root / "pyproject.toml").write_text("[project")
    with pytest.raises(WheelhouseError, match="the engine's own wheel could not be had"):
        cold.archive()
