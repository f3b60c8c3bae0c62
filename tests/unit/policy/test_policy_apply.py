"""Applied values: the stricter of policy and law, and what an auditor hears about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keyd import protocol, rights
from sensmail.keyd.policy import Policy
from sensmail.policy import (
    Duration,
    Loaded,
    PolicyError,
    Problem,
    applied_document,
    apply,
    data_map,
    findings,
    loads,
    rules,
)
from sensmail.policy.law import Law, load_law
from sensmail.policy.model import ActId, DutyId, Keys

Spoil = Callable[..., str]
Refused = Callable[[str | bytes], tuple[Problem, ...]]


def with_duty(name: str, **changes: object) -> Law:
    """Return the law with one duty changed."""
    law = load_law()
    duties = tuple(duty.model_copy(update=changes) if duty.id == name else duty for duty in law.duties)
    return law.model_copy(update={"duties": duties})


def test_shipped_values(shipped: Loaded) -> None:
    applied = apply(shipped).model_dump(mode="json")
    assert applied == {
        "subjects": 0,
        "law_as_of": "2026-11-23",
        "effective": "2022-06-13",
        "purposes": ["registration_code", "otp_code", "password_link"],
        "data_due": "earlier",
        "password_scheme": "argon2id",
        "cipher": "aes-256-gcm",
        "minimum_tls": "1.2",
        "site": "local",
        "region": "KR",
        "access_log_retention": "P1Y",
        "access_log_retention_days": 366,
        "access_log_review_interval": "P1M",
        "access_log_review_days": 28,
        "access_right_retention": "P5Y",
        "unwitnessed_deletion": "refused",
        "access_right_retention_days": 1827,
        "request_time": "P10D",
        "request_days": 10,
        "notice_interval": "P1Y",
        "notice_interval_days": 365,
        "destruction_time": "P5D",
        "destruction_days": 5,
        "malware_update_interval": "P1D",
        "malware_update_days": 1,
        "malware_check_interval": "P1M",
        "processor_inspection_interval": "P1Y",
        "keys": {
            "epoch_interval": "P1M",
            "epoch_days": 28,
            "reseal_interval": "P1Y",
            "reseal_days": 365,
            "root_interval": "P2Y",
            "root_days": 730,
            "kept_for_restore": "P35D",
            "kept_for_restore_days": 35,
            "approval": "privacy_officer",
            "duties": ["own_data", "request", "notice"],
            "callers": shipped.policy.model_dump(mode="json")["art4"]["encryption"]["keys"]["callers"],
        },
    }


def test_keys_are_replaced_early_and_kept_late(spoil: Spoil) -> None:
    text = spoil(("epoch_interval: P1M", "epoch_interval: P2M"), ("kept_for_restore: P35D", "kept_for_restore: P2M"))
    keys = apply(loads(text.encode(), "policy.yml")).keys
    assert (keys.epoch_days, keys.kept_for_restore_days) == (59, 62)


def test_callers_of_the_key_service(shipped: Loaded) -> None:
    callers = {caller["unit"]: caller for caller in applied_document(shipped)["applied"]["keys"]["callers"]}
    assert callers["sensmail-portal.service"] == {
        "unit": "sensmail-portal.service",
        "acts": ["subjects", "seal", "open"],
        "purposes": ["registration_code", "otp_code", "password_link", "own_data"],
        "openings_per_minute": 600,
        "new_subjects_per_minute": 60,
    }
    rotation = callers["sensmail-rotate.service"]
    assert rotation["purposes"] == []
    assert rotation["openings_per_minute"] is rotation["new_subjects_per_minute"] is None
    assert {"open", "destroy", "destroy_retired"}.isdisjoint(rotation["acts"])
    assert set(callers["session"]["acts"]) == set(get_args(ActId))


def test_policy_and_key_service_know_the_same_acts_and_duties() -> None:
    assert set(get_args(ActId)) == set(protocol.ACTS)
    assert set(get_args(DutyId)) == rights.DUTIES


def test_the_key_service_reads_what_the_policy_writes(shipped: Loaded) -> None:
    found = rights.rights_of(msgspec.json.decode(json.dumps(applied_document(shipped)), type=Policy))
    assert found.units["sensmail-portal.service"].openings_per_minute == 600
    assert found.units["sensmail-portal.service"].new_subjects_per_minute == 60
    assert {item.name for item in found.items.values()} == {
        "name", "emergency_email", "department", "position", "employee_number"
    }  # fmt: skip
    assert found.keys.approval == "privacy_officer"


def test_every_key_promise_is_a_rule(shipped: Loaded) -> None:
    paths = {rule.path.removeprefix("art4.encryption.keys.") for rule in rules(shipped)}
    assert paths >= set(Keys.model_fields)


def test_the_written_key_procedure_stands_beside_the_keys_as_unverified(shipped: Loaded) -> None:
    (rule,) = [rule for rule in rules(shipped) if any("written procedure" in law[0] for law in rule.laws)]
    assert (rule.path, rule.decided_by) == ("art4.encryption.keys.epoch_interval", "policy")
    assert rule.laws[0][1:] == ("Safety measures notice art. 7(6)", "unverified")


@pytest.mark.parametrize(("subjects", "days"), [(49_999, 366), (50_000, 731)])
def test_the_law_decides_from_fifty_thousand_subjects(shipped: Loaded, subjects: int, days: int) -> None:
    assert apply(shipped, subjects).access_log_retention_days == days
    decided = [rule.path for rule in rules(shipped, subjects) if rule.decided_by == "law"]
    assert decided == (["art4.access_log.retention"] if days == 731 else [])


def test_the_promise_decides_where_it_is_stricter(shipped: Loaded) -> None:
    rule = next(rule for rule in rules(shipped) if rule.path == "art4.access_rights.retention")
    assert (rule.promise, rule.laws[0][0], rule.applied, rule.decided_by) == ("P5Y", "P3Y", "P5Y", "policy")


def test_an_old_citation_is_a_finding(shipped: Loaded, text: str) -> None:
    found = findings(shipped)
    assert [finding.clause for finding in found] == ["art6"]
    assert found[0].line == text[: text.index("PIPA-39-8]")].count("\n") + 1
    assert "PIPA art. 39-8, which is no longer in force: PIPA art. 20-2 replaced it on 2023-09-15" in found[0].what


def test_a_current_citation_is_none(spoil: Spoil) -> None:
    assert findings(loads(spoil(("PIPA-39-8", "PIPA-20-2")).encode(), "policy.yml")) == ()


def test_a_stricter_law_is_a_finding(shipped: Loaded) -> None:
    found = [finding for finding in findings(shipped, 60_000) if finding.clause == "art4-3"]
    assert len(found) == 1
    assert "promises P1Y, the law asks P2Y for 60000 subjects" in found[0].what
    assert "secondary source" in found[0].what


def test_unverified_law_refuses_nothing_but_is_applied_and_told(spoil: Spoil, refused: Refused) -> None:
    weekly = spoil(("update_interval: P1D", "update_interval: P7D")).encode()
    loaded = loads(weekly, "policy.yml")
    assert apply(loaded).malware_update_days == 1
    told = [finding.what for finding in findings(loaded) if finding.clause == "art4-5"]
    assert len(told) == 1
    assert "unverified source" in told[0]
    surer = with_duty("malware_update", confidence="secondary")
    with pytest.raises(PolicyError, match="the law asks P1D"):
        loads(weekly, "policy.yml", surer)


durations = st.builds(Duration, st.integers(0, 60), st.integers(0, 900)).filter(lambda d: d != Duration(0, 0))


@given(durations, st.integers(0, 100_000))
def test_kept_at_least_as_long_as_both_ask(shipped: Loaded, asked: Duration, subjects: int) -> None:
    law = with_duty("access_log_retention", value=str(asked))
    loaded = Loaded(shipped.policy, shipped.source, law)
    applied = apply(loaded, subjects).access_log_retention
    assert applied.covers(Duration(12, 0))
    assert applied.covers(asked if subjects < 50_000 else Duration(24, 0))


@given(durations)
def test_done_at_most_as_late_as_both_ask(shipped: Loaded, asked: Duration) -> None:
    loaded = Loaded(shipped.policy, shipped.source, with_duty("destruction_time", value=str(asked)))
    applied = apply(loaded).destruction_time
    assert Duration(0, 5).covers(applied)
    assert asked.covers(applied)


def test_the_strictest_of_several_laws_counts(shipped: Loaded) -> None:
    loaded = Loaded(shipped.policy, shipped.source, with_duty("suspension_time", value="P7D"))
    assert apply(loaded).request_days == 7
    told = [finding.what for finding in findings(loaded) if finding.clause == "art5"]
    assert any("the law asks P7D" in what and "PIPA art. 37, unverified" in what for what in told)


def test_every_promise_is_a_rule_with_its_clause(shipped: Loaded) -> None:
    made = rules(shipped)
    clauses = [rule.clause for rule in made]
    expected = [
        "art1",
        "art2-1",
        "art2-2",
        "art3",
        *(f"art4-{n}" for n in range(1, 7)),
        *(f"art{n}" for n in range(5, 12)),
    ]
    assert list(dict.fromkeys(clauses)) == expected
    assert len({rule.path for rule in made}) == len(made)


def test_data_map(shipped: Loaded) -> None:
    columns = {f"{each.place.table}.{each.place.column}": each for each in data_map(shipped.policy)}
    sealed = {name for name, each in columns.items() if each.item.protection == "sealed"}
    assert sealed == {
        "accounts.subject." + name for name in ("name", "emergency_email", "department", "position", "employee_number")
    }
    one_way = {name for name, each in columns.items() if each.item.protection == "one_way"}
    assert one_way == {"accounts.subject.password_hash", "accounts.app_password.hash"}
    assert columns["accounts.subject.address"].item.protection == "open"
    assert {columns[name].place.subject for name in sealed} == {"id"}
    assert len({each.place.field for each in columns.values()}) == len(columns)


def test_the_document_says_of_each_column_all_that_programs_need(shipped: Loaded) -> None:
    columns = {f"{each['table']}.{each['column']}": each for each in applied_document(shipped)["data_map"]}
    assert columns["accounts.subject.emergency_email"] == {
        "table": "accounts.subject",
        "column": "emergency_email",
        "field": 5,
        "subject": "id",
        "item": "emergency_email",
        "category": "required",
        "protection": "sealed",
        "retention": "account",
        "purposes": ["registration_code", "otp_code", "password_link"],
        "duty": None,
    }
    # the same item under the period of the records, where it stands in one
    assert columns["accounts.subject.address"]["retention"] == "account"
    assert columns["records.inbox.account"]["retention"] == "access_log"
    assert columns["records.inbox.origin"]["retention"] == "access_log"
    assert columns["records.governance.account"]["retention"] == "access_rights"


#: Field numbers that have been given out. A number once here is never changed: sealed values are bound to it.
GIVEN = {
    "accounts.subject.name": 1, "accounts.subject.address": 2, "accounts.subject.password_hash": 3,
    "accounts.app_password.hash": 4, "accounts.subject.emergency_email": 5, "accounts.subject.department": 6,
    "accounts.subject.position": 7, "accounts.subject.employee_number": 8, "records.access.origin": 9,
    "records.access.at": 10, "records.access.client": 11, "records.access.act": 12,
    "records.inbox.origin": 13, "records.inbox.at": 14, "records.inbox.client": 15, "records.inbox.act": 16,
    "records.inbox.account": 17, "records.access.account": 18, "records.governance.account": 19,
    "records.governance.origin": 20, "records.access.received": 21, "records.access.sealed": 22,
    "records.inbox.acted_at": 23, "records.governance.at": 24, "records.governance.received": 25,
    "records.governance.sealed": 26, "records.governance.client": 27,
}  # fmt: skip


def test_field_numbers_are_permanent(shipped: Loaded) -> None:
    now = {f"{each.place.table}.{each.place.column}": each.place.field for each in data_map(shipped.policy)}
    assert {name: now.get(name) for name in GIVEN} == GIVEN
