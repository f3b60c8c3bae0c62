"""The life of a key version: active, replaced, restore-only, destroyed; and what happens to all subjects at once."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from sensmail.keys import Keyring, KeyState, Place
from sensmail.keys.errors import SubjectClosed, SubjectDestroyed, UnknownSubject, VersionNotUsable
from sensmail.keys.state import KEY_ROW, State

Open = Callable[[], Keyring]
A, K, D, R = KeyState.ACTIVE, KeyState.RESTORE_ONLY, KeyState.DESTROYED, KeyState.REPLACED


def test_the_whole_life_over_restarts_and_rolls(reopen: Open) -> None:
    """After every act the file is opened again; every second time it is rolled first."""
    with reopen() as ring:
        first, bystander = ring.new_subject_keys(2)
    subject = first.subject
    life: list[tuple[Callable[[Keyring], object], dict[int, KeyState]]] = [
        (lambda ring: ring.replace([subject]), {1: R, 2: A}),
        (lambda ring: ring.replace([subject, bystander.subject]), {1: R, 2: A}),
        (lambda ring: ring.retire_replaced(), {1: K, 2: A}),
        (lambda ring: ring.replace([subject]), {1: K, 2: R, 3: A}),
        (lambda ring: ring.destroy_retired(), {1: D, 2: R, 3: A}),
        (lambda ring: ring.retire_replaced(), {1: D, 2: K, 3: A}),
        (lambda ring: ring.new_versions([subject, subject]), {1: D, 2: K, 3: R, 4: A}),
        (lambda ring: ring.new_versions([subject]), {1: D, 2: K, 3: R, 4: R, 5: A}),
        (lambda ring: ring.retire_replaced(), {1: D, 2: K, 3: K, 4: K, 5: A}),
        (lambda ring: ring.destroy_retired(), {1: D, 2: D, 3: D, 4: D, 5: A}),
    ]
    for number, (act, states) in enumerate(life):
        with reopen() as ring:
            act(ring)
            assert ring.versions(subject) == states
            if number % 2:
                ring.roll()
        with reopen() as ring:
            assert ring.versions(subject) == states
            assert {each: ring.state_of(subject, each) for each in states} == states
            assert ring.state_of(subject, len(states) + 1) is ring.state_of(subject, 0) is None
            for version, state in states.items():
                if state in {A, R}:
                    assert ring.key(subject, version).state is state
                else:
                    with pytest.raises(VersionNotUsable, match=state.name.lower()):
                        ring.key(subject, version)


def test_a_repeated_replacement_makes_no_third_version(reopen: Open) -> None:
    """A reseal that is killed and begins again asks for the same subjects."""
    with reopen() as ring:
        keys = ring.new_subject_keys(4)
        subjects = [key.subject for key in keys]
        assert [key.subject for key in ring.replace(subjects[:2])] == subjects[:2]
        assert [key.subject for key in ring.replace(subjects)] == subjects[2:]
        before = ring.status().sequence
        assert ring.replace(subjects) == []
        assert ring.status().sequence == before, "nothing to do writes nothing"
        ring.retire_replaced()
        assert len(ring.replace(subjects)) == 4


def test_who_is_closed_is_resealed_and_who_is_gone_is_left_out(reopen: Open) -> None:
    with reopen() as ring:
        closed, gone, stays = (key.subject for key in ring.new_subject_keys(3))
        ring.close_subjects([closed])
        ring.destroy_subjects([gone])
        assert ring.closed(closed)
        assert not ring.closed(stays)
        assert [key.subject for key in ring.replace([closed, gone, stays])] == [closed, stays]
        with pytest.raises(SubjectClosed):
            ring.key(closed, 1)
        with pytest.raises(UnknownSubject):
            ring.replace([stays, os.urandom(16)])
        assert ring.versions(stays) == {1: R, 2: A}


def test_adoption(reopen: Open) -> None:
    known = [os.urandom(16) for _ in range(3)]
    with reopen() as ring:
        made = ring.adopt([known[0], known[1], known[0]])
        assert [key.subject for key in made] == known[:2]
        assert ring.adopt(known[:2]) == []
        assert [key.subject for key in ring.adopt(known)] == known[2:]
        assert [ring.key(key.subject) for key in made] == made
        ring.destroy_subjects(known[:1])
        before = ring.status().sequence
        with pytest.raises(SubjectDestroyed):
            ring.adopt([os.urandom(16), known[0]])
        with pytest.raises(ValueError, match="nobody"):
            ring.adopt([os.urandom(16), bytes(16)])
        with pytest.raises(ValueError, match="16-byte"):
            ring.adopt([b"short"])
        assert (ring.status().sequence, len(list(ring.subjects()))) == (before, 2)


def test_what_is_dropped_for_all_is_gone_after_the_roll(reopen: Open, places: list[Place]) -> None:
    """Neither the files nor the memory hold a destroyed version's key; the others are untouched."""
    with reopen() as ring:
        old = ring.new_subject_keys(50)
        new = ring.replace([key.subject for key in old[:20]])
        assert (ring.retire_replaced(), ring.retire_replaced()) == (20, 0)
        assert not ring.status().destroying
        assert (ring.destroy_retired(), ring.destroy_retired()) == (20, 0)
        assert ring.status().destroying
        ring.roll()
        assert not ring.status().destroying
        block = ring._state.keys.encode()
        assert not any(key.material in block for key in old[:20])
        assert all(key.material in block for key in (*new, *old[20:]))
        for _, version, state, key in KEY_ROW.iter_unpack(block):
            assert (state == D) == (not any(key)) == (version == 1 and state != A)


def test_counts(reopen: Open) -> None:
    with reopen() as ring:
        subjects = [key.subject for key in ring.new_subject_keys(9)]
        ring.replace(subjects[:5])
        ring.retire_replaced()
        ring.destroy_version(subjects[0], 1)
        ring.replace(subjects[3:7])
        ring.close_subjects(subjects[6:8])
        ring.destroy_subjects(subjects[7:])
        assert ring.status().counts == {
            "active": 7, "replaced": 4, "restore_only": 4, "destroyed": 1, "subjects": 7, "closed": 1, "tombstones": 2,
        }  # fmt: skip


def test_all_states_change_at_once() -> None:
    """The same as one by one, on a block with every state in every place."""
    state, rows = State(), []
    for number in range(64):
        subject = bytes([number]) + bytes(15)
        chain = [KeyState(1 + (number >> 2 * at) % 4) for at in range(3)]
        chain = [R if each is A else each for each in chain]
        rows += [(subject, at + 1, each) for at, each in enumerate([*chain, A])]
    for subject, version, each in rows:
        material = bytes(32) if each is D else os.urandom(32)
        state.keys.put(subject, state.keys.get(subject) + KEY_ROW.pack(subject, version, each, material))
    before = {
        (key.subject, key.version): key for subject in list(state.keys.subjects()) for key in state.versions(subject)
    }
    for act, old, new in ((7, R, K), (8, K, D)):
        state.apply(bytes([act]) + bytes(56), 1)
        for (subject, version), key in before.items():
            found = state.version(subject, version)
            assert found is not None
            assert found.state is (new if key.state is old else key.state)
            assert found.material == (bytes(32) if found.state is D else key.material)
            before[subject, version] = found


def test_a_roll_tells_its_phases_in_order(reopen: Open) -> None:
    with reopen() as ring:
        phases: list[str] = []
        ring.roll(progress=phases.append)
        assert phases == ["prepare", "publish", "acknowledge", "bury", "record"]
