"""The service as its callers see it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import (
    AlteredValue,
    BadRequest,
    Closed,
    Destroyed,
    Refused,
    Unavailable,
    UnknownSubject,
)
from sensmail.keyd.protocol import Resealed, Sealed, Sealing, Values
from sensmail.keys import FileRoot

from .conftest import ACTOR, DEPARTMENT, EMAIL, OPEN_ITEM, Site

VALUE = "비상@example.org".encode()


def sealed(keys: KeyService, subject: UUID, field: int = EMAIL, value: bytes = VALUE) -> Sealed:
    row = row_key(subject)
    return Sealed(subject, field, row, keys.seal([Sealing(subject, field, row, value)])[0])


def test_what_is_sealed_opens_and_a_record_says_who_and_why(site: Site, keys: KeyService) -> None:
    [subject] = keys.new_subjects()
    value = sealed(keys, subject)
    assert VALUE not in value.envelope
    assert keys.open(value, "otp_code", ACTOR) == VALUE
    columns = "ledger, act, account, origin, subject_id, client, purpose, outcome, unit, opening, detail"
    assert site.rows(columns) == [
        ("access", "open", ACTOR.account, ACTOR.origin, subject, ACTOR.client, "otp_code", "done",
         "sensmail-portal.service", 1, {"fields": [EMAIL]})
    ]  # fmt: skip


def test_a_batch_writes_one_record_a_person(site: Site, keys: KeyService) -> None:
    one, two = keys.new_subjects(2)
    items = [sealed(keys, one), sealed(keys, two), sealed(keys, one, DEPARTMENT, b"x")]
    assert [each.value for each in keys.open_many(items, "own_data", ACTOR)] == [VALUE, VALUE, b"x"]
    assert sorted(site.rows("opening, subject_id, detail")) == sorted(
        [(1, one, {"fields": [EMAIL, DEPARTMENT]}), (2, two, {"fields": [EMAIL]})]
    )


def test_closed_destroyed_and_unknown_persons_are_refused_and_recorded_without_a_number(
    site: Site, keys: KeyService
) -> None:
    closed, gone, stranger, there = *keys.new_subjects(2), uuid4(), keys.new_subjects()[0]
    items = [sealed(keys, closed), sealed(keys, gone)]
    items += [Sealed(stranger, EMAIL, row_key(1), items[0].envelope), sealed(keys, there)]
    keys.close_subjects([closed], "kim", "restriction")
    keys.destroy_subjects([gone], "kim", "purge", "privacy_officer")
    found = keys.open_many(items, "own_data", ACTOR)
    assert [each.refusal for each in found] == ["closed", "destroyed", "unknown", ""]
    assert [each.value for each in found] == [None, None, None, VALUE]
    opens = [row for row in site.rows("act, outcome, opening, subject_id, detail->>'code'") if row[0] == "open"]
    assert {row[1:] for row in opens} == {
        ("refused", None, closed, "closed"),
        ("refused", None, gone, "destroyed"),
        ("refused", None, stranger, "unknown"),
        ("done", 1, there, None),
    }
    with pytest.raises(Closed):
        keys.open(items[0], "own_data", ACTOR)
    with pytest.raises(Destroyed):
        keys.open(items[1], "own_data", ACTOR)
    with pytest.raises(UnknownSubject):
        keys.open(items[2], "own_data", ACTOR)
    keys.reopen_subjects([closed], "kim", "restriction ended")
    assert keys.open(items[0], "own_data", ACTOR) == VALUE


@pytest.mark.parametrize(
    "change",
    [
        lambda it: Sealed(it.subject, DEPARTMENT, it.row, it.envelope),
        lambda it: Sealed(it.subject, it.field, row_key(7), it.envelope),
        lambda it: Sealed(it.subject, it.field, it.row, it.envelope[:-1] + bytes([it.envelope[-1] ^ 1])),
        lambda it: Sealed(it.subject, it.field, it.row, it.envelope[:20]),
        lambda it: Sealed(it.subject, it.field, it.row, b""),
    ],
)
def test_a_moved_or_changed_value_does_not_open_and_its_failure_is_recorded(
    site: Site, keys: KeyService, change: object
) -> None:
    value = change(sealed(keys, keys.new_subjects()[0]))  # type: ignore[operator]
    with pytest.raises(AlteredValue):
        keys.open(value, "own_data", ACTOR)
    assert site.rows("outcome, opening, detail->>'code'") == [("done", 1, None), ("failed", None, "altered")]
    assert keys.check([value], "job") == ["altered"]
    assert keys.reseal([value], "job") == Resealed([None], {0: "altered"})


def test_wrong_purpose_and_an_item_not_for_it_are_refused_and_recorded(site: Site, keys: KeyService) -> None:
    [subject] = keys.new_subjects()
    email, department = sealed(keys, subject), sealed(keys, subject, DEPARTMENT)
    with pytest.raises(Refused, match="purpose marketing is not among its purposes in the policy"):
        keys.open(email, "marketing", ACTOR)
    with pytest.raises(Refused, match=r"field 6 \(department\) is not kept for purpose otp_code"):
        keys.open_many([email, department], "otp_code", ACTOR)
    with pytest.raises(Refused, match="field 2: the data map of the policy has no sealed item of that number"):
        keys.open(Sealed(subject, OPEN_ITEM, email.row, email.envelope), "own_data", ACTOR)
    with pytest.raises(Refused, match="field 2: the data map"):
        sealed(keys, subject, OPEN_ITEM)
    assert site.rows("act, outcome, purpose, unit, detail->>'code'") == [
        ("keys.open", "refused", purpose, "sensmail-portal.service", "refused")
        for purpose in ("marketing", "otp_code", "own_data")
    ] + [("keys.seal", "refused", "", "sensmail-portal.service", "refused")]


def test_sealing_is_all_or_nothing(keys: KeyService) -> None:
    [subject] = keys.new_subjects()
    with pytest.raises(UnknownSubject):
        keys.seal([Sealing(subject, EMAIL, row_key(1), b"x"), Sealing(uuid4(), EMAIL, row_key(1), b"x")])
    assert keys.seal([]) == []
    assert keys.open_many([], "own_data", ACTOR) == []


def test_adopt_gives_first_keys_once_and_never_to_the_destroyed(keys: KeyService) -> None:
    old, new = uuid4(), uuid4()
    assert keys.adopt([old, old]) == 1
    assert keys.adopt([old, new]) == 1
    assert keys.open(sealed(keys, new), "own_data", ACTOR) == VALUE
    keys.destroy_subjects([old], "kim", "purge", "privacy_officer")
    with pytest.raises(Destroyed):
        keys.adopt([uuid4(), old])
    with pytest.raises(BadRequest, match="zeros names nobody"):
        keys.adopt([UUID(int=0)])
    assert [each.subject for each in keys.tombstones()] == [old]


def test_a_reseal_from_first_to_last(site: Site, keys: KeyService) -> None:
    one, two = keys.new_subjects(2)
    old = [sealed(keys, one), sealed(keys, two), sealed(keys, one, DEPARTMENT)]
    keys.close_subjects([two], "kim", "restriction")
    assert keys.replace([one, two]) == 2
    assert keys.replace([one, two]) == 0, "repeated inside one job it makes no third version"
    assert keys.open(old[0], "own_data", ACTOR) == VALUE, "replaced versions open"
    new = keys.reseal(old, "reseal 1")
    assert not new.refusals
    fresh = [Sealed(it.subject, it.field, it.row, made or b"") for it, made in zip(old, new.envelopes, strict=True)]
    assert keys.reseal(fresh, "again") == Resealed([None] * 3, {})
    assert keys.check(old + fresh, "check") == [""] * 6
    pairs = [(one, 1), (one, 2), (two, 2), (uuid4(), 1), (one, 3)]
    states = {"active": 2, "replaced": 1, "restore_only": 0, "destroyed": 0, "unknown": 2, "tombstone": 0}
    assert keys.census(pairs) == states
    assert keys.retire("kim", "reseal done") == 2
    assert keys.check(old + fresh, "check") == ["retired"] * 3 + [""] * 3
    assert [each.refusal for each in keys.open_many(old[:1], "own_data", ACTOR)] == ["retired"]
    assert None not in keys.reseal(old, "restored").envelopes, "a restored row is sealed anew"
    assert keys.census([(one, 1), (one, 2)])["restore_only"] == 1
    with pytest.raises(Refused, match="asks for the approval of privacy_officer"):
        keys.destroy_retired("kim", "too soon", "kim")
    assert keys.destroy_retired("kim", "backups expired", "privacy_officer") == 2
    keys.roll("kim", "destroy")
    assert keys.reseal(old, "restored") == Resealed([None] * 3, dict.fromkeys(range(3), "retired"))
    assert keys.open(fresh[0], "own_data", ACTOR) == VALUE
    passes = [row for row in site.rows("act, detail->>'job'") if row[0] in {"keys.reseal", "keys.check"}]
    assert passes[:3] == [("keys.reseal", "reseal 1"), ("keys.reseal", "again"), ("keys.check", "check")]


def test_many_values_in_one_call_under_keys_of_several_versions(keys: KeyService) -> None:
    """Mixed persons, versions and fields; beside each refused ones, and a truncated one of its own."""
    some = keys.new_subjects(40)
    old = [sealed(keys, each, field, b"%d" % field) for each in some for field in (EMAIL, DEPARTMENT)]
    keys.replace(some[:20])
    items = old + [sealed(keys, each) for each in some]
    cut = [it._replace(envelope=it.envelope[:30]) for it in items]
    moved = [it._replace(row=row_key("elsewhere")) for it in items]
    foreign = [it._replace(subject=uuid4()) for it in items]
    mixed = [each for several in zip(cut, items, moved, foreign, strict=True) for each in several]
    found = keys.reseal(mixed, "job")
    codes = {number: ["altered", "", "altered", "unknown"][number % 4] for number in range(len(mixed))}
    assert found.refusals == {number: code for number, code in codes.items() if code}
    for number, item in enumerate(items):
        new = found.envelopes[4 * number + 1]
        changed = number < 40
        assert (new is not None) is changed, "only what is not under the newest key"
        if new:
            assert (item.envelope[2:6], new[2:6]) == (bytes([0, 0, 0, 1]), bytes([0, 0, 0, 2]))
            opened = keys.open_many([item, item._replace(envelope=new)], "own_data", ACTOR)
            assert opened[0].value == opened[1].value is not None
    assert keys.check(mixed, "job") == list(codes.values())
    made = [each for each in found.envelopes if each]
    assert len({each[6:18] for each in made}) == len(made) == 40, "every nonce is its own"


def test_columns_of_different_lengths_are_no_values(keys: KeyService) -> None:
    [subject] = keys.new_subjects()
    good = Values.of([sealed(keys, subject)] * 3)
    for name in ("subjects", "fields", "rows", "contents"):
        bad = Values(**{each: list(getattr(good, each)) for each in good.__struct_fields__})
        getattr(bad, name).pop()
        with pytest.raises(BadRequest, match="different lengths"):
            keys.check(bad, "job")
    assert keys.check(good, "job") == [""] * 3


def test_administration_is_recorded_before_and_after(site: Site, keys: KeyService) -> None:
    assert keys.roll("kim", "monthly") == 2
    assert site.rows("act, account, outcome, unit, detail") == [
        ("keys.roll", "kim", "done", "sensmail-portal.service", {"phase": "begin", "reason": "monthly"}),
        ("keys.roll", "kim", "done", "sensmail-portal.service", {"phase": "end", "reason": "monthly", "epoch": 2}),
    ]
    said = [line for line in site.log.splitlines() if line.startswith("roll: ")]
    assert said == [f"roll: {phase}" for phase in ("prepare", "publish", "acknowledge", "bury", "record")]
    with site.superuser() as admin:
        rows = admin.execute(
            "SELECT kind, key, retired IS NULL FROM records.key_register ORDER BY kind, key"
        ).fetchall()
    assert [row for row in rows if row[0] == "epoch"] == [("epoch", "1", False), ("epoch", "2", True)]


def test_the_status_shows_where_everything_stands(
    site: Site, keys: KeyService, until: Callable[[Callable[[], object]], None]
) -> None:
    until(lambda: keys.status().database == "connected")
    subjects = keys.new_subjects(3)
    keys.open(sealed(keys, subjects[0]), "own_data", ACTOR)
    status = keys.status()
    assert status.counts["subjects"] == 3
    assert status.places == {str(each): "in step" for each in site.places}
    assert (status.database, status.settled, status.memory_locked, status.epoch) == ("connected", 1, True, 1)
    assert [each.provider for each in status.roots] == ["file"]
    assert status.wrapped_by == status.roots[0].identity


def test_a_new_root_wraps_only_when_asked_and_approved(site: Site, session: KeyService) -> None:
    keys = session
    FileRoot.create(site.home / "credentials" / "sensmail-root_2")
    site.stop()
    site.start()
    first, second = (each.identity for each in keys.status().roots)
    keys.roll("kim", "monthly")
    assert keys.status().wrapped_by == first
    with pytest.raises(Refused, match="approval of privacy_officer"):
        keys.roll("kim", "new root", rewrap=True)
    keys.roll("kim", "new root", "privacy_officer", rewrap=True)
    assert keys.status().wrapped_by == second
    keys.roll("kim", "monthly")
    assert keys.status().wrapped_by == second


@pytest.mark.parametrize("officers", [[b"a" * 32] * 3, [bytes(32), b"\1" + bytes(31), b"a" * 32]])
def test_officers_that_nobody_can_be_change_nothing(session: KeyService, officers: list[bytes]) -> None:
    keys = session
    with pytest.raises((BadRequest, Unavailable)):
        keys.roll("kim", "officers", "privacy_officer", officers=officers)
    assert (keys.status().epoch, keys.status().recovery) == (1, False)
    assert keys.roll("kim", "monthly") == 2


def test_another_unit_changes_neither_officers_nor_root_whatever_approval_it_claims(keys: KeyService) -> None:
    officers = [X25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(3)]
    with pytest.raises(Refused, match="login session of root"):
        keys.roll("kim", "officers", "privacy_officer", officers=officers)
    with pytest.raises(Refused, match="login session of root"):
        keys.roll("kim", "root", "privacy_officer", rewrap=True)
    assert (keys.status().epoch, keys.status().officers) == (1, [])


def test_officers_are_set_with_approval(session: KeyService) -> None:
    keys = session
    officers = [X25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(3)]
    with pytest.raises(Refused, match="approval of privacy_officer"):
        keys.roll("kim", "officers", officers=officers)
    keys.roll("kim", "officers", "privacy_officer", officers=officers)
    assert keys.status().officers == [each.hex() for each in officers]
