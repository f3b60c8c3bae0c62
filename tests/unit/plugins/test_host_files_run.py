"""host_files on a real file system, as root, below a temporary directory."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils import file_host, file_preview, file_store
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import Attrs, Found, HostFilesError
from ansible_collections.sensmail.cloud.plugins.module_utils.file_plan import Plan
from ansible_collections.sensmail.cloud.plugins.modules.host_files import run

Row = dict[str, Any]
KILLED = -signal.SIGKILL


class Host:
    """A directory that plays the host, and the module called as Ansible calls it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "etc").mkdir(parents=True)

    def file(self, path: str, content: bytes, **attrs: Any) -> Row:
        row = {"path": self.path(path), "content": base64.b64encode(content).decode()}
        return {**row, "owner": "root", "group": "root", "mode": "0644", "secret": False, **attrs}

    def directory(self, path: str, **attrs: Any) -> Row:
        return {"path": self.path(path), "owner": "root", "group": "root", "mode": "0755", **attrs}

    def path(self, path: str) -> str:
        return str(self.root / path)

    def params(self, *files: Row, **more: Any) -> dict[str, Any]:
        own = {"manifest_dir": self.path("state/manifest"), "original_dir": self.path("state/original")}
        return {
            "claim": "role",
            "src": None,
            "table": [],
            "files": list(files),
            "directories": [],
            "validate": [],
            **own,
            **more,
        }

    def run(self, *files: Row, check: bool = False, **more: Any) -> Plan:
        return run(self.params(*files, **more), check)[0]

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """Everything outside of our own state: kind, mode, owner, content."""
        result: dict[str, tuple[Any, ...]] = {}
        for path in sorted(self.root.rglob("*")):
            if "state" in path.relative_to(self.root).parts:
                continue
            status = path.lstat()
            if path.is_symlink():
                result[str(path)] = ("link", str(path.readlink()))
            else:
                content = path.read_bytes() if path.is_file() else None
                result[str(path)] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content)
        return result


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def validate(pattern: str, script: str) -> dict[str, Any]:
    return {"validate": [{"path": pattern, "command": ["sh", "-ec", script]}]}


def test_files_directories_modes_and_binary_content(host: Host) -> None:
    everything = bytes(range(256)) * 3
    files = [
        host.file("etc/new/deep/x.bin", everything, owner="daemon", group="mail", mode="2751"),
        host.file("etc/empty", b""),
        host.file("etc/한글 name.conf", "값\n".encode()),
    ]
    directories = [host.directory("var/lib/x", owner="daemon", mode="1770")]
    assert host.run(*files, directories=directories, check=True).changed
    assert list(host.tree()) == [host.path("etc")]  # check mode did nothing
    assert host.run(*files, directories=directories).changed
    x = host.root / "etc/new/deep/x.bin"
    assert x.read_bytes() == everything
    assert (stat.S_IMODE(x.stat().st_mode), x.owner(), x.group()) == (0o2751, "daemon", "mail")
    assert stat.S_IMODE((host.root / "etc/new").stat().st_mode) == 0o755
    assert stat.S_IMODE((host.root / "var/lib/x").stat().st_mode) == 0o1770
    assert not host.run(*files, directories=directories).changed
    assert not host.run(*files, directories=directories, check=True).changed


def test_a_umask_changes_no_mode(host: Host) -> None:
    old = os.umask(0o077)
    try:
        host.run(host.file("etc/a/b", b"x", mode="0664"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((host.root / "etc/a").stat().st_mode) == 0o755
    assert stat.S_IMODE((host.root / "etc/a/b").stat().st_mode) == 0o664


def test_drift_of_content_mode_and_owner_is_mended(host: Host) -> None:
    file = host.file("etc/x", b"right", mode="0640")
    host.run(file)
    path = host.root / "etc/x"
    for spoil in (
        lambda: path.write_bytes(b"wrong"),
        lambda: path.chmod(0o666),
        lambda: os.chown(path, 1, 1),
        path.unlink,
    ):
        spoil()
        assert host.run(file, check=True).changed
        assert host.run(file).changed
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (b"right", 0o640, 0)
        assert not host.run(file).changed


def test_numbers_for_owners_are_idempotent(host: Host) -> None:
    file = host.file("etc/x", b"", owner="0", group="54321")
    host.run(file)
    assert (host.root / "etc/x").stat().st_gid == 54321
    assert not host.run(file).changed


def test_removal_restores_what_was_there_and_leaves_what_is_not_ours(host: Host) -> None:
    conffile, link, foreign = host.root / "etc/main.cf", host.root / "etc/resolv.conf", host.root / "etc/foreign"
    conffile.write_bytes(b"debian")
    conffile.chmod(0o604)
    os.chown(conffile, 1, 2)
    link.symlink_to("../run/stub")
    foreign.write_bytes(b"theirs")
    (host.root / "etc/shared").mkdir()
    before = host.tree()
    files = [host.file(f"etc/{name}", b"ours") for name in ("main.cf", "resolv.conf", "shared/x", "own/a", "own/b")]
    host.run(*files, directories=[host.directory("data")])
    assert link.read_bytes() == b"ours"
    assert not link.is_symlink()
    (host.root / "etc/own/users-file").write_bytes(b"")
    plan = host.run(*files[:1])
    assert conffile.read_bytes() == b"ours"
    assert str(link.readlink()) == "../run/stub"
    assert {step.action for step in plan.steps} == {"restore", "delete", "rmdir"}
    assert (host.root / "etc/own").is_dir()  # not empty, which the plan knew
    assert host.path("etc/own") not in plan.touched
    (host.root / "etc/own/users-file").unlink()
    (host.root / "etc/own").rmdir()
    host.run()
    assert host.tree() == before
    assert list((host.root / "state/manifest").glob("*.json")) == []
    assert [p for p in (host.root / "state/original").rglob("*") if p.is_file()] == []


def test_the_first_original_is_the_one_that_is_kept(host: Host) -> None:
    path = host.root / "etc/x"
    path.write_bytes(b"debian")
    host.run(host.file("etc/x", b"ours"))
    path.write_bytes(b"edited by hand")
    host.run(host.file("etc/x", b"ours 2"))
    (host.root / "state/manifest/role.json").unlink()  # memory lost: what stands there is ours, not the original
    host.run(host.file("etc/x", b"ours 3"))
    host.run()
    assert path.read_bytes() == b"debian"


def test_the_memory_is_for_root_only(host: Host) -> None:
    (host.root / "etc/x").write_bytes(b"old")
    host.run(host.file("etc/x", b"new"))
    for directory in ("manifest", "original"):
        assert stat.S_IMODE((host.root / "state" / directory).stat().st_mode) == 0o700
    manifest = host.root / "state/manifest/role.json"
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o640
    assert json.loads(manifest.read_text())["files"][host.path("etc/x")]["mode"] == "0644"


def test_two_roles_do_not_share_a_path(host: Host) -> None:
    file = host.file("etc/x", b"one")
    host.run(file)
    with pytest.raises(HostFilesError, match=r"etc/x is wanted by second but belongs to role"):
        host.run(host.file("etc/x", b"two"), claim="second")
    host.run()  # the first lets go
    host.run(host.file("etc/x", b"two"), claim="second")
    assert (host.root / "etc/x").read_bytes() == b"two"


def test_no_link_is_followed(host: Host) -> None:
    victim = host.root / "victim"
    victim.mkdir()
    (victim / "passwd").write_bytes(b"untouched")
    (host.root / "etc/link").symlink_to(victim)
    (host.root / "etc/x").symlink_to(victim / "passwd")
    with pytest.raises(HostFilesError, match="symbolic link"):
        host.run(host.file("etc/link/passwd", b"evil"))
    with pytest.raises(HostFilesError, match="symbolic link"):
        host.run(directories=[host.directory("etc/link", mode="0777")])
    host.run(host.file("etc/x", b"ours"))
    assert (victim / "passwd").read_bytes() == b"untouched"
    assert (host.root / "etc/x").read_bytes() == b"ours"


def test_a_link_that_appears_between_looking_and_writing_is_not_followed(host: Host) -> None:
    (host.root / "etc/dir").mkdir()
    (host.root / "victim").mkdir()
    (host.root / "etc/dir").rmdir()
    (host.root / "etc/dir").symlink_to(host.root / "victim")
    hands = file_host.Hands()
    acts: tuple[Callable[[], None], ...] = (
        lambda: hands.put(host.path("etc/dir/x"), Found("file", content=b"evil")),
        lambda: hands.mkdir(host.path("etc/dir/x"), Attrs()),
        lambda: hands.set_attrs(host.path("etc/dir"), Found("directory")),
    )
    for act in acts:
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            act()
    assert list((host.root / "victim").iterdir()) == []


def test_a_planted_temporary_file_is_not_written_through(host: Host) -> None:
    victim = host.root / "victim"
    victim.write_bytes(b"untouched")
    (host.root / "etc" / file_host.temporary_name("x")).symlink_to(victim)
    host.run(host.file("etc/x", b"ours"))
    assert victim.read_bytes() == b"untouched"
    assert sorted(p.name for p in (host.root / "etc").iterdir()) == ["x"]


def test_a_hard_link_to_a_secret_is_broken_not_written(host: Host) -> None:
    (host.root / "other").write_bytes(b"untouched")
    os.link(host.root / "other", host.root / "etc/x")
    host.run(host.file("etc/x", b"ours"))
    assert (host.root / "other").read_bytes() == b"untouched"


@pytest.mark.parametrize("path", ["state/manifest/role.json", "state/original/etc/x", "state/manifest"])
def test_its_own_memory_is_not_managed(host: Host, path: str) -> None:
    with pytest.raises(HostFilesError, match="own memory"):
        host.run(host.file(path, b""))


def test_bad_options_are_named_before_anything_happens(host: Host) -> None:
    good = host.file("etc/good", b"")
    wrong: list[tuple[Row, str]] = [
        (host.file("etc/x", b"", owner="nobody-here"), "owner 'nobody-here' of .*etc/x"),
        (host.file("etc/x", b"", group="nobody-here"), "group 'nobody-here' of .*etc/x"),
        (host.file("etc/x", b"", mode="416"), "etc/x"),
        ({**host.file("etc/x", b""), "content": "no base64!"}, "etc/x is not base64"),
        (good, "etc/good is listed twice"),
        ({**good, "path": host.path("etc/../x")}, "normal form"),
    ]
    for row, words in wrong:
        with pytest.raises(HostFilesError, match=words):
            host.run(good, row)
    with pytest.raises(HostFilesError, match="etc/d is listed twice"):
        host.run(directories=[host.directory("etc/d"), host.directory("etc/d")])
    with pytest.raises(HostFilesError, match="controller"):
        host.run(good, table=[{"path": "*"}])
    assert list(host.tree()) == [host.path("etc")]


def test_check_mode_forgives_what_a_fresh_host_lacks(host: Host) -> None:
    file = host.file("etc/x", b"", owner="nobody-here", group="nor-this")
    directory = host.directory("var/x", owner="nobody-here")
    rows = [{"path": "*", "command": ["no-such-program"]}]
    assert host.run(file, directories=[directory], check=True, validate=rows).changed
    with pytest.raises(HostFilesError, match="nobody-here"):
        host.run(file, directories=[directory], validate=rows)
    with pytest.raises(HostFilesError, match="no-such-program is not installed"):
        host.run(host.file("etc/x", b""), validate=rows)
    assert list(host.tree()) == [host.path("etc")]


def mount_count() -> int:
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.fixture(params=["overlay", "copy"])
def covering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to show files to a validator: overlayfs, and the copy where there is none."""
    if request.param == "copy":
        mount = file_preview._mount

        def without_overlay(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
            if kind == "overlay":
                raise OSError(19, "No such device")
            mount(source, target, kind, flags, options)

        monkeypatch.setattr(file_preview, "_mount", without_overlay)
    return str(request.param)


@pytest.mark.usefixtures("covering")
def test_validators_see_the_new_host_while_the_old_one_stands(host: Host) -> None:
    os.chown(host.root / "etc", 1, 2)
    (host.root / "etc").chmod(0o751)
    host.run(host.file("etc/gone", b"gone"), host.file("etc/conf", b"old"), host.file("etc/d/kept", b"kept"))
    (host.root / "etc/foreign").write_bytes(b"foreign")
    old, mounts, stages = host.tree(), mount_count(), list(Path("/run").glob("sensmail-preview-*"))
    root = host.path("etc")
    script = f"""cd {root}
        test "$(cat conf)" = new; test "$(cat sub/added)" = added; test ! -e gone; test "$(cat foreign)" = foreign
        test "$(stat -c %U:%G:%a conf)" = daemon:mail:640; test "$(cat d/kept)" = kept
        test "$(stat -c %u:%g:%a .)" = 1:2:751
        test "$(stat -c %a:%u var)" = 700:1; echo seen > conf; exit 7"""
    files = [
        host.file("etc/conf", b"new", owner="daemon", group="mail", mode="0640"),
        host.file("etc/sub/added", b"added"),
        host.file("etc/d/kept", b"kept"),
    ]
    directories = [host.directory("etc/var", owner="daemon", mode="0700")]
    for check in (True, False):
        with pytest.raises(HostFilesError, match="ended with 7"):  # 7: every test in the script passed
            host.run(*files, directories=directories, check=check, **validate(f"{root}/conf", script))
        assert host.tree() == old
    assert mount_count() == mounts
    assert list(Path("/run").glob("sensmail-preview-*")) == stages
    host.run(*files, directories=directories, **validate(f"{root}/conf", script.replace("exit 7", "exit 0")))
    assert (host.root / "etc/conf").read_bytes() == b"new"  # what the validator wrote is gone with its namespace
    assert not (host.root / "etc/gone").exists()


def test_nothing_is_mounted_outside_where_mounts_are_shared_as_systemd_does(host: Host) -> None:
    child = os.fork()
    if not child:
        status = 1
        try:
            file_preview._libc().unshare(file_preview.CLONE_NEWNS)
            file_preview._mount("none", "/", None, file_preview.MS_REC | 1 << 20)  # MS_SHARED
            before = mount_count()
            host.run(host.file("etc/x", b""), **validate("*", "test -e etc/x || true"))
            status = 0 if mount_count() == before else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.usefixtures("covering")
def test_what_is_mounted_below_a_covered_directory_is_seen_and_can_change_too(host: Host) -> None:
    inner = host.root / "etc/mnt"
    inner.mkdir()
    script = f"cd {inner}; test -e there; test -e new; test -e ../x; exit 7"
    child = os.fork()
    if not child:
        status = 1
        try:
            file_preview._libc().unshare(file_preview.CLONE_NEWNS)
            file_preview._mount("none", "/", None, file_preview.MS_REC | file_preview.MS_PRIVATE)
            file_preview._mount("tmpfs", str(inner), "tmpfs", 0)
            (inner / "there").touch()
            for files in ([host.file("etc/mnt/new", b""), host.file("etc/x", b"")], [host.file("etc/x", b"")]):
                wish = script if len(files) == 2 else script.replace("test -e new; ", "")
                try:
                    host.run(*files, **validate("*", wish))
                except HostFilesError as refused:
                    status = 0 if "ended with 7" in str(refused) else 2
            assert not (inner / "new").exists()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_words_of_every_validator_that_refuses_are_told(host: Host) -> None:
    rows = [
        {"path": "*", "command": ["sh", "-c", "echo line 3 is wrong >&2; exit 1"]},
        {"path": "*", "command": ["sh", "-c", "echo fine; exit 0"]},
        {"path": "*", "command": ["sh", "-c", "kill -9 $$"]},
        {"path": "/other/*", "command": ["sh", "-c", "echo not concerned; exit 1"]},
    ]
    with pytest.raises(HostFilesError) as refused:
        host.run(host.file("etc/x", b""), validate=rows)
    assert "line 3 is wrong" in str(refused.value)
    assert "ended with -9" in str(refused.value)
    assert "fine" not in str(refused.value).replace("echo fine", "")
    assert "not concerned" not in str(refused.value)


def test_a_validator_that_waits_is_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_preview, "TIMEOUT_S", 0.2)
    with pytest.raises(HostFilesError, match=r"no answer within 0\.2 s"):
        host.run(host.file("etc/x", b""), **validate("*", "sleep 60"))


def test_a_validator_is_not_run_when_nothing_changes(host: Host) -> None:
    file, trap = host.file("etc/x", b""), validate("*", "exit 1")
    host.run(file)
    assert not host.run(file, **trap).changed


def test_accounts_of_a_sysusers_file_exist_for_the_validator_and_nowhere_else(host: Host) -> None:
    name = f"smtest{os.getpid()}"
    sysusers = {**host.file("x", f"u {name} - - /\nm {name} mail\n".encode()), "path": f"/etc/sysusers.d/{name}.conf"}
    file = host.file("etc/x", b"", owner=name)
    passwd = Path("/etc/passwd").read_bytes()
    script = f'id {name} | grep -q mail; test "$(stat -c %U {host.path("etc/x")})" = {name}; exit 7'
    with pytest.raises(HostFilesError, match="ended with 7"):
        host.run(sysusers, file, **validate("*", script))
    assert Path("/etc/passwd").read_bytes() == passwd
    assert not Path(f"/etc/sysusers.d/{name}.conf").exists()


def dies_at(act: Callable[[], object], number: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run in a child that kills itself at its `number`-th flush to the disk; returns its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = number
    fsync = os.fsync

    def deadly(fd: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", deadly)
    try:
        act()
    except BaseException:
        os._exit(1)
    os._exit(0)


def kill_points(tmp_path: Path, act: Callable[[Host], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Fresh hosts, each left by a run that was killed one step later than the one before."""
    for number in range(1, 1000):
        host = Host(tmp_path / str(number))
        (host.root / "etc/conf").write_bytes(b"debian")
        status = dies_at(lambda host=host: act(host), number, monkeypatch)  # type: ignore[misc]
        if status == 0:
            assert number > 10
            return
        assert status == KILLED
        yield host
    raise AssertionError("never ends")


@pytest.mark.parametrize("wanted_again", [True, False])
def test_killed_at_any_moment_files_are_whole_and_the_next_run_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted_again: bool
) -> None:
    def act(host: Host) -> Plan:
        files = [host.file("etc/conf", b"new"), host.file("etc/sub/other", b"other")]
        return host.run(*files, directories=[host.directory("var/x")])

    points = 0
    for host in kill_points(tmp_path, act, monkeypatch):
        points += 1
        assert (host.root / "etc/conf").read_bytes() in (b"debian", b"new")
        assert not (host.root / "etc/sub/other").exists() or (host.root / "etc/sub/other").read_bytes() == b"other"
        if wanted_again:
            act(host)
            assert (host.root / "etc/conf").read_bytes() == b"new"
            assert not act(host).changed
        host.run()
        assert {path.removeprefix(str(host.root)) for path in host.tree()} == {"/etc", "/etc/conf"}
        assert (host.root / "etc/conf").read_bytes() == b"debian"
    assert points > 10


def test_killed_while_removing_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(host: Host) -> Plan:
        if not (host.root / "state").exists():
            return host.run(host.file("etc/conf", b"new"), host.file("etc/sub/other", b"other"))
        return host.run()

    for host in kill_points(tmp_path, lambda host: (act(host), act(host)), monkeypatch):
        host.run()
        assert (host.root / "etc/conf").read_bytes() == b"debian"
        assert not (host.root / "etc/sub").exists()


def test_a_full_disk_is_told_and_leaves_no_rest(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run(host.file("etc/x", b"old"))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file_host.Hands, "_own", lambda _self, fd, _attrs: full(fd))
        with pytest.raises(HostFilesError, match=r"write .*etc/y: No space left on device"):
            file_host.Hands().take(host.run(host.file("etc/y", b"new"), check=True).steps)
    assert [p.name for p in (host.root / "etc").iterdir()] == ["x"]


def test_one_run_at_a_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_store, "LOCK_WAIT_S", 0.3)
    store = file_store.Store(host.path("state/manifest"), host.path("state/original"))
    with store.locked(), pytest.raises(HostFilesError, match="another run"):
        host.run(host.file("etc/x", b""))
    host.run(host.file("etc/x", b""))


def test_a_validator_does_not_outlive_a_killed_run(host: Host) -> None:
    child = os.fork()
    if not child:
        host.run(host.file("etc/x", b""), **validate("*", f"touch {host.path('state')}/begun; sleep 60"))
        os._exit(1)
    while not (host.root / "state/begun").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    host.run(host.file("etc/x", b"next"))  # would wait for the lock, and fail
    assert (host.root / "etc/x").read_bytes() == b"next"
