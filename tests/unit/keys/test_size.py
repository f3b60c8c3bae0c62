"""Many subjects: right after a merge and a restart. The figures are printed, not judged; the bench judges."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sensmail.keys import Keyring

SUBJECTS = 100_000


@contextmanager
def measured(what: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what}: {time.perf_counter() - begin:.2f} s for {SUBJECTS} subjects, peak {peak} MiB")


def test_many_subjects(reopen: Callable[[], Keyring]) -> None:
    with reopen() as ring:
        with measured("new keys"):
            keys = ring.new_subject_keys(SUBJECTS)
        with measured("roll that merges all of them"):
            ring.roll()
    with measured("open"):
        ring = reopen()
    with ring:
        gone, kept = keys[: SUBJECTS // 100], keys[SUBJECTS // 100 :]
        ring.destroy_subjects(key.subject for key in gone)
        with measured("roll that drops one in a hundred"):
            ring.roll()
        sample = random.Random(7).sample(kept, 2000)
        with measured("2000 keys looked up"):
            assert [ring.key(key.subject) for key in sample] == sample
        assert len(list(ring.subjects())) == len(kept)
        assert sum(1 for _ in ring.tombstones()) == len(gone)
        assert all(ring.destroyed(key.subject) for key in gone[:100])
