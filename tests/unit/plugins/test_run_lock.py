"""Two runs never work on one host at once, and a dead one stands in nobody's way for long."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sensmail.cloud.plugins.action.run_lock import alive, started, this_run
from ansible_collections.sensmail.cloud.plugins.module_utils.run_holder import free_for, same_run
from ansible_collections.sensmail.cloud.plugins.modules.run_lock import settle

KIM = {"controller": "one", "controller_id": "a1", "user": "kim", "pid": 10, "started": "99", "since": "now"}
LEE = {"controller": "two", "controller_id": "b2", "user": "lee", "pid": 10, "started": "99", "since": "now"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "run.lock"


def ask(path: Path, run: dict[str, Any], state: str = "held", check: bool = False, **extra: Any) -> dict[str, Any]:
    given = {"path": str(path), "run": run, "state": state, "override": False, "expires_seconds": 3600, "ended": None}
    holder = settle({**given, **extra}, check)["holder"]
    assert isinstance(holder, dict)
    return holder


def test_a_second_run_is_refused_and_told_by_whom(path: Path) -> None:
    assert ask(path, KIM) == {}
    assert ask(path, LEE) == KIM
    assert ask(path, KIM) == {}, "the holder may ask again"


def test_a_lock_that_is_given_back_is_free(path: Path) -> None:
    ask(path, KIM)
    ask(path, KIM, "released")
    assert ask(path, LEE) == {}


def test_nobody_gives_back_the_lock_of_another(path: Path) -> None:
    ask(path, KIM)
    ask(path, LEE, "released")
    assert ask(path, LEE) == KIM


def test_a_run_that_ended_is_taken_over_by_its_controller(path: Path) -> None:
    ask(path, KIM)
    again = {**KIM, "pid": 11}
    assert ask(path, again) == KIM
    assert ask(path, again, ended=KIM) == {}
    assert ask(path, LEE, ended=KIM) == again, "the one that ended is not the holder any more"


@pytest.mark.parametrize(("age", "free"), [(3500, False), (3700, True), (-60, True)])
def test_an_old_note_counts_as_left_behind(path: Path, age: int, free: bool) -> None:
    ask(path, KIM)
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    assert (ask(path, LEE) == {}) is free


def test_the_operator_may_insist(path: Path) -> None:
    ask(path, KIM)
    assert ask(path, LEE, override=True) == {}
    assert ask(path, KIM) == LEE


def test_a_check_takes_nothing(path: Path) -> None:
    ask(path, KIM, check=True)
    assert ask(path, LEE) == {}
    assert ask(path, KIM, check=True) == LEE


@pytest.mark.parametrize("note", ["{", "[1]", "\x00"])
def test_half_a_note_is_none(path: Path, note: str) -> None:
    path.parent.mkdir()
    path.write_text(note)
    assert ask(path, KIM) == {}


def test_who_comes_at_the_same_moment_waits(path: Path) -> None:
    """Another run is between reading and writing its note: this one must see what it wrote."""
    script = (
        "import json, sys\n"
        "from ansible_collections.sensmail.cloud.plugins.modules.run_lock import settle\n"
        "print(json.dumps(settle(json.loads(sys.argv[1]), False)['holder']))"
    )
    given = {"path": str(path), "state": "held", "override": False, "expires_seconds": 3600, "ended": None, "run": LEE}
    path.parent.mkdir()
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        other = subprocess.Popen([sys.executable, "-c", script, json.dumps(given)], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1.5)
        file.write(json.dumps(KIM))
    assert json.loads(other.communicate(timeout=10)[0]) == KIM


def test_a_number_that_was_given_again_is_another_process() -> None:
    assert not same_run(KIM, {**KIM, "started": "100"})
    assert not same_run(KIM, {**KIM, "controller_id": "b2"})
    assert not same_run(None, None)
    assert free_for(KIM, {}, ended=None, expired=False)


def test_the_controller_knows_who_lives() -> None:
    child = subprocess.Popen(["sleep", "60"])
    note = {"pid": child.pid, "started": started(child.pid)}
    assert alive(note)
    assert not alive({**note, "started": "1"})
    child.kill()
    child.wait()
    assert not alive(note)


def test_a_note_names_the_process_that_the_operator_started() -> None:
    assert this_run()["pid"] == os.getppid()
    assert alive(this_run())
