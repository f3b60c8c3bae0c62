"""host_units: the decisions, what systemctl answers, what lies on disk, and the module with a made-up systemd."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils import unit_host
from ansible_collections.sensmail.cloud.plugins.module_utils.unit_host import (
    HostUnitsError,
    Records,
    parse_show,
    parse_time,
    read_configuration,
)
from ansible_collections.sensmail.cloud.plugins.module_utils.unit_plan import (
    Configuration,
    Record,
    Unit,
    Wish,
    complaint,
    decide,
    describe,
)
from ansible_collections.sensmail.cloud.plugins.modules import host_units
from hypothesis import given
from hypothesis import strategies as st

RUNS = Unit("loaded", "active", "running", "enabled", invocation="one", started_at=100.0)
JOB = replace(RUNS, active="inactive", sub="dead", file_state="static", is_job=True, invocation="")
DISK = Configuration("d1", "u1", newest=50.0, newest_beside=50.0)
RECORD = Record("d1", "u1", "one")
WISH = Wish("x.service")


@pytest.mark.parametrize(
    ("unit", "disk", "record", "verbs", "adopt"),
    [
        # all is well
        (RUNS, DISK, RECORD, (), False),
        # the start that we remember, with another configuration
        (RUNS, replace(DISK, digest="d2"), RECORD, ("restart",), True),
        (RUNS, replace(DISK, definition="u2"), RECORD, ("restart",), True),
        # same configuration, written again: not a reason
        (RUNS, replace(DISK, newest=200.0, newest_beside=200.0), RECORD, (), False),
        # started by somebody else, before and after the last change
        (replace(RUNS, invocation="two"), DISK, RECORD, (), True),
        (replace(RUNS, invocation="two"), replace(DISK, digest="d2"), RECORD, (), True),
        (
            replace(RUNS, invocation="two"),
            replace(DISK, digest="d2", newest=200.0, newest_beside=200.0),
            RECORD,
            ("restart",),
            True,
        ),
        (replace(RUNS, invocation="two"), replace(DISK, newest=200.0), RECORD, ("restart",), True),
        # something went away beside a file listed by name: matters only if the digest differs too
        (replace(RUNS, invocation="two"), replace(DISK, newest_beside=200.0), RECORD, (), True),
        (replace(RUNS, invocation="two"), replace(DISK, digest="d2", newest_beside=200.0), RECORD, ("restart",), True),
        # started by the installation of its package, before our configuration came, or after it
        (RUNS, replace(DISK, newest=200.0), None, ("restart",), True),
        (RUNS, DISK, None, (), True),
        # not running
        (replace(RUNS, active="inactive"), DISK, RECORD, ("start",), True),
        (replace(RUNS, active="activating", sub="start"), DISK, RECORD, ("start",), True),
        (replace(RUNS, active="activating", sub="auto-restart"), DISK, RECORD, ("restart",), True),
        (replace(RUNS, active="failed"), DISK, RECORD, ("reset-failed", "start"), True),
        (replace(RUNS, active="reloading"), DISK, RECORD, (), False),
        # unit files
        (replace(RUNS, file_state="disabled"), DISK, RECORD, ("enable",), False),
        (replace(RUNS, file_state="masked", active="inactive"), DISK, RECORD, ("unmask", "enable", "start"), True),
        (replace(RUNS, file_state="static"), DISK, RECORD, (), False),
        (replace(RUNS, file_state=""), DISK, RECORD, (), False),
        (Unit(), replace(DISK, digest=""), None, ("enable", "start"), True),
        # jobs
        (JOB, DISK, None, ("start",), True),
        (JOB, DISK, RECORD, (), False),
        (JOB, replace(DISK, digest="d2"), RECORD, ("start",), True),
        (replace(JOB, active="activating", sub="start"), replace(DISK, digest="d2"), RECORD, ("start", "start"), True),
        (replace(JOB, active="activating", sub="start"), DISK, RECORD, (), False),
        (replace(JOB, active="failed"), DISK, RECORD, ("reset-failed", "start"), True),
    ],
)
def test_decisions(unit: Unit, disk: Configuration, record: Record | None, verbs: tuple[str, ...], adopt: bool) -> None:
    decision = decide(WISH, unit, disk, record)
    assert (decision.verbs, decision.adopt) == (verbs, adopt)
    assert bool(decision.reason) == decision.changed


def test_a_reload_is_enough_for_files_but_not_for_the_unit_file() -> None:
    wish = replace(WISH, reload=True)
    assert decide(wish, RUNS, replace(DISK, digest="d2"), RECORD).verbs == ("reload-or-restart",)
    assert decide(wish, RUNS, replace(DISK, digest="d2", definition="u2"), RECORD).verbs == ("restart",)
    assert decide(wish, RUNS, replace(DISK, newest=200.0), None).verbs == ("restart",)


def test_stopped_disabled_and_masked() -> None:
    off = replace(WISH, started=False, enabled=False)
    assert decide(off, RUNS, DISK, RECORD).verbs == ("disable", "stop")
    assert decide(off, replace(RUNS, active="failed", file_state="disabled"), DISK, None).verbs == ()
    assert decide(off, Unit(), DISK, None).verbs == ()
    assert decide(off, replace(RUNS, active="inactive", file_state="masked"), DISK, None).verbs == ()
    masked = replace(WISH, masked=True)
    assert decide(masked, RUNS, DISK, RECORD).verbs == ("stop", "mask")
    assert decide(masked, Unit(), DISK, None).verbs == ("mask",)
    assert decide(masked, replace(RUNS, active="inactive", file_state="masked"), DISK, None).verbs == ()
    armed = replace(WISH, started=False)
    assert decide(armed, replace(RUNS, active="inactive", file_state="disabled"), DISK, None).verbs == ("enable",)


UNITS = st.builds(
    Unit,
    load=st.sampled_from(["loaded", "not-found"]),
    active=st.sampled_from(["active", "inactive", "failed", "activating", "deactivating", "reloading"]),
    sub=st.sampled_from(["running", "dead", "auto-restart"]),
    file_state=st.sampled_from(["", "enabled", "disabled", "static", "masked", "linked", "indirect"]),
    invocation=st.sampled_from(["one", "two"]),
    started_at=st.floats(0, 100),
    is_job=st.booleans(),
)
DISKS = st.builds(
    lambda digest, definition, times: Configuration(digest, definition, min(times), max(times)),
    st.sampled_from(["d1", "d2"]),
    st.sampled_from(["u1", "u2"]),
    st.tuples(st.floats(0, 150), st.floats(0, 150)),
)
RECORDS = st.none() | st.builds(Record, st.sampled_from(["d1", "d2"]), st.sampled_from(["u1", "u2"]), st.just("one"))


@given(st.builds(Wish, st.just("x.service"), reload=st.booleans()), UNITS, DISKS, RECORDS)
def test_after_a_run_there_is_nothing_left_to_do(
    wish: Wish, unit: Unit, disk: Configuration, record: Record | None
) -> None:
    decision = decide(wish, unit, disk, record)
    after = unit
    if {"start", "restart"} & set(decision.verbs):
        after = replace(after, active="inactive" if unit.is_job else "active", sub="running", invocation="new")
        after = replace(after, started_at=200.0, load="loaded")
    if "unmask" in decision.verbs:
        after = replace(after, file_state="disabled", load="loaded")
    if "enable" in decision.verbs:
        after = replace(after, file_state="enabled")
    if decision.adopt:
        record = Record.of(disk, after.invocation)
    assert not complaint(wish, after)
    again = decide(wish, after, disk, record)
    assert (again.verbs, again.adopt) == ((), False)


def test_complaints() -> None:
    assert not complaint(WISH, RUNS)
    assert "failed" in complaint(WISH, replace(RUNS, active="failed", result="exit-code"))
    assert "exit-code" in complaint(WISH, replace(RUNS, active="failed", result="exit-code"))
    assert "Condition" in complaint(WISH, replace(RUNS, active="inactive", condition_met=False))
    assert not complaint(WISH, JOB)
    assert complaint(WISH, replace(JOB, active="failed"))
    assert complaint(replace(WISH, started=False), RUNS)
    assert not complaint(replace(WISH, masked=True), JOB)


def test_the_difference_shows_state_and_configuration() -> None:
    decision = decide(WISH, RUNS, replace(DISK, digest="d2"), RECORD)
    entry = describe(WISH, RUNS, decision, ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"))
    assert entry["before"] == "active, enabled configuration aaaaaaaaaaaa\n"
    assert entry["after"] == "active, enabled configuration bbbbbbbbbbbb\nrestart: configuration changed\n"


# As systemd 257 prints it.
SHOWN = """Type=notify
RemainAfterExit=no
Result=success
Id=postfix@-.service
Triggers=
LoadState=loaded
LoadError=
ActiveState=active
SubState=running
FragmentPath=/usr/lib/systemd/system/postfix@.service
DropInPaths=/etc/systemd/system/postfix@.service.d/a.conf /etc/systemd/system/postfix@.service.d/b.conf
UnitFileState=enabled
InactiveExitTimestamp=Mon 2026-11-23 23:23:57.250000 UTC
NeedDaemonReload=yes
ConditionResult=yes
AssertResult=yes
ConditionTimestamp=Mon 2026-11-23 23:23:57.240000 UTC
InvocationID=d622cdbf78a34781a965618cbd32fee1

Id=none.service
Triggers=
LoadState=not-found
LoadError=org.freedesktop.systemd1.NoSuchUnit "Unit none.service not found."
ActiveState=inactive
SubState=dead
DropInPaths=
UnitFileState=
InactiveExitTimestamp=
NeedDaemonReload=no
ConditionResult=no
AssertResult=no
ConditionTimestamp=
InvocationID=

Type=oneshot
RemainAfterExit=no
Id=job.service
LoadState=loaded
ActiveState=inactive
ConditionResult=no
AssertResult=yes
ConditionTimestamp=Mon 2026-11-23 23:23:57.240000 UTC

Id=x.timer
LoadState=loaded
Triggers=x.service y.service
ActiveState=active
"""


def test_what_systemctl_shows_is_read() -> None:
    running, absent, job, timer = parse_show(SHOWN, 4)
    assert running.unit == Unit(
        "loaded",
        "active",
        "running",
        "enabled",
        "d622cdbf78a34781a965618cbd32fee1",
        1795476237.25,
        False,
        "success",
        True,
    )
    assert running.stale
    assert running.definition == (
        "/usr/lib/systemd/system/postfix@.service",
        "/etc/systemd/system/postfix@.service.d/a.conf",
        "/etc/systemd/system/postfix@.service.d/b.conf",
    )
    assert absent.unit == Unit()
    assert not absent.stale
    assert (job.unit.is_job, job.unit.condition_met) == (True, False)
    assert timer.triggers == ("x.service", "y.service")
    with pytest.raises(HostUnitsError, match="4 units for 3"):
        parse_show(SHOWN, 3)


def test_times() -> None:
    assert parse_time("Thu 1970-01-01 00:00:01.500000 UTC") == 1.5
    assert parse_time("") == parse_time("n/a") == 0.0


def test_the_digest_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "unit").write_text("[Service]\n")

    def read() -> Configuration:
        patterns = [f"{tmp_path}/*.conf", f"{tmp_path}/**/*.conf"]
        return read_configuration("x.service", patterns, [f"{tmp_path}/unit", f"{tmp_path}/gone"])[0]

    empty = read()
    (tmp_path / "sub/a.conf").write_text("1")
    one = read()
    (tmp_path / "sub/a.conf").write_text("2")
    two = read()
    (tmp_path / "sub/a.conf").rename(tmp_path / "b.conf")
    moved = read()
    (tmp_path / ".sensmail-unfinished.conf").write_text("3")
    hidden = read()
    (tmp_path / "unit").write_text("[Service]\nNice=1\n")
    other = read()
    assert len({empty.digest, one.digest, two.digest, moved.digest}) == 4
    assert hidden.digest == moved.digest == other.digest
    assert empty.digest == ""
    assert one.definition == moved.definition != other.definition


def test_a_file_that_went_away_is_noticed_by_time(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("1")
    (tmp_path / "b.conf").write_text("1")
    now = (tmp_path / "b.conf").stat().st_ctime
    (tmp_path / "b.conf").unlink()
    os.utime(tmp_path, (now + 1000, now + 1000))
    by_glob, _ = read_configuration("x.service", [f"{tmp_path}/*"], [])
    assert by_glob.newest == pytest.approx(now + 1000)
    by_name, _ = read_configuration("x.service", [f"{tmp_path}/a.conf"], [])
    assert by_name.newest <= now
    assert by_name.newest_beside == pytest.approx(now + 1000)


def test_the_time_of_a_file_is_not_what_its_author_says(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("1")
    os.utime(tmp_path / "a.conf", (1, 1))  # as a package manager does
    os.utime(tmp_path, (1, 1))
    assert read_configuration("x.service", [f"{tmp_path}/*"], [])[0].newest > 1_000_000


def test_patterns_without_files_are_told(tmp_path: Path) -> None:
    assert read_configuration("x.service", [f"{tmp_path}/nothing/*", f"{tmp_path}/no"], [])[1] == [
        f"{tmp_path}/nothing/*",
        f"{tmp_path}/no",
    ]


def test_records(tmp_path: Path) -> None:
    records = Records(str(tmp_path / "a/units"))
    assert records.load("x@y.service") is None
    records.save("x@y.service", RECORD)
    assert records.load("x@y.service") == RECORD
    (tmp_path / "a/units/x@y.service.json").write_text("[]")
    assert records.load("x@y.service") is None
    records.drop("x@y.service")
    records.drop("x@y.service")
    assert list((tmp_path / "a/units").iterdir()) == []


@dataclass
class Systemd:
    """Enough of systemd to be talked to: units as properties, the verbs that were run, units that refuse."""

    units: dict[str, dict[str, str]]
    verbs: list[str] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    crashes: set[str] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)  # restarted together, as PartOf= has it
    starts: int = 0

    def __call__(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        if verb == "show":
            names = arguments[arguments.index("--") + 1 :]
            blocks = [
                "".join(
                    f"{k}={v}\n"
                    for k, v in self.units.get(n, {"LoadState": "not-found", "ActiveState": "inactive"}).items()
                )
                for n in names
            ]
            return subprocess.CompletedProcess([], 0, "\n".join(blocks))
        names = tuple(name for name in arguments if name != "--")
        self.verbs.append(" ".join((verb, *names)))
        for name in (*names, *(self.parts[name] for name in names if name in self.parts)):
            unit = self.units.setdefault(name, {"LoadState": "loaded"})
            if name in self.refuses and verb in ("start", "restart"):
                unit["ActiveState"] = "failed"
                return subprocess.CompletedProcess([], 1, "Job for it failed.")
            self.change(unit, verb, name)
        if verb == "daemon-reload":
            for unit in self.units.values():
                unit["NeedDaemonReload"] = "no"
        return subprocess.CompletedProcess([], 0, "")

    def change(self, unit: dict[str, str], verb: str, name: str) -> None:
        self.starts += 1
        if verb in ("start", "restart"):
            state = "failed" if name in self.crashes else "active"
            unit.update(
                ActiveState=state,
                InvocationID=f"start{self.starts}",
                InactiveExitTimestamp="Mon 2126-11-23 23:23:57.250000 UTC",
            )
        elif verb in ("stop", "reset-failed"):
            unit.update(ActiveState="inactive", InvocationID="")
        else:
            states = {"enable": "enabled", "disable": "disabled", "mask": "masked", "unmask": "disabled"}
            unit["UnitFileState"] = states.get(verb, unit.get("UnitFileState", ""))


class Ended(Exception):
    """The module has said its last word."""


class Module:
    """What the face needs of AnsibleModule."""

    _diff = True

    def __init__(self, check_mode: bool, params: dict[str, Any]) -> None:
        self.check_mode = check_mode
        self.params = params
        self.warnings: list[str] = []
        self.result: dict[str, Any] = {}

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def exit_json(self, **result: Any) -> None:
        self.result = result
        raise Ended

    def fail_json(self, **result: Any) -> None:
        self.result = {"failed": True, **result}
        raise Ended


Run = Callable[..., Module]


@pytest.fixture
def systemd() -> Systemd:
    running = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "InvocationID": "boot"}
    return Systemd(
        {"a.service": dict(running), "b.socket": {**running, "Triggers": "b.service"}, "b.service": dict(running)}
    )


@pytest.fixture
def run(systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for where in (unit_host, host_units):
        monkeypatch.setattr(where, "systemctl", systemd)
    for where in (unit_host, host_units):
        monkeypatch.setattr(where, "failure", lambda name, what: f"{name}: {what}")
    monkeypatch.setattr(host_units, "SETTLE_S", 0)
    (tmp_path / "a.conf").write_text("1")

    def call(*rows: dict[str, Any], check: bool = False) -> Module:
        defaults = {"config": [], "reload": False, "enabled": True, "state": "started", "masked": False}
        units = [{**defaults, **row} for row in rows]
        module = Module(check, {"units": units, "state_dir": str(tmp_path / "state")})
        monkeypatch.setattr(host_units, "AnsibleModule", lambda **_: module)
        systemd.verbs.clear()
        with pytest.raises(Ended):
            host_units.main()
        return module

    return call


def test_restart_once_and_then_nothing(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    row = {"name": "a.service", "config": [f"{tmp_path}/*.conf"]}
    predicted = run(row, check=True).result
    assert systemd.verbs == []
    assert not (tmp_path / "state").exists()
    done = run(row).result
    assert systemd.verbs == ["restart a.service"]
    assert done == predicted
    assert run(row).result["changed"] is False
    (tmp_path / "a.conf").write_text("2")
    assert run(row).result["units"] == {"a.service": {"verbs": ["restart"], "reason": "configuration changed"}}
    assert run(row, check=True).result["changed"] is False


def test_a_run_killed_before_its_restart_loses_nothing(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    row = {"name": "a.service", "config": [f"{tmp_path}/*.conf"]}
    run(row)
    (tmp_path / "a.conf").write_text("2")
    run(row, check=True)  # as far as the killed run came: the file is there, the unit still has the old one
    run(row)
    assert systemd.verbs == ["restart a.service"]


def test_absent_units(run: Run, systemd: Systemd) -> None:
    assert run({"name": "new.service"}, check=True).result["changed"] is True
    assert "is not on this host" in run({"name": "new.service"}).result["msg"]
    assert run({"name": "new.service", "state": "stopped", "enabled": False}).result["changed"] is False
    assert systemd.verbs == []
    run({"name": "new.service", "masked": True})
    assert systemd.verbs == ["mask new.service"]


def test_a_stale_unit_is_read_again_and_restarted_whoever_started_it(
    run: Run, systemd: Systemd, tmp_path: Path
) -> None:
    unit = tmp_path / "a.unit"
    unit.write_text("[Service]\n")
    systemd.units["a.service"]["FragmentPath"] = str(unit)
    run({"name": "a.service"})
    unit.write_text("[Service]\nNice=1\n")
    # an operator restarts it, but systemd still has the old definition
    systemd("restart", "a.service")
    systemd.units["a.service"]["NeedDaemonReload"] = "yes"
    assert run({"name": "a.service"}, check=True).result["daemon_reloaded"] is True
    assert run({"name": "a.service"}).result["daemon_reloaded"] is True
    assert systemd.verbs == ["daemon-reload", "restart a.service"]
    assert run({"name": "a.service"}).result["changed"] is False


def test_a_stale_service_of_a_listed_socket_is_read_again(run: Run, systemd: Systemd) -> None:
    run({"name": "b.socket"})
    systemd.units["b.service"]["NeedDaemonReload"] = "yes"
    run({"name": "b.socket"})
    assert systemd.verbs == ["daemon-reload"]


def test_a_socket_is_restarted_without_its_service_in_the_way(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    run({"name": "b.socket", "config": [f"{tmp_path}/*.conf"]})
    assert systemd.verbs == ["stop b.service", "restart b.socket", "start b.service"]


def test_a_timer_is_restarted_and_its_running_service_left_alone(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    systemd.units["b.timer"] = {**systemd.units.pop("b.socket")}
    run({"name": "b.timer", "config": [f"{tmp_path}/*.conf"]})
    assert systemd.verbs == ["restart b.timer"]


def test_a_unit_that_another_one_took_along_is_not_restarted_twice(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    systemd.parts["a.service"] = "b.service"
    rows = [{"name": name, "config": [f"{tmp_path}/*.conf"]} for name in ("a.service", "b.service")]
    run(*rows)
    assert systemd.verbs == ["restart a.service"]
    assert run(*rows).result["changed"] is False


def test_a_unit_that_ends_a_moment_later_is_told(
    run: Run, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: systemd.units["a.service"].update(ActiveState="failed"))
    result = run({"name": "a.service", "config": [f"{tmp_path}/*.conf"]}).result
    assert "a moment after it was started, it is failed" in result["msg"]


def test_failures_name_the_unit(run: Run, systemd: Systemd) -> None:
    systemd.units["a.service"]["ActiveState"] = "inactive"
    systemd.refuses.add("a.service")
    result = run({"name": "a.service"}).result
    assert result["failed"]
    assert result["msg"].startswith("a.service: systemctl start failed; the unit is loaded, failed")
    assert "Job for it failed." in result["msg"]
    systemd.refuses.clear()
    systemd.crashes.add("a.service")
    assert "is failed" in run({"name": "a.service"}).result["msg"]
    systemd.units["a.service"]["LoadState"] = "bad-setting"
    assert "cannot be loaded" in run({"name": "a.service"}).result["msg"]


def test_order_and_names(run: Run, systemd: Systemd) -> None:
    for name in ("a.service", "b.service"):
        systemd.units[name]["ActiveState"] = "inactive"
    run({"name": "b.service"}, {"name": "a.service"})
    assert systemd.verbs == ["start b.service", "start a.service"]
    for wrong in ("postfix", "*.service", "-a.service", "a b.service", "../x.service"):
        assert "full unit name" in run({"name": wrong}).result["msg"]
    assert "listed twice" in run({"name": "a.service"}, {"name": "a.service"}).result["msg"]


def test_a_pattern_without_files_warns(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "none") in run({"name": "a.service", "config": [f"{tmp_path}/none"]}).warnings[0]
