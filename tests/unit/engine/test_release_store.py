"""Releases on a host: complete or absent, flipped at once, completed after any cut, the one before kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils import release_store
from ansible_collections.sensmail.cloud.plugins.module_utils.release_store import ReleaseError, ReleaseStore

from .conftest import Place


def deploy(place: Place) -> str:
    store, digest = place.store, place.digest
    with store.lock():
        if digest not in store.state().complete:
            store.install(digest, place.archive())
        store.activate(digest)
    return digest


def says(place: Place) -> str:
    command = [place.host / "sensmail"]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={}).stdout.strip()


def test_new_host(place: Place) -> None:
    assert place.store.state().current is None
    digest = deploy(place)
    state = place.store.state()
    assert (state.current, state.previous, state.complete, state.strays) == (digest, None, {digest}, ())
    assert state.linked
    assert says(place) == "first"
    release = place.host / "opt/releases" / digest
    assert (release / ".complete").read_text() == f"{digest}\n"
    assert not (release / ".wheels").exists()


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_everything_is_compiled_and_readable_and_nobody_else_may_write(place: Place, mask: int) -> None:
    before = os.umask(mask)
    try:
        release = place.host / "opt/releases" / deploy(place)
    finally:
        assert os.umask(before) == mask
    site = next(release.glob("lib/python3*/site-packages"))
    for source in site.rglob("*.py"):
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source
    for path in release.rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o022 == 0, path
            assert path.stat().st_mode & 0o044 == 0o044, path


def test_second_release_keeps_the_first_and_the_third_drops_it(place: Place) -> None:
    digests = []
    for text in ("first", "second", "third"):
        place.edit(text)
        digests.append(deploy(place))
        assert says(place) == text
    state = place.store.state()
    assert (state.current, state.previous) == (digests[2], digests[1])
    assert state.complete == {digests[1], digests[2]}


def test_way_back_needs_no_archive(place: Place) -> None:
    first = deploy(place)
    place.edit("second")
    second = deploy(place)
    place.store.activate(first)
    assert says(place) == "first"
    assert place.store.state().previous == second


@pytest.mark.parametrize("step", ["-m venv", "install", "compileall"])
def test_cut_while_installing(place: Place, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    deploy(place)
    place.edit("second")
    real = ReleaseStore._run

    def cut(command: list[str]) -> None:
        real(command)
        if step in " ".join(command):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseStore, "_run", staticmethod(cut))
        with pytest.raises(KeyboardInterrupt):
            deploy(place)
    assert says(place) == "first"
    assert place.digest not in place.store.state().complete
    deploy(place)
    assert says(place) == "second"


@pytest.mark.parametrize("survived", [0, 1, 2])
def test_cut_between_the_links(place: Place, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
    first = deploy(place)
    (place.host / "sensmail").unlink()
    place.edit("second")
    real = ReleaseStore._link
    done: list[str] = []

    def cut(path: str, target: str) -> None:
        if len(done) == survived:
            raise KeyboardInterrupt
        done.append(path)
        real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseStore, "_link", staticmethod(cut))
        with pytest.raises(KeyboardInterrupt):
            deploy(place)
    assert place.store.state().current in (first, place.digest)
    second = deploy(place)
    state = place.store.state()
    assert (state.current, state.previous, state.strays, state.linked) == (second, first, (), True)
    assert says(place) == "second"


@pytest.mark.parametrize("call", ["symlink", "replace"])
def test_there_is_a_current_release_at_every_moment(place: Place, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    deploy(place)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, cut)
        with pytest.raises(KeyboardInterrupt):
            ReleaseStore._link(str(place.host / "opt/current"), "releases/next")
    assert says(place) == "first"


def test_rests_of_a_cut_run_are_removed(place: Place) -> None:
    deploy(place)
    (place.host / "opt/releases/half").mkdir()
    os.symlink("nowhere", place.host / "opt/current.new")
    place.edit("second")
    deploy(place)
    assert place.store.state().strays == ()
    assert says(place) == "second"


def test_release_without_marker_counts_as_absent(place: Place) -> None:
    digest = deploy(place)
    (place.host / "opt/releases" / digest / ".complete").unlink()
    assert place.store.state().complete == frozenset()
    deploy(place)
    assert says(place) == "first"


def _repacked(place: Place, scratch: Path, alter: Callable[[Path], None]) -> str:
    """The archive of the release, altered on its way to the host."""
    with tarfile.open(place.archive()) as tar:
        tar.extractall(scratch)
    alter(scratch)
    with tarfile.open(scratch.with_suffix(".tar"), "w") as tar:
        for path in scratch.iterdir():
            tar.add(path, arcname=path.name)
    return str(scratch.with_suffix(".tar"))


def _append_to_wheel(scratch: Path) -> None:
    with (scratch / "depend-1.0-py3-none-any.whl").open("ab") as file:
        file.write(b"x")


def _drop_hashes(scratch: Path) -> None:
    (scratch / "requirements.txt").write_text("depend==1.0\nsensmail==1.2.3\n")


@pytest.mark.parametrize("alter", [_append_to_wheel, _drop_hashes])
def test_what_was_altered_on_the_way_is_refused(place: Place, tmp_path: Path, alter: Callable[[Path], None]) -> None:
    deploy(place)
    place.edit("second")
    altered = _repacked(place, tmp_path / "scratch", alter)
    with pytest.raises(ReleaseError, match=r"(?is)install .* failed: .*hash"):
        place.store.install(place.digest, altered)
    assert says(place) == "first"
    assert place.digest not in place.store.state().complete


def test_archive_that_leads_elsewhere_is_refused(place: Place, tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        tar.add(place.lock, arcname="../../evil.txt")
    with pytest.raises(ReleaseError, match=r"holds '../../evil.txt', which is no plain file"):
        place.store.install("0" * 64, str(evil))
    assert not list(tmp_path.rglob("evil.txt"))


def test_two_installations_at_once(place: Place) -> None:
    store = place.store
    with store.lock(), pytest.raises(ReleaseError, match="another installation is at work"), place.store.lock():
        pass


def test_host_without_pip(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_store, "PIP_WHEELS", "/nonexistent/pip-*.whl")
    with pytest.raises(ReleaseError, match="install the package python3-pip-whl"):
        deploy(place)
    shutil.rmtree(place.host / "opt")
