"""What lies on the raw disk of the first host, seen from outside: files, freed blocks and the file system's journal.

The disk is ext4 in an image. The figures that docs/keys.md quotes are written to build/erasure/raw.json.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from erasure.needles import counts, in_files
from erasure.pair import INVENTORY, Host
from erasure.story import APPROVED, Story

CLEAR = ("root key", "epoch key", "subject key", "value")  # kinds of secrets that may lie nowhere, ever
SEALED = ("wrapped epoch key", "recovery part", "credential")
FILES = [Path(each) for each in ("/var", "/etc", "/tmp", "/root")]


def image(host: Host) -> Path:
    """The host's disk, with everything on it that it was told to write."""
    host.run("sync; sync")
    listing = ["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]
    table = subprocess.run(listing, capture_output=True, text=True, check=True)
    [found] = [Path(line.strip()) for line in table.stdout.splitlines() if f"/{host.name}/" in line]
    return found


def of_kind(found: dict[str, int], *kinds: str) -> dict[str, int]:
    return {name: count for name, count in found.items() if name.startswith(kinds)}


def epoch(name: str) -> int:
    return int(name.split()[-1])


@pytest.fixture(scope="module")
def secrets(story: Story) -> dict[str, bytes]:
    """Everything that is searched for, by name."""
    return story.secrets | {f"value {value}": value.encode() for value in story.values}


@pytest.fixture(scope="module")
def found(pair: tuple[Host, Host], secrets: dict[str, bytes]) -> dict[str, int]:
    """How often each secret stands on the disk after the purge and its roll."""
    return counts(image(pair[0]), secrets)


def test_the_search_sees_the_whole_disk(found: dict[str, int]) -> None:
    """What is there is found: what wraps the present epoch key, once in each place, and the root's credential."""
    wrapped = of_kind(found, "wrapped epoch key", "recovery part")
    present = max(map(epoch, wrapped))
    assert {count for name, count in wrapped.items() if epoch(name) == present} == {2}
    assert max(of_kind(found, "credential").values()) == 1


def test_no_value_and_no_key_lies_on_the_disk(found: dict[str, int]) -> None:
    clear = of_kind(found, *CLEAR)
    assert len(clear) > 100
    assert {name: count for name, count in clear.items() if count} == {}


def test_no_value_and_no_key_lies_in_any_file(pair: tuple[Host, Host], secrets: dict[str, bytes]) -> None:
    """Heap, index, WAL, backups, places, by the name of the file."""
    needles = [value for name, value in secrets.items() if name.startswith(CLEAR)]
    assert in_files(needles, *FILES, prefix=pair[0].ssh) == []


def test_a_roll_leaves_nothing_that_opens_the_epoch_before(found: dict[str, int]) -> None:
    """Overwritten in place in both places: what the root had wrapped, and what the officers could open."""
    wrapped = of_kind(found, "wrapped epoch key", "recovery part")
    ended = {name: count for name, count in wrapped.items() if epoch(name) < max(map(epoch, wrapped))}
    assert len(ended) == 4
    assert set(ended.values()) == {0}, ended


def test_a_root_change_leaves_nothing_of_the_old_root(
    pair: tuple[Host, Host], secrets: dict[str, bytes], found: dict[str, int]
) -> None:
    """The credential that systemd-creds had encrypted is overwritten, and what it had wrapped is gone too."""
    pair[0].run(f"sensmail keys rotate --now root {APPROVED} --approved-by Kim --reference 1", timeout=600)
    after = counts(image(pair[0]), secrets)
    (INVENTORY / "raw.json").write_text(
        json.dumps({"after purge and roll": found, "after root change": after}, indent=1)
    )
    assert {name: count for name, count in of_kind(after, *CLEAR, *SEALED).items() if count} == {}
