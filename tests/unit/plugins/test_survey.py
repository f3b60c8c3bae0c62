"""What a host answers before anything runs on it, read from a shell of this computer and from odd ones."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path

from ansible.modules import apt
from ansible_collections.sensmail.cloud.plugins.plugin_utils.survey import SCRIPT, Survey


def test_a_real_shell_answers_everything() -> None:
    done = subprocess.run(["sh", "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    survey = Survey.parse(done.stdout)
    assert survey.answers["id"]
    assert survey.answers["memory_kb"] > 1000
    assert survey.answers["epoch"] > 1_700_000_000
    assert survey.facts()["ansible_memtotal_mb"] == survey.answers["memory_kb"] // 1024
    assert "dpkg" in survey.packages, "the controller is a Debian"


def test_what_a_terminal_adds_does_not_matter() -> None:
    survey = Survey.parse("Last login: today\r\nsurvey.id=debian\r\nsurvey.version=13\r\nsurvey.python=yes\r\nbye\r\n")
    assert (survey.answers["id"], survey.answers["python"]) == ("debian", True)
    assert survey.facts()["ansible_distribution_major_version"] == "13"


def test_a_host_that_knows_nothing_has_nothing() -> None:
    answers = Survey.parse("survey.memory_kb=\nsurvey.free_kb_var=?\n").answers
    assert (answers["memory_kb"], answers["free_kb_var"], answers["systemd"], answers["addresses"]) == (0, 0, False, [])


def test_an_interrupted_installation_is_seen(tmp_path: Path) -> None:
    script = SCRIPT.replace("/var/lib/dpkg/updates", str(tmp_path))
    for name, interrupted in (("tmp.i", False), ("0001", True)):  # dpkg keeps the first as a spare
        (tmp_path / name).touch()
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert Survey.parse(done.stdout).answers["dpkg_interrupted"] is interrupted


def test_a_policy_that_a_killed_installation_left_is_seen(tmp_path: Path) -> None:
    """Only as the apt module writes it; an operator's own stays."""
    policy = tmp_path / "policy-rc.d"
    script = SCRIPT.replace("/usr/sbin/policy-rc.d", str(policy))
    for text, left in ((None, False), ("#!/bin/sh\nexit 101\n", True), ("#!/bin/sh\n# mine\nexit 101\n", False)):
        if text:
            policy.write_text(text)
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert Survey.parse(done.stdout).answers["policy_left"] is left


def test_what_counts_as_left_is_what_the_apt_module_writes() -> None:
    source = inspect.getsource(apt.PolicyRcD)
    assert r"policy_rc_d.write('#!/bin/sh\nexit %d\n'" in source


def test_removed_packages_are_not_installed() -> None:
    lines = "package.ii  nginx=1.26\npackage.rc  exim4=4\npackage.iU  half=1\npackage.ii  libc6=2.41-12+deb13u5\n"
    survey = Survey.parse(lines)
    assert survey.packages == {"nginx": "1.26", "libc6": "2.41-12+deb13u5"}
    assert survey.facts()["packages"]["nginx"] == [{"version": "1.26"}]
