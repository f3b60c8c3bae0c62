#!/usr/bin/env python3
"""Every role documents exactly the variables it has: argument_specs and defaults hold the same names and types.

A variable in argument_specs without a default must be `required` there, or be one of the shared names that the
inventory sets (they start with `sensmail_`). Prints one line a finding and ends with 1 where there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
SHARED = "sensmail_"
FILES = ("README.md", "meta/main.yml", "meta/argument_specs.yml", "defaults/main.yml", "tasks/main.yml")
TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "raw": (object,),
    "str": (str,),
}


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty where the file is empty or absent."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def check(role: Path) -> Iterator[str]:
    """Findings of one role, each naming file, variable and fix."""
    yield from (f"{role.name}/{name}: is missing" for name in FILES if not (role / name).exists())
    options = read(role / "meta/argument_specs.yml").get("argument_specs", {}).get("main", {}).get("options") or {}
    defaults = read(role / "defaults/main.yml")
    readme = role / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    prefix = f"{role.name}_"
    for name in sorted(defaults.keys() - options.keys()):
        yield f"{role.name}/defaults/main.yml: {name} is not in meta/argument_specs.yml; document it there"
    for name, option in sorted(options.items()):
        where = f"{role.name}/meta/argument_specs.yml: {name}"
        if not name.startswith((prefix, SHARED)):
            yield f"{where} must start with {prefix}"
        if not option.get("description"):
            yield f"{where} has no description"
        if name.startswith(prefix) and not re.search(rf"\b{name}\b", text):
            yield f"{role.name}/README.md: {name} is not mentioned"
        yield from check_default(where, name, option, defaults)


def check_default(where: str, name: str, option: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """Findings of one variable: has it a default, of the type that the specification names?"""
    if name not in defaults:
        if not option.get("required") and not name.startswith(SHARED):
            yield f"{where} has no default; set it in defaults/main.yml or make it required"
        return
    if option.get("required"):
        yield f"{where} is required, yet defaults/main.yml sets it"
    value, wanted = defaults[name], option.get("type", "str")
    if wanted not in TYPES:
        yield f"{where} has the unknown type {wanted!r}; one of {', '.join(TYPES)}"
    elif not fits(value, wanted):
        yield f"{where} is a {wanted}, but defaults/main.yml sets {value!r}"
    if "default" in option and option["default"] != value:
        yield f"{where} says default {option['default']!r}, but defaults/main.yml sets {value!r}"


def fits(value: object, wanted: str) -> bool:
    """Whether a default has the type; a Jinja expression is known only on a host."""
    if isinstance(value, str) and "{{" in value:
        return True
    if isinstance(value, bool):
        return wanted in ("bool", "raw")
    return isinstance(value, TYPES[wanted])


def main() -> int:
    """Check every role; the exit status says whether all is well."""
    roles = sorted(path for path in ROLES.iterdir() if path.is_dir())
    findings = [finding for role in roles for finding in check(role)]
    print("\n".join(findings) or f"{len(roles)} roles: specifications, defaults and READMEs agree")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
