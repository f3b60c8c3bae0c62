"""Signing keys on disk: killed at any step, torn at any write, the disk full: the log goes on with an endorsed key."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from sensmail.records import sealer, signing
from sensmail.records.errors import RecordsError
from sensmail.records.sealer import Sealer
from unit.keys.stepping import Stepping
from unit.records.rig import Rig


class Killed(BaseException):
    """The process is gone: nothing after it runs, and nothing catches it."""


class Breaking(Stepping):
    """Fails at one step, and where that is a write, after a part of it."""

    left: int = -1
    taken: int = 0
    error: Callable[[], BaseException] = Killed

    def _step(self) -> None:
        kind = type(self)
        kind.taken += 1
        if kind.left == 0:
            raise kind.error()
        kind.left -= 1

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        try:
            self._step()
        except BaseException:
            super().pwrite(fd, data[: len(data) // 2], offset)
            raise
        return super().pwrite(fd, data, offset)


STEPS = {"first start": 52, "later start": 24, "change of keys": 24}


def act(rig: Rig, what: str) -> None:
    rig.write(2)
    made = rig.sealer()
    if what == "change of keys":
        made.seal()


def broken(rig: Rig, what: str, step: int, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]) -> bool:
    """Do it, and fail at a step; whether it came so far."""
    monkeypatch.setattr(sealer, "KEY_LIFE_S", 3600.0)
    if what != "first start":
        rig.write(1)
        rig.sealer()
    one = rig.sealer() if what == "change of keys" else None
    Breaking.left, Breaking.taken, Breaking.error = step, 0, error
    with monkeypatch.context() as patch:
        patch.setattr(signing, "Files", Breaking)
        patch.setattr(sealer, "KEY_LIFE_S", 0.0)
        try:
            if one is not None:
                for log in one._logs.values():
                    log.file._files = Breaking()
                rig.write(1)
                one.seal()
            else:
                rig.sealer()
        except (Killed, OSError, RecordsError):
            return True
    return False


@pytest.mark.parametrize("what", STEPS)
def test_killed_at_any_step_it_goes_on_with_an_endorsed_key(
    rig: Rig, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step = 0
    while broken(rig, what, step, monkeypatch, Killed):
        rig.write(1)
        made = rig.sealer()
        assert rig.rows("SELECT count(*) FROM records.inbox") == [(0,)]
        rig.sound()
        for log in made._logs.values():
            data = b"".join(each.read_bytes() for each in rig.directory.iterdir())
            assert log.current.private.private_bytes_raw() not in data
        if what == "first start":
            rig.end_sealers()
            forget(rig, tmp_path / str(step))
        step += 1
        assert step < 200
    assert step >= STEPS[what] // 2


def forget(rig: Rig, directory: Path) -> None:
    """As if there had never been a log."""
    names = ("head", "checkpoint", "part", "cut", "log", "access", "governance", "inbox", "cosigned", "ahead")
    rig.tamper(
        *(f"ALTER TABLE records.{name} DISABLE TRIGGER USER" for name in names),
        *(f"DROP TABLE IF EXISTS records.{ledger}_1202511" for ledger in ("access", "governance")),
        f"TRUNCATE {', '.join(f'records.{name}' for name in names)}",
        *(f"ALTER TABLE records.{name} ENABLE TRIGGER USER" for name in names),
    )
    directory.mkdir(mode=0o700)
    rig.directory = directory


def test_a_full_disk_at_any_step_loses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> OSError:
        return OSError(errno.ENOSPC, "No space left on device")

    step = 0
    while broken(rig, "change of keys", step, monkeypatch, full):
        rig.sealer()
        rig.sound()
        step += 1
        assert step < 200
    assert step >= 10


def test_a_commit_whose_answer_was_lost_is_found_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write(3)
    rig.sealer()
    for committed in (True, False):
        one = rig.sealer()
        monkeypatch.setattr(sealer, "KEY_LIFE_S", 0.0)
        rig.write(2)
        with pytest.raises((Killed, psycopg.Error)):
            lose(one, committed)
        rig.sealer()
        rig.sound()
    assert rig.rows("SELECT count(*), max(seq) FROM records.access") == [(7, 6)]


def lose(one: Sealer, committed: bool) -> None:
    if committed:
        one._settle = lambda head: (_ for _ in ()).throw(Killed())  # type: ignore[method-assign]
    else:
        one._write = lambda old, head: one._connection.close()  # type: ignore[method-assign]
    one.seal()
