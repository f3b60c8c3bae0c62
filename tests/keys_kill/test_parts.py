"""The harness itself: it must see phases and deaths as they are, so that no kill test can pass without a kill."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from keys_kill.cluster import Cluster, home
from keys_kill.plan import ALONE, OPEN, RESEAL, ROLL, RUNNING, plan, shares
from keys_kill.program import Program

TALKER = (
    "import time\n"
    "for line in ('phase=replace rows=0/9', 'phase=replace rows=9/9', 'phase=reseal rows=1/9', '… roll: bury'):\n"
    "    print(line, flush=True)\n"
    "    time.sleep(0.2)\n"
)


def test_the_same_seed_gives_the_same_plan_and_every_phase_its_share() -> None:
    assert plan(3, 200) == plan(3, 200)
    assert plan(3, 200) != plan(4, 200)
    found = Counter(kill.phase for kill in plan(3, 200))
    assert found == shares(200)
    assert {found[phase] for phase in (*RESEAL, *ROLL)} == {20}
    assert {kill.target for kill in plan(3, 20)} >= {"worker", "keyd", "backend"}


def test_rolls_fall_beside_a_reseal_and_alone() -> None:
    [*kills] = plan(3, 20)
    besides = Counter(kill.beside for kill in kills if kill.operation == "roll")
    assert min(besides[beside] for beside in (ALONE, OPEN, RUNNING)) >= 2
    begun = [kill.number for kill in kills if kill.operation == "reseal"]
    assert all(min(begun) < kill.number for kill in kills if kill.beside != ALONE)


def test_a_phase_alone_has_a_plan_too() -> None:
    assert {kill.phase for kill in plan(3, 7, ["bury"])} == {"bury"}
    assert {kill.beside for kill in plan(3, 40, ROLL)} == {ALONE}
    assert shares(40, ["bury"]) == {"bury": 40}


def test_phases_are_seen_as_they_are_entered(tmp_path: Path) -> None:
    program = Program("talker", [sys.executable, "-c", TALKER], tmp_path / "log")
    program.start()
    mark = program.wait_phase("reseal", 10)
    assert mark
    assert time.monotonic() - mark.at < 0.15
    assert program.wait(10) == 0
    assert [mark.phase for mark in program.marks] == ["replace", "reseal", "bury"]
    assert program.wait_phase("census", 10) is None
    assert "roll: bury" in (tmp_path / "log").read_text()


def test_a_kill_that_comes_too_late_is_told(tmp_path: Path) -> None:
    program = Program("talker", [sys.executable, "-c", TALKER], tmp_path / "log")
    program.start()
    assert program.wait_phase("reseal", 10)
    assert program.kill()
    assert program.marks[-1].phase == "reseal"
    program.start()
    program.wait(10)
    assert not program.kill()


def test_a_killed_backend_ends_every_session_and_loses_nothing() -> None:
    with home() as place, Cluster(place / "pg") as cluster:
        with cluster.session() as one, cluster.session() as other:
            assert one.execute("SHOW fsync").fetchone() == ("on",)
            one.execute("SET application_name = 'victim'")
            one.execute("CREATE TABLE kept AS SELECT 1 AS number")
            assert cluster.kill_backend("application_name = 'victim'")
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1 FROM pg_sleep(5)")
        cluster.wait()
        with cluster.session() as again:
            assert again.execute("SELECT number FROM kept").fetchone() == (1,)
        assert not cluster.kill_backend("application_name = 'victim'")
