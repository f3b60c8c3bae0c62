"""Everything the deployment needs to know of a policy, as plain data: the Ansible fact `sensmail_policy`."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from sensmail.policy.apply import apply, data_map
from sensmail.policy.errors import PolicyError
from sensmail.policy.load import Loaded, shape
from sensmail.policy.page import LANGS, page, style
from sensmail.policy.rules import findings, rules
from sensmail.policy.source import read

#: Directory of the host with the published pages.
PUBLISHED = "/var/www/sensmail/policy"


def facts(loaded: Loaded, path: Path, subjects: int = 0) -> dict[str, Any]:
    """Return the fact for a policy loaded from `path`. PolicyError when an earlier version cannot be read."""
    versions = [loaded, *earlier(loaded, path)]
    return {
        **applied_document(loaded, subjects),
        "text": loaded.source.text,
        "pages": {lang: page(loaded, lang) for lang in LANGS},
        "style": style(),
        "versions": [str(version.policy.art11.effective) for version in versions],
        "archive": [file for version in versions for file in _dated(version)],
    }


def applied_document(loaded: Loaded, subjects: int = 0) -> dict[str, Any]:
    """Return what `/etc/sensmail/policy.json` holds: the same for the same policy, whoever deploys it from wherever."""
    columns = [
        {
            **column.place.model_dump(),
            "item": column.item.id,
            **column.item.model_dump(include=_ITEM_FACTS, mode="json"),
            "retention": column.retention,
        }
        for column in data_map(loaded.policy)
    ]
    return {
        "sha256": sha256(loaded.source.text.encode()).hexdigest(),
        "promises": loaded.policy.model_dump(mode="json"),
        "applied": apply(loaded, subjects).model_dump(mode="json"),
        "rules": json.loads(json.dumps([asdict(rule) for rule in rules(loaded, subjects)])),
        "findings": [
            {"line": each.line, "clause": each.clause, "what": each.what, "fix": each.fix}
            for each in findings(loaded, subjects)
        ],
        "data_map": columns,
    }


_ITEM_FACTS = {"category", "protection", "purposes", "duty"}


def earlier(loaded: Loaded, path: Path) -> list[Loaded]:
    """Return the versions that were in force before, whose files article 11 lists relative to `path`."""
    made = []
    for number, version in enumerate(loaded.policy.art11.earlier):
        source = read(path.parent / version.file, version.file)
        old = Loaded(shape(source), source, loaded.law)
        if old.policy.art11.effective != version.effective:
            what = f"{version.file} is in force from {old.policy.art11.effective}, not from {version.effective}"
            here = ("policy", "art11", "earlier", number)
            raise PolicyError([loaded.source.problem(here, what, "list each version with its own effective date")])
        made.append(old)
    return made


def _dated(loaded: Loaded) -> list[dict[str, str]]:
    """Return the pages of one version at the permanent address of its effective date, as files of `host_files`."""
    day = loaded.policy.art11.effective
    return [
        {
            "path": f"{PUBLISHED}/{day}/{lang}/index.html",
            "content": b64encode(page(loaded, lang, "../..").encode()).decode("ascii"),
        }
        for lang in LANGS
    ]
