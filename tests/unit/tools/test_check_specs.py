"""The comparison of argument_specs, defaults and README finds each way in which they can part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import check_specs

GOOD: dict[str, Any] = {"x_size": {"type": "int", "description": "Size in MiB."}}


def role(place: Path, options: dict[str, Any], defaults: dict[str, Any], readme: str = "`x_size`") -> Path:
    files = {
        "README.md": readme,
        "meta/main.yml": "{}",
        "meta/argument_specs.yml": yaml.safe_dump({"argument_specs": {"main": {"options": options}}}),
        "defaults/main.yml": yaml.safe_dump(defaults),
        "tasks/main.yml": "[]",
    }
    for name, text in files.items():
        path = place / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place / "x"


def test_a_role_in_order_has_no_findings(tmp_path: Path) -> None:
    assert list(check_specs.check(role(tmp_path, GOOD, {"x_size": 5}))) == []


@pytest.mark.parametrize(
    ("options", "defaults", "readme", "finding"),
    [
        (GOOD, {"x_size": 5, "x_more": 1}, "x_size", "x_more is not in meta/argument_specs.yml"),
        (GOOD, {}, "x_size", "x_size has no default"),
        (GOOD, {"x_size": "5"}, "x_size", "x_size is a int, but defaults/main.yml sets '5'"),
        (GOOD, {"x_size": True}, "x_size", "x_size is a int"),
        (GOOD, {"x_size": 5}, "", "x_size is not mentioned"),
        ({"x_size": {"type": "int"}}, {"x_size": 5}, "x_size", "has no description"),
        ({"x_size": {"type": "number", "description": "d"}}, {"x_size": 5}, "x_size", "unknown type 'number'"),
        ({"x_size": GOOD["x_size"] | {"default": 4}}, {"x_size": 5}, "x_size", "says default 4"),
        ({"x_size": GOOD["x_size"] | {"required": True}}, {"x_size": 5}, "x_size", "is required, yet"),
        ({"y_size": GOOD["x_size"]}, {"y_size": 5}, "", "must start with x_"),
    ],
)
def test_what_parts_is_found(
    tmp_path: Path, options: dict[str, Any], defaults: dict[str, Any], readme: str, finding: str
) -> None:
    found = list(check_specs.check(role(tmp_path, options, defaults, readme)))
    assert [text for text in found if finding in text], found


def test_an_expression_has_any_type(tmp_path: Path) -> None:
    assert list(check_specs.check(role(tmp_path, GOOD, {"x_size": "{{ 2 * 3 }}"}))) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    made = role(tmp_path, GOOD, {"x_size": 5})
    (made / "tasks/main.yml").unlink()
    assert list(check_specs.check(made)) == ["x/tasks/main.yml: is missing"]
