"""Role policy, run for real in a private mount namespace, so that the computer that runs the tests stays as it is."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PLAY = """
- name: Policy
  hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Policy
      sensmail.cloud.policy:
      run_once: true
- name: Role
  hosts: all
  gather_facts: false
  vars:
    sensmail_policy: "{{ ansible_facts.sensmail_policy }}"
  roles:
    - sensmail.cloud.policy
"""
HOST = "host ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n"

Shell = Callable[[str], str]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a private mount namespace needs root")


@pytest.fixture
def shell(tmp_path: Path, root: Path, text: str) -> Shell:
    """Run commands where /etc and /var are copies that vanish afterwards; `deploy` runs the role."""
    collections = tmp_path / "collections/ansible_collections/sensmail"
    collections.mkdir(parents=True)
    (collections / "cloud").symlink_to(root)
    (tmp_path / "inventory/group_vars/all").mkdir(parents=True)
    (tmp_path / "inventory/hosts").write_text(HOST)
    (tmp_path / "inventory/group_vars/all/policy.yml").write_text(text, encoding="utf-8")
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "layer").mkdir()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(root / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    prologue = f"""
        cd {shlex.quote(str(tmp_path))}
        mount -t tmpfs none layer
        for place in etc var; do
            mkdir layer/$place layer/$place.work
            mount -t overlay -o lowerdir=/$place,upperdir=layer/$place,workdir=layer/$place.work none /$place
        done
        rm -rf /etc/sensmail /var/www /var/lib/sensmail
        deploy() {{ {shlex.quote(sys.executable)} -m ansible playbook -i inventory/hosts play.yml "$@"; }}
    """

    def run(script: str) -> str:
        command = ["unshare", "--mount", "bash", "-c", prologue + script]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        return done.stdout + done.stderr

    return run


def test_files_of_the_host(shell: Shell, text: str) -> None:
    output = shell("""
        deploy --check --diff | grep '^host '
        ls /etc/sensmail 2>/dev/null
        deploy | grep '^host '
        deploy --diff | grep '^host '
        deploy --check --diff | grep '^host '
        cmp inventory/group_vars/all/policy.yml /etc/sensmail/policy.yml && echo same bytes
        grep -o '"access_log_retention_days": 366' /etc/sensmail/policy.json
        cd /var/www/sensmail/policy && find . -type f | sort
        grep -c '<html lang="ko">' ko/index.html 2022-06-13/ko/index.html
        grep -o 'href="[./]*policy.css"' ko/index.html 2022-06-13/ko/index.html
    """)
    lines = output.splitlines()
    changed = [line.split("changed=")[1].split()[0] for line in lines if line.startswith("host ")]
    assert changed == ["1", "1", "0", "0"], output
    assert lines[4:] == [
        "same bytes",
        '"access_log_retention_days": 366',
        "./2022-06-13/en/index.html",
        "./2022-06-13/ko/index.html",
        "./en/index.html",
        "./ko/index.html",
        "./policy.css",
        "ko/index.html:1",
        "2022-06-13/ko/index.html:1",
        'ko/index.html:href="../policy.css"',
        '2022-06-13/ko/index.html:href="../../policy.css"',
    ]


def test_a_version_that_was_published_may_not_be_forgotten(shell: Shell) -> None:
    output = shell("""
        deploy > /dev/null
        cp inventory/group_vars/all/policy.yml old.yml
        sed -i 's/^    effective: .2022-06-13.$/    effective: 2026-12-01/' inventory/group_vars/all/policy.yml
        deploy | tr -s ' \\n' ' ' | grep -o 'this host publishes the version of 2022-06-13' | head -1
        grep -c 2026-12-01 /etc/sensmail/policy.yml
        old='{effective: 2022-06-13, file: ../../../old.yml}'
        sed -i "s|earlier: \\[\\]|earlier: [$old]|" inventory/group_vars/all/policy.yml
        deploy | grep -o 'failed=0'
        cd /var/www/sensmail/policy && ls
        grep -o '../2022-06-13/ko/' ko/index.html
    """)
    assert output.splitlines() == [
        "this host publishes the version of 2022-06-13",
        "0",  # the host still has the policy it had
        "failed=0",
        "2022-06-13",
        "2026-12-01",
        "en",
        "ko",
        "policy.css",
        "../2022-06-13/ko/",
    ]
