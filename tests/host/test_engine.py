"""The engine on the host: one complete release in use, run by nobody but from where root put it."""

from __future__ import annotations

import re

from testinfra.host import Host

ROOT = "/opt/sensmail"


def test_current_release_is_complete(host: Host) -> None:
    target = host.check_output(f"readlink {ROOT}/current")
    assert re.fullmatch(r"releases/[0-9a-f]{64}", target)
    assert host.check_output(f"cat {ROOT}/current/.complete") == target.removeprefix("releases/")
    kept = host.check_output(f"ls {ROOT}/releases").split()
    links = {
        host.run(f"readlink {ROOT}/{link}").stdout.strip().removeprefix("releases/") for link in ("current", "previous")
    }
    assert set(kept) == links - {""}


def test_nobody_but_root_can_alter_it(host: Host) -> None:
    assert host.check_output(rf"find {ROOT} \( ! -user root -o ! -group root \) -print -quit") == ""
    assert host.check_output(f"find {ROOT} ! -type l -perm /022 -print -quit") == ""


def test_everything_is_compiled(host: Host) -> None:
    """A sandboxed unit may not write beside the code, and need not."""
    package = host.check_output(f"{ROOT}/current/bin/python -Ic 'import sensmail; print(*sensmail.__path__)'")
    sources = host.check_output(f"find {package} -name '*.py' | wc -l")
    compiled = host.check_output(f"find {package} -name '*.pyc' | wc -l")
    assert int(sources) > 20
    assert sources == compiled


def test_environment_holds_exactly_what_is_locked(host: Host) -> None:
    code = "from importlib.metadata import distributions as d; print(*sorted(x.name.lower() for x in d()))"
    names = host.check_output(f"{ROOT}/current/bin/python -Ic '{code}'").split()
    assert "pip" not in names
    assert {"sensmail", "psycopg", "cryptography"} <= set(names)


def test_command_answers_everybody(host: Host) -> None:
    assert host.run("runuser -u nobody -- sensmail --help").rc == 0


def test_account_of_the_jobs_cannot_log_in(host: Host) -> None:
    user = host.user("sensmail-jobs")
    assert user.exists
    assert user.shell == "/usr/sbin/nologin"
    assert host.check_output("passwd -S sensmail-jobs").split()[1] == "L"
