"""The law file: honest about what is known, and consistent."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from sensmail.policy.durations import Duration
from sensmail.policy.law import Duty, Law, load_law
from sensmail.policy.model import Policy

DUTY: dict[str, Any] = {
    "id": "x", "clause": "art7", "path": "art7.within", "kind": "at_most", "value": "P5D",
    "article": "PIPA-21", "source": "https://www.law.go.kr/x", "confidence": "verified",
}  # fmt: skip


def test_nothing_is_called_verified_that_was_not_read_officially() -> None:
    law = load_law()
    assert {entry.confidence for entry in (*law.duties, *law.articles.values())} <= {"secondary", "unverified"}


def test_verified_needs_the_official_text() -> None:
    assert Duty.model_validate(DUTY).confidence == "verified"
    with pytest.raises(ValidationError, match="verified, but its source"):
        Duty.model_validate({**DUTY, "source": "a blog"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "at_least", "value": "soon"}, "not an ISO 8601"),
        ({"kind": "one_of"}, "does not fit kind"),
        ({"path": None}, "has a path"),
        ({"sorce": "x"}, "Extra inputs"),
        ({"confidence": "sure"}, "Input should be"),
    ],
)
def test_wrong_duties_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Duty.model_validate({**DUTY, **change})


def test_a_duty_rests_on_an_article_in_force() -> None:
    law = load_law().model_dump(mode="json")
    law["duties"][0]["article"] = "PIPA-39-8"
    with pytest.raises(ValidationError, match="article that was replaced"):
        Law.model_validate(law, strict=False)


def test_the_usage_notice_remembers_what_it_rested_on() -> None:
    law = load_law()
    notice = next(duty for duty in law.duties if duty.id == "usage_notice")
    assert (notice.article, notice.in_force) == ("PIPA-20-2", "2023-09-15")
    assert [earlier.article for earlier in notice.history] == ["PIPA-39-8"]
    replaced = law.articles["PIPA-39-8"].replaced
    assert replaced is not None
    assert (replaced.by, replaced.since) == ("PIPA-20-2", "2023-09-15")


@pytest.mark.parametrize(("subjects", "asked"), [(0, "P1Y"), (49_999, "P1Y"), (50_000, "P2Y"), (10**7, "P2Y")])
def test_access_log_floor_follows_the_subject_count(subjects: int, asked: str) -> None:
    duty = next(duty for duty in load_law().duties if duty.id == "access_log_retention")
    assert duty.floor(subjects) == Duration.parse(asked)


def test_every_article_of_the_policy_but_the_remedies_has_a_duty() -> None:
    clauses = {duty.clause.split("-")[0] for duty in load_law().duties}
    assert clauses == {f"art{number}" for number in range(1, 12)} - {"art8"}


def test_what_the_law_fixes_the_model_cannot_break() -> None:
    """A duty of the kind `one_of` has no check of its own: the model must allow nothing else."""
    fixed = [duty for duty in load_law().duties if duty.kind == "one_of"]
    assert {duty.path for duty in fixed} >= {"art4.physical.region", "art4.encryption.password"}
    for duty in fixed:
        here: Any = Policy
        for step in str(duty.path).split("."):
            here = here.model_fields[step].annotation
        assert set(get_args(here)) <= set(duty.value), duty.id
