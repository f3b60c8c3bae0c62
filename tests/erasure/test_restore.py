"""An old backup on another machine, with the keys of now: the purged stay gone, everybody else is back."""

from __future__ import annotations

import pytest

from erasure.pair import Host
from erasure.story import AFTER_COPY, BEFORE_PURGE, BEFORE_RESEAL, BEFORE_ROLL, Story

ROOT_CREDENTIALS = "/etc/sensmail/keys/root"


def test_the_second_machine_cannot_use_the_first_ones_root_credential(pair: tuple[Host, Host], recovered: Host) -> None:
    """The credential is there, and the machine that made it opens it; the other one does not."""
    first = pair[0]
    newest = first.run(f"ls -v {ROOT_CREDENTIALS} | tail -1").strip()
    opens = (
        f"systemd-creds decrypt --name=sensmail-root_{newest} {{}}/{newest} - >/dev/null 2>&1 && echo yes || echo no"
    )
    recovered.put("/run/foreign", first.take(ROOT_CREDENTIALS))
    try:
        assert first.run(opens.format(ROOT_CREDENTIALS)) == "yes\n"
        assert recovered.run(opens.format("/run/foreign")) == "no\n"
    finally:
        recovered.run("rm -rf /run/foreign")


@pytest.mark.parametrize(
    ("backup", "online"),
    [(BEFORE_ROLL, "(retired)"), (BEFORE_RESEAL, "(retired)"), (BEFORE_PURGE, ""), (AFTER_COPY, "")],
)
def test_the_purged_stay_gone_and_the_survivors_are_back(
    recovered: Host, story: Story, backup: str, online: str
) -> None:
    recovered.restore(story.backups[backup])
    found = recovered.script("look")
    for subject, value in story.survivors.items():
        assert found[subject] == {"now": online or value, "restored": value}
    assert set(found) & set(story.purged) == (set() if backup == AFTER_COPY else set(story.purged))
    for subject in set(found) & set(story.purged):
        assert found[subject] == {"now": "(destroyed)", "restored": "(destroyed)"}


def test_who_came_after_the_last_copy_of_the_keys_is_named(recovered: Host, story: Story) -> None:
    recovered.restore(story.backups[BEFORE_PURGE])
    before = recovered.run("sensmail keys compare; echo status $?")
    assert "status 0" in before, before
    recovered.restore(story.backups[AFTER_COPY])
    found = recovered.script("look")
    [latecomer] = story.latecomer
    assert found[latecomer] == {"now": "(unknown)", "restored": "(unknown)"}
    said = recovered.run("sensmail keys compare; echo status $?")
    assert "status 1" in said, said
    assert latecomer in said
    assert not [subject for subject in story.survivors if subject in said]
