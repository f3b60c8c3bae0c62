"""Changes of keys are killed again and again, in every phase, while others read, write and join: nothing is lost.

SENSMAIL_KEY_KILLS sets how many kills, SENSMAIL_KEY_SEED which; `python tests/keys_kill --kills 200 --seed 7` runs the
same by hand.
"""

from __future__ import annotations

import os

import pytest

import stage
from keys_kill.campaign import Campaign
from keys_kill.cluster import home
from keys_kill.plan import shares
from keys_kill.rig import rig

KILLS = int(os.environ.get("SENSMAIL_KEY_KILLS", "20"))
SEED = int(os.environ.get("SENSMAIL_KEY_SEED", "3"))
ROWS = 100_000
READS_EACH_KILL = 500  # so at least 100,000 in a run of 200

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="control groups and PostgreSQL need root")


def test_kills_lose_nothing() -> None:
    with home() as place, rig(place, ROWS, SEED) as one:
        report = Campaign(one, SEED).run(KILLS)
    stage.LOGS.mkdir(parents=True, exist_ok=True)
    (stage.LOGS / "keys-kill.json").write_text(report.to_json())
    assert report.hits >= 0.9 * len(report.outcomes), report.to_json()
    lacking = {phase: wanted for phase, wanted in shares(KILLS).items() if report.in_phase[phase] < wanted}
    assert not lacking, report.in_phase
    assert min(report.beside.get("open", 0), report.beside.get("running", 0)) >= KILLS // 20, report.beside
    assert report.forgotten > 0
    assert report.reads() >= READS_EACH_KILL * KILLS, report.actors
