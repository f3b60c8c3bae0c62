"""Values that lay in clear are sealed in place on a host; then none of them may be found, wherever it is looked.

`field_encryption` runs by Ansible with -vvv and --diff: with an index and a constraint in its way, as a check, with a
row that belongs to nobody, after a crash of the key service to its end, and once more.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import pytest

from erasure.canaries import Watch
from erasure.needles import in_bytes, in_files
from erasure.pair import PYTHON, Host
from erasure.test_search import PLACES, ansible

ROWS = 300
COLUMNS = [
    {"login_role": "postgres", "table": "public.legacy", "column": column, "subject": "person", "field": field}
    for column, field in (("phone", 940), ("note", 941))
]
PLAY = [
    {
        "hosts": "all",
        "become": True,
        "tasks": [
            {
                "name": "Protection",
                "sensmail.cloud.field_encryption": {"columns": COLUMNS},
                "vars": {"ansible_python_interpreter": PYTHON},
            }
        ],
    }
]


@dataclass
class Protection:
    """What was planted, what each run said, and what was seen meanwhile."""

    needles: list[bytes]
    said: dict[str, str]
    watch: Watch
    before: str


@pytest.fixture(scope="module")
def protection(pair: tuple[Host, Host]) -> Protection:
    host, said = pair[0], dict[str, str]()
    phones, notes = ([f"{item} {token_hex(12)}" for _ in range(ROWS)] for item in ("전화", "메모"))
    needles = [each.encode() for each in (*phones, *notes)]
    host.script("legacy", act="make", phones=phones, notes=notes)
    before = host.run("cd / && runuser -u postgres -- pg_dump --data-only --table=public.legacy sensmail")
    watch = Watch(needles)
    with watch.running():
        host.run("touch /run/protect-begun")
        said["unfit"] = ansible("protect-unfit", PLAY, host, "-vvv", "--diff")
        host.script("legacy", act="fit")
        said["check"] = ansible("protect-check", PLAY, host, "-vvv", "--diff", "--check")
        said["nobody"] = ansible("protect-nobody", PLAY, host, "-vvv", "--diff")
        host.script("legacy", act="name")
        host.run("systemctl kill --signal=ABRT sensmail-keyd.service")
        said["made"] = ansible("protect-made", PLAY, host, "-vvv", "--diff")
        said["again"] = ansible("protect-again", PLAY, host, "-vvv", "--diff")
        host.run("sensmail keys rotate --now reseal --reason 'erasure test'")
        host.script("legacy", act="forget")
    return Protection(needles, said, watch, before)


def result(said: str) -> dict[str, Any]:
    """What the module returned, from Ansible's most talkative output."""
    [told] = re.findall(r"""^<\S+> (\(\d, b['"]\\n\{.*\))$""", said, re.MULTILINE)
    _, output, _ = ast.literal_eval(told)
    return dict(json.loads(output))


def test_the_values_lay_in_clear_and_are_sealed(pair: tuple[Host, Host], protection: Protection) -> None:
    """What the search is for was there, and every run came to what it should."""
    assert protection.needles[0] in protection.before.encode()
    assert "index public.legacy_phone_idx" in result(protection.said["unfit"])["msg"]
    assert "changed=1" in protection.said["check"]
    assert f"row {ROWS - 1}: the row names no subject" in result(protection.said["nobody"])["msg"]
    made = result(protection.said["made"])
    assert [each["census"]["active"] for each in made["columns"]] == [ROWS, ROWS]
    assert all(each["protected_from"] for each in made["columns"])
    assert "changed=0" in protection.said["again"]
    stored = pair[0].run("cd / && runuser -u postgres -- pg_dump --data-only --table=public.legacy sensmail")
    assert stored.count("sealed:v1:") == ROWS


def test_no_process_was_told_a_value(protection: Protection) -> None:
    assert protection.watch.looks > 100
    assert protection.watch.found == set()


@pytest.mark.parametrize("run", ["unfit", "check", "nobody", "made", "again"])
def test_ansible_says_no_value(protection: Protection, run: str) -> None:
    assert in_bytes(protection.said[run].encode(), protection.needles) == []


def test_no_dump_holds_a_value(pair: tuple[Host, Host], protection: Protection) -> None:
    dump = pair[0].run("cd / && runuser -u postgres -- pg_dumpall").encode()
    assert b"sealed:v1:" in dump
    assert in_bytes(dump, protection.needles) == []


def test_no_journal_holds_a_value(pair: tuple[Host, Host], protection: Protection) -> None:
    journal = pair[0].run("journalctl --no-pager --output=export").encode()
    assert b"sensmail-keyd" in journal
    assert in_bytes(journal, protection.needles) == []


def test_no_file_holds_a_value(pair: tuple[Host, Host], protection: Protection) -> None:
    """Heap, index, statistics, WAL since then, logs, what Ansible left: everything on disk and in memory."""
    pair[0].run("sync")
    assert in_files(protection.needles, *PLACES, prefix=pair[0].ssh) == []


def test_no_core_was_left(pair: tuple[Host, Host], protection: Protection) -> None:
    names = r"\( -name core -o -name 'core.*' -o -name '*.core' \)"
    assert pair[0].run(f"find / -xdev -type f {names} -newer /run/protect-begun 2>/dev/null; true").split() == []
