"""The controller's half of host_files: the tree, the table, the templates, and the way to a host (here: this one)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.sensmail.cloud.plugins.action.host_files import (
    Renderer,
    attributes,
    refuse_idle_rows,
    tree,
)

SECRET = "correct horse battery staple"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty tree."""
    (tmp_path / "templates/etc").mkdir(parents=True)
    return tmp_path / "templates"


def render(root: Path, name: str, text: str | bytes, **variables: Any) -> bytes:
    """The content that a source of this name and text gets."""
    source = root / name
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    loader = DataLoader()
    templar = Templar(loader=loader).copy_with_new_env(searchpath=[str(root), str(root.parent)])
    renderer = Renderer(loader, templar, variables, "role", root)
    return bytes(renderer.content("/" + name.removesuffix(".j2"), source))


def test_a_tree_is_the_host_file_system(root: Path) -> None:
    (root / "_parts").mkdir()
    (root / "etc/_not_a_part").mkdir()
    for name in ("etc/b.j2", "etc/a", "etc/.hidden", "_parts/p.j2", "etc/_not_a_part/x.j2.j2"):
        (root / name).write_text("")
    assert list(tree(root)) == ["/etc/.hidden", "/etc/_not_a_part/x.j2", "/etc/a", "/etc/b"]


def test_a_tree_with_two_sources_or_a_link_is_refused(root: Path) -> None:
    (root / "etc/a").write_text("")
    (root / "etc/a.j2").write_text("")
    with pytest.raises(AnsibleActionFail, match=r"both /etc/a on the host"):
        tree(root)
    (root / "etc/a.j2").unlink()
    (root / "etc/l").symlink_to("/etc/shadow")
    with pytest.raises(AnsibleActionFail, match=r"etc/l is a symbolic link"):
        tree(root)


def test_later_rows_win_option_by_option() -> None:
    def row(path: str, **given: Any) -> dict[str, Any]:
        return {"path": path, "owner": None, "group": None, "mode": None, "secret": None, "when": None, **given}

    table = [
        row("/etc/*", group="mail", mode="0600"),
        row("/etc/sub/*", mode="0640", secret=True),
        row("/etc/c", when=False),
    ]
    rows = attributes(["/etc/sub/deep/a", "/etc/b", "/etc/c", "/var/d"], table)
    common = {"owner": "root", "secret": False, "when": True}
    assert rows == {
        "/etc/sub/deep/a": {**common, "group": "mail", "mode": "0640", "secret": True},
        "/etc/b": {**common, "group": "mail", "mode": "0600"},
        "/etc/c": {**common, "group": "mail", "mode": "0600", "when": False},
        "/var/d": {**common, "group": "root", "mode": "0644"},
    }


def test_a_row_without_a_file_is_an_error() -> None:
    refuse_idle_rows("table", [{"path": "/etc/*"}], ["/etc/a"])
    with pytest.raises(AnsibleActionFail, match=r"row 2 of table, path '/etc/sql/\*'"):
        refuse_idle_rows("table", [{"path": "/etc/*"}, {"path": "/etc/sql/*"}], ["/etc/a"])


def test_templates_render_as_in_the_template_module(root: Path) -> None:
    (root / "_parts").mkdir()
    (root / "_parts/p.j2").write_text("part of {{ who }}\n")
    text = (
        "# {{ ansible_managed }}\n{% for n in numbers %}\n  n={{ n }}\n{% endfor %}\n"
        "{{ template_path }} {{ template_destpath }}\n{% include '_parts/p.j2' %}\n\nback\\nslash\n"
    )
    assert render(root, "etc/x.j2", text, numbers=[1, 2], who="you").decode() == (
        "# Managed by Ansible (role): changes made here are overwritten\n  n=1\n  n=2\n"
        "templates/etc/x.j2 /etc/x\npart of you\nback\\nslash\n"
    )
    assert render(root, "etc/x.j2", "{{ ansible_managed }}", ansible_managed="mine") == b"mine"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("{{ 5 }}\n", b"5\n"),
        ("{{ 5 }}", b"5"),
        ("{{ true }}\n", b"True\n"),
        ("{{ none }}", b""),
        ("", b""),
        ("plain", b"plain"),
        ("{{ '1, 2' }}\n", b"1, 2\n"),
        ("값 {{ '한글' }}\n\n", "값 한글\n\n".encode()),
    ],
)
def test_text_stays_text(root: Path, text: str, content: bytes) -> None:
    assert render(root, "etc/x.j2", text) == content


def test_what_is_no_template_is_sent_as_it_is(root: Path) -> None:
    content = b"{{ not_a_template }}\r\n\0\xff\xfe"
    assert render(root, "etc/x.bin", content) == content


def test_errors_name_the_file_and_the_variable(root: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"templates/etc/x\.j2 cannot be rendered: .*nonesuch"):
        render(root, "etc/x.j2", "a {{ nonesuch }}")
    with pytest.raises(AnsibleActionFail, match=r"templates/etc/x\.j2 cannot be rendered"):
        render(root, "etc/x.j2", "{% if %}")
    with pytest.raises(AnsibleActionFail, match=r"templates/etc/x\.j2 renders to a dict"):
        render(root, "etc/x.j2", "{{ {'a': 1} }}")


def test_data_is_not_taken_for_a_template(root: Path) -> None:
    assert render(root, "etc/x.j2", "{{ given }}\n", given="{{ 7 * 7 }}") == b"{{ 7 * 7 }}\n"


class Play:
    """A role with one task, played on this computer."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.host = where / "host"
        self.tree = where / f"roles/demo/templates{self.host}"
        self.host.mkdir()
        self.tree.mkdir(parents=True)
        (where / "roles/demo/tasks").mkdir(parents=True)
        (where / "play.yml").write_text("[{hosts: localhost, gather_facts: false, roles: [demo]}]")

    def run(self, *arguments: str, pipelining: bool = True, **options: Any) -> tuple[int, dict[str, Any], str]:
        """Exit status, result of the task, and everything that was printed."""
        own = {"manifest_dir": f"{self.where}/state/manifest", "original_dir": f"{self.where}/state/original"}
        task = {"name": "Files", "sensmail.cloud.host_files": {**own, **options}}
        (self.where / "roles/demo/tasks/main.yml").write_text(json.dumps([task]))
        environment = {
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": str(pipelining),
            "ANSIBLE_HOME": str(self.where / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        }
        command = [
            f"{sys.prefix}/bin/ansible-playbook",
            "play.yml",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-v",
        ]
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.where,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout + done.stderr
        result = json.JSONDecoder().raw_decode(done.stdout.partition("=> ")[2])[0] if "=> {" in done.stdout else {}
        return done.returncode, result, text


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_a_role_is_played_checked_changed_and_left_alone(play: Play) -> None:
    (play.tree / "conf.j2").write_text("value={{ value | default('none') }}\n")
    (play.tree / "key.j2").write_text("key={{ key }}\n")
    (play.tree / "off.j2").write_text("{{ undefined_because_switched_off }}\n")
    table = [
        {"path": f"{play.host}/key", "mode": "0600", "secret": True},
        {"path": f"{play.host}/off", "when": "{{ not true }}"},
    ]
    secret = ("-e", json.dumps({"key": SECRET}))
    status, result, text = play.run("--check", "--diff", *secret, table=table)
    assert (status, result["changed"]) == (0, True), text
    assert "+value=none" in text
    assert list(play.host.iterdir()) == []
    status, result, text = play.run("--diff", "-vvv", *secret, table=table)
    assert (status, result["changed"]) == (0, True), text
    assert SECRET not in text.replace(f'{{"key": "{SECRET}"}}', "")  # the option -e itself is echoed
    assert sorted(result["files"]) == [f"{play.host}/conf", f"{play.host}/key"]
    assert result["files"][f"{play.host}/key"] is None
    assert (play.host / "key").read_text() == f"key={SECRET}\n"
    assert json.loads((play.where / "state/manifest/demo.json").read_text())["claim"] == "demo"
    status, result, text = play.run("--diff", *secret, table=table)
    assert (status, result["changed"]) == (0, False), text


def test_refusals_reach_the_operator(play: Play) -> None:
    (play.tree / "conf.j2").write_text("value={{ value }}\n")
    status, result, _ = play.run()
    assert status != 0
    assert "conf.j2 cannot be rendered: 'value' is undefined" in result["msg"]
    given = ("-e", "value=1")
    _, result, _ = play.run(*given, validate=[{"path": "*", "command": ["sh", "-c", "echo line 3; exit 1"]}])
    assert "line 3" in result["msg"]
    _, result, _ = play.run(*given, table=[{"path": "*", "mode": 0o640}])
    assert "four octal digits" in result["msg"]
    _, result, _ = play.run(*given, src="nowhere")
    assert "nowhere is not a directory" in result["msg"]
    assert list(play.host.iterdir()) == []


def test_a_secret_does_not_pass_through_the_disk_of_the_controller(play: Play) -> None:
    (play.tree / "key").write_text(SECRET)
    _, result, text = play.run(table=[{"path": "*", "secret": True}], pipelining=False)
    assert f"{play.host}/key is secret" in result["msg"], text
    assert list(play.host.iterdir()) == []
