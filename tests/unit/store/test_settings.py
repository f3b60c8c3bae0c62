"""`/etc/sensmail/engine.toml`: defaults, and errors that name file, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensmail.store import Settings, StoreError, load


def test_missing_file_means_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == Settings()
    assert Settings().local


def test_values_are_read(tmp_path: Path) -> None:
    file = tmp_path / "engine.toml"
    file.write_text('[database]\nhost = "db1.example.kr"\nport = 6432\n')
    assert load(file) == Settings(host="db1.example.kr", port=6432)
    assert not load(file).local


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[database", "not valid TOML"),
        ("[database]\nhots = 'x'", "database.hots is not known; known keys: host, port, name, ca"),
        ("[database]\nport = '5432'", "database.port = '5432' must be of type int"),
        ("[database]\nport = true", "must be of type int"),
        ("[databse]\n", r"only a \[database\] table is known"),
        ("database = 1", r"only a \[database\] table is known"),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "engine.toml"
    file.write_text(text)
    with pytest.raises(StoreError, match=message) as caught:
        load(file)
    assert str(file) in str(caught.value)
