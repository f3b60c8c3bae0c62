"""What is handed out: the collection's archive, the locks and their bills of materials."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

import stage
import supply

FORBIDDEN = re.compile(r"https?://|--(extra-)?index-url|--find-links|file:")


def test_the_collection_builds_with_the_engine_and_without_the_tests(tmp_path: Path) -> None:
    stage.run("collection", "ansible-galaxy", "collection", "build", "--output-path", str(tmp_path))
    (archive,) = tmp_path.glob("sensmail-cloud-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    wanted = {"src/sensmail/py.typed", "plugins/modules/host_units.py", "playbooks/site.yml", "LICENSE"}
    assert wanted - names == set()
    assert not [name for name in names if name.split("/")[0] in (".venv", "build", "bench", "tests", "molecule")]


@pytest.mark.parametrize("lock", supply.locks(), ids=lambda path: path.stem)
def test_every_lock_has_hashes_and_names_no_index(lock: Path) -> None:
    text = re.sub(r"#.*", "", lock.read_text(encoding="utf-8"))
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(blocks) == len(supply.pinned(lock))
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert FORBIDDEN.search(text) is None


@pytest.mark.parametrize("lock", supply.locks(), ids=lambda path: path.stem)
def test_every_lock_has_a_bill_of_materials(lock: Path) -> None:
    assert supply.sbom(lock).exists()  # refuses to leave out a package


def test_a_skipped_package_is_never_called_assessed() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "version": "1", "vulns": []},
        {"name": "b", "skip_reason": "not found"},
        {"name": "c", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]},
    ]
    audit = supply.judge("lock", rows)
    assert (audit.assessed, audit.not_assessed, audit.findings) == (2, ("b",), ("c 2: X-1, fixed in 3",))
