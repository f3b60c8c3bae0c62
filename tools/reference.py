#!/usr/bin/env python3
"""Write the reference of modules and roles to build/docs, from their own documentation: nothing is said twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "docs"
COLLECTION = "sensmail.cloud"
MARKUP = ((re.compile(r"\b[CVOI]\(([^()]*)\)"), r"`\1`"), (re.compile(r"\bRV\(([^()]*)\)"), r"`\1`"))


def main() -> int:
    """Write one page for the modules and one for the roles."""
    OUT.mkdir(parents=True, exist_ok=True)
    for kind, title, pages in (("module", "Modules", _module), ("role", "Roles", _role)):
        found = _ansible_doc(kind)
        lines = [f"# {title}", ""]
        for name in sorted(found):
            lines += [f"## {name.removeprefix(COLLECTION + '.')}", "", *pages(found[name])]
        target = OUT / f"{kind}s.md"
        target.write_text("\n".join(lines), encoding="utf-8")
        print(f"{target.relative_to(ROOT)}: {len(found)} {kind}s")
    return 0


def _ansible_doc(kind: str) -> dict[str, Any]:
    """Everything that ansible-doc knows about one kind of plugin of this collection.

    Raises:
        subprocess.CalledProcessError: a plugin's documentation cannot be read.
    """
    program = Path(sysconfig.get_path("scripts")) / "ansible-doc"
    listing = _json([program, "-t", kind, "-l", "-j", COLLECTION])
    return _json([program, "-t", kind, "-j", *listing]) if listing else {}


def _json(command: list[Any]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _module(entry: dict[str, Any]) -> Iterator[str]:
    doc = entry["doc"]
    yield from (_plain(text) + "\n" for text in doc["description"])
    yield from _options(doc.get("options") or {})
    yield from ("```yaml", (entry.get("examples") or "").strip(), "```", "")


def _role(entry: dict[str, Any]) -> Iterator[str]:
    main_point = entry["entry_points"]["main"]
    yield main_point.get("short_description", "") + "\n"
    yield from _options(main_point.get("options") or {})


def _options(options: dict[str, Any]) -> Iterator[str]:
    if not options:
        return
    yield from ("| name | type | default | meaning |", "|---|---|---|---|")
    for name, option in sorted(options.items()):
        default = "required" if option.get("required") else f"`{json.dumps(option.get('default'), ensure_ascii=False)}`"
        text = option.get("description", "")
        meaning = _plain(" ".join(text) if isinstance(text, list) else text).replace("|", r"\|").replace("\n", " ")
        yield f"| `{name}` | {option.get('type', 'str')} | {default} | {meaning} |"
    yield ""


def _plain(text: str) -> str:
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text


if __name__ == "__main__":
    sys.exit(main())
