"""The action `sensmail.cloud.policy`, run by a real ansible-playbook that can reach no host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PLAY = """
- name: The policy is sound
  hosts: all
  gather_facts: false
  any_errors_fatal: true
  vars: PLAYVARS
  tasks:
    - name: Policy
      sensmail.cloud.policy:
        ARGS
      run_once: true
- name: Every host has the fact
  hosts: all
  gather_facts: false
  vars:
    sensmail_policy: "{{ ansible_facts.sensmail_policy }}"
  tasks:
    - name: Show it
      ansible.builtin.debug:
        msg: "{{ sensmail_policy | to_json }}"
"""
# Addresses nobody answers on: an attempt to connect would fail the run.
HOSTS = """
mailhosts:
  hosts:
    mail1: {ansible_host: 192.0.2.1}
    mail2: {ansible_host: 192.0.2.2}
"""

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def inventory(tmp_path: Path, text: str) -> Path:
    """An inventory of two hosts with the shipped policy."""
    place = tmp_path / "inventory"
    (place / "group_vars/all").mkdir(parents=True)
    (place / "hosts.yml").write_text(HOSTS)
    (place / "group_vars/all/policy.yml").write_text(text, encoding="utf-8")
    return place


@pytest.fixture
def run(tmp_path: Path, inventory: Path, root: Path) -> Run:
    """Run the play: options of ansible-playbook in, exit status and output out."""
    collections = tmp_path / "collections/ansible_collections/sensmail"
    collections.mkdir(parents=True)
    (collections / "cloud").symlink_to(root)

    def playbook(
        *options: str, args: str = "{}", playvars: str = "{}", env: dict[str, str] | None = None
    ) -> tuple[int, str]:
        config = tmp_path / "ansible.cfg"
        config.touch()
        play = tmp_path / "play.yml"
        play.write_text(PLAY.replace("ARGS", args).replace("PLAYVARS", playvars))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(root / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            **(env or {}),
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory / "hosts.yml"), str(play), *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    return playbook


def facts_of(output: str) -> dict[str, dict[str, Any]]:
    """Return the fact each host showed."""
    found = {}
    for host in ("mail1", "mail2"):
        shown = output.split(f"ok: [{host}] => {{\n")[-1].split("\n}")[0]
        found[host] = json.loads(json.loads("{" + shown + "}")["msg"])
    return found


@pytest.mark.parametrize("options", [(), ("--check", "--diff")])
@pytest.mark.parametrize("inject", ["True", "False"])
def test_every_host_gets_the_fact_and_none_is_contacted(
    run: Run, text: str, options: tuple[str, ...], inject: str
) -> None:
    status, output = run(*options, env={"ANSIBLE_INJECT_FACT_VARS": inject})
    assert status == 0, output
    line = text[: text.index("PIPA-39-8]")].count("\n") + 1
    assert f"Finding: inventory/group_vars/all/policy.yml:{line}: art6: cites PIPA art. 39-8" in output
    assert "changed=1" not in output
    for fact in facts_of(output).values():
        assert fact["applied"]["access_log_retention_days"] == 366
        assert fact["text"] == text
        assert fact["promises"]["art4"]["access_rights"]["retention"] == "P5Y"
        assert [finding["clause"] for finding in fact["findings"]] == ["art6"]
        assert '<html lang="ko">' in fact["pages"]["ko"]


def test_the_subject_count_counts(run: Run) -> None:
    status, output = run(args="{subjects: 50000}")
    assert status == 0, output
    assert facts_of(output)["mail2"]["applied"]["access_log_retention_days"] == 731
    assert run(args="{subjects: -1}")[0] != 0


@pytest.mark.parametrize(
    ("place", "content", "hosts"),
    [
        ("host_vars/mail2.yml", "policy: {art4: {access_log: {retention: P1D}}}", "host mail2"),
        ("group_vars/mailhosts.yml", "policy: {art4: {access_log: {retention: P1D}}}", "hosts mail1, mail2"),
        ("group_vars/all/zz.yml", "policy: {art4: {access_log: {retention: P1D}}}", "hosts mail1, mail2"),
    ],
)
def test_an_override_in_the_inventory_is_refused(
    run: Run, inventory: Path, place: str, content: str, hosts: str
) -> None:
    (inventory / place).parent.mkdir(exist_ok=True)
    (inventory / place).write_text(content)
    status, output = run()
    assert status != 0
    assert f"policy.art4.access_log.retention is overridden for {hosts}" in output
    assert "'P1D' there, 'P1Y' in the file" in output
    assert "inventory/group_vars/all/policy.yml:" in output
    assert "art4-3" in output
    assert "Show it" not in output


def changed_by(text: str, old: str, new: str) -> str:
    """Return the whole variable with one change, as JSON."""
    assert old in text
    return json.dumps(yaml.safe_load(text.replace(old, new)), default=str, ensure_ascii=False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("within: P5D", "within: P50D", "policy.art7.within is overridden for hosts mail1, mail2"),
        ("legal_representative: true", "legal_representative: 1", "policy.art5.legal_representative is overridden"),
        ("paper: [shred, burn]", "paper: [shred]", "policy.art7.paper is overridden"),
        (
            "    registered: true\n",
            "",
            "policy.art7 is overridden for hosts mail1, mail2, (variables of the play): registered missing",
        ),
        ("    registered: true\n", "    registered: true\n    extra: 1\n", "policy.art7.extra is overridden"),
        ("field: 5,", "field: 6,", "policy.art2.items.3.places.0.field is overridden"),
    ],
)
def test_an_override_on_the_command_line_is_refused(run: Run, text: str, old: str, new: str, said: str) -> None:
    status, output = run("-e", changed_by(text, old, new))
    assert status != 0
    assert said in output
    assert "-e, and change this file instead" in output


def test_the_same_value_on_the_command_line_is_no_override(run: Run, text: str) -> None:
    status, output = run("-e", changed_by(text, "within: P5D", "within: P5D"))
    assert status == 0, output


def test_a_play_may_not_override_either(run: Run) -> None:
    status, output = run(playvars="{policy: 1}")
    assert status != 0
    assert "policy is overridden for host (variables of the play)" in output


def test_the_checked_fact_may_not_be_replaced(run: Run) -> None:
    status, output = run("-e", '{"sensmail_policy": {"applied": {}}}')
    assert status != 0
    assert "sensmail_policy is set by a variable" in output


def test_a_bad_file_stops_the_run_with_everything_said(run: Run, inventory: Path, text: str) -> None:
    bad = text.replace("region: KR", "region: US").replace(
        "access_log:\n      retention: P1Y", "access_log:\n      retention: P1M"
    )
    (inventory / "group_vars/all/policy.yml").write_text(bad, encoding="utf-8")
    status, output = run()
    assert status != 0
    assert "The policy was refused: 2 problems." in output
    assert "outside Korea" in output
    assert "retention is 'P1M', but the law asks P1Y" in output
    assert "Show it" not in output


def test_a_missing_file_says_where_it_was_sought(run: Run, inventory: Path) -> None:
    (inventory / "group_vars/all/policy.yml").unlink()
    status, output = run()
    assert status != 0
    assert f"no policy file: looked for {inventory}/group_vars/all/policy.yml" in output.replace("\n", " ")


def test_two_files_need_a_choice(run: Run, tmp_path: Path, text: str) -> None:
    other = tmp_path / "other"
    (other / "group_vars/all").mkdir(parents=True)
    (other / "hosts.yml").write_text("web: {hosts: {web1: {}}}")
    (other / "group_vars/all/policy.yml").write_text(text, encoding="utf-8")
    status, output = run("-i", str(other / "hosts.yml"))
    assert status != 0
    assert "several policy files" in output
    status, output = run("-i", str(other / "hosts.yml"), args=f"{{file: {other}/group_vars/all/policy.yml}}")
    assert status == 0, output


def test_a_controller_without_the_engine_is_told_what_to_do(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken/sensmail"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('no engine')")
    status, output = run(env={"PYTHONPATH": str(broken.parent)})
    assert status != 0
    assert "Failed to import the required Python library (sensmail)" in output
    assert "run `make`" in output
