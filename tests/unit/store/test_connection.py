"""Sessions: the right identity for the kernel, and a clear error when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from sensmail.store import SUPERUSER, Settings, Unreachable, connect

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another identity")


@needs_root
def test_root_connects_as_the_user_of_the_role(server: Settings) -> None:
    with connect(SUPERUSER, settings=server) as admin:
        admin.execute("CREATE ROLE nobody LOGIN")
        admin.execute(f'GRANT CONNECT ON DATABASE "{server.name}" TO nobody')
    try:
        with connect("nobody", settings=server) as connection:
            assert connection.execute("SELECT session_user").fetchone() == ("nobody",)
        assert (os.geteuid(), os.getegid()) == (0, 0)
        with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
            psycopg.connect(host=server.host, port=server.port, dbname=server.name, user="nobody")
    finally:
        with connect(SUPERUSER, settings=server) as admin:
            admin.execute("DROP OWNED BY nobody")
            admin.execute("DROP ROLE nobody")


@needs_root
def test_identity_comes_back_after_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        connect("nobody", settings=Settings(host=str(tmp_path)))
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_no_server_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no session on database sensmail at .* as postgres: .*\. Is postgresql"):
        connect(SUPERUSER, settings=Settings(host=str(tmp_path)))


def test_session_works_in_utc(server: Settings) -> None:
    with connect(SUPERUSER, settings=server) as connection:
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
        assert connection.autocommit
