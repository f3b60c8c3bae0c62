"""The fault runner itself: what it must report, so that no kill test can pass without a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

import stage
from faults.runner import Fault, FaultError, plan, run

APPEND = 'for i in $(seq 5); do [ -e "{0}/$i" ] || {{ sleep 0.2; touch "{0}/$i"; }}; done'


def script(place: Path) -> list[str]:
    """A command that takes a second and resumes where it was broken."""
    return ["sh", "-c", APPEND.format(place)]


def test_same_seed_same_plan() -> None:
    assert plan(3, 60) == plan(3, 60)
    assert plan(3, 60) != plan(4, 60)
    assert {fault.kind for fault in plan(3, 60)} == {"kill", "power", "cut"}
    assert [fault.after for fault in plan(3, 60)] == sorted(fault.after for fault in plan(3, 60))


def test_a_moment_may_be_a_mark_of_progress(tmp_path: Path) -> None:
    steps = ["sh", "-c", f"for i in 1 2 3 4 5; do echo step $i; touch {tmp_path}/$i; sleep 0.3; done"]
    report = run([Fault("kill", 3.0)], steps, seed=0, marks="^step", name="runner")
    assert report.attempts[0].returncode == -9
    log = (stage.LOGS / "runner-1.log").read_text()
    assert log.count("step") == 3


def test_a_killed_command_is_completed_by_the_next_run(tmp_path: Path) -> None:
    report = run([Fault("kill", 0.3), Fault("kill", 0.3)], script(tmp_path), seed=0, name="runner")
    assert [attempt.returncode for attempt in report.attempts] == [-9, -9, 0]
    assert report.hits == 2
    assert len(list(tmp_path.iterdir())) == 5


def test_children_die_with_the_command(tmp_path: Path) -> None:
    late = tmp_path / "late"
    run(
        [Fault("kill", 0.2)], ["sh", "-c", f"sh -c 'sleep 1; touch {late}' & wait; rm -f {late}"], seed=0, name="runner"
    )
    assert not late.exists()


def test_a_fault_that_comes_too_late_is_an_error() -> None:
    with pytest.raises(FaultError, match="no fault struck"):
        run([Fault("kill", 5)], ["true"], seed=0, name="runner")


def test_a_command_that_never_completes_is_an_error() -> None:
    with pytest.raises(FaultError, match="not completed"):
        run([Fault("kill", 0.1)], ["sh", "-c", "sleep 0.3; exit 3"], seed=0, name="runner")


def test_a_broken_invariant_is_an_error(tmp_path: Path) -> None:
    def invariant() -> None:
        raise AssertionError("the ledger has a gap")

    with pytest.raises(FaultError, match="the ledger has a gap"):
        run([Fault("kill", 0.1)], script(tmp_path), seed=9, invariant=invariant, name="runner")
