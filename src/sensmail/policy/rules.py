"""Every promise beside the law and the value that is applied, and what an auditor should hear about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sensmail.policy.apply import stricter
from sensmail.policy.clauses import clause_of
from sensmail.policy.durations import Duration
from sensmail.policy.errors import Problem
from sensmail.policy.law import TIMED, Duty
from sensmail.policy.load import Loaded
from sensmail.policy.model import Holders, Keys, Part, Policy, Safety


@dataclass(frozen=True, slots=True)
class Rule:
    """One promise beside the law: what `sensmail policy show` prints as a row."""

    clause: str
    path: str
    promise: str
    laws: tuple[tuple[str, str, str], ...]  # value asked, article, confidence
    applied: str
    decided_by: Literal["policy", "law"]


def rules(loaded: Loaded, subjects: int = 0) -> tuple[Rule, ...]:
    """Return every promise of the policy, in the order of the articles, beside the law."""
    made: list[Rule] = []
    stated: set[str] = set()
    for path, value in _promises(loaded.policy):
        clause = clause_of(("policy", *path.split(".")))
        duties = loaded.law.of_path(path)
        if clause not in stated:
            stated.add(clause)
            duties += loaded.law.of_clause(clause)
        made.append(_rule(loaded, path, value, duties, subjects))
    return tuple(made)


def findings(loaded: Loaded, subjects: int = 0) -> tuple[Problem, ...]:
    """Return what an auditor should hear although the policy was accepted."""
    return (*_old_citations(loaded), *_law_is_stricter(loaded, subjects))


def summary(value: object) -> str:
    """Return a promise as a short text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(summary(entry) for entry in value) or "none"
    for name in ("id", "role", "name", "unit", "effective", "ko"):
        if isinstance(value, Part) and (found := getattr(value, name, None)):
            return summary(found)
    if isinstance(value, Part):
        return "; ".join(f"{key}: {summary(entry)}" for key, entry in value)
    return str(value)


def _promises(policy: Policy) -> Iterator[tuple[str, object]]:
    """Yield path and value of every promise."""
    for number in range(1, 12):
        article: Part = getattr(policy, f"art{number}")
        yield from _parts(f"art{number}", article)


def _parts(path: str, part: Part) -> Iterator[tuple[str, object]]:
    for name, value in part:
        if isinstance(part, Safety) or isinstance(value, Keys | Holders):
            yield from _parts(f"{path}.{name}", value)
        elif name != "cites":
            yield f"{path}.{name}", value


def _rule(loaded: Loaded, path: str, value: object, duties: tuple[Duty, ...], subjects: int) -> Rule:
    laws = []
    for duty in duties:
        asked = duty.floor(subjects) if duty.kind in TIMED else duty.value
        text = " or ".join(asked) if isinstance(asked, tuple) else str(asked)
        laws.append((text, loaded.law.articles[duty.article].en, duty.confidence))
    applied = stricter(loaded.policy, loaded.law, path, subjects) if isinstance(value, Duration) else value
    decided: Literal["policy", "law"] = "policy" if applied == value else "law"
    clause = clause_of(("policy", *path.split(".")))
    return Rule(clause, path, summary(value), tuple(laws), summary(applied), decided)


def _old_citations(loaded: Loaded) -> Iterator[Problem]:
    source, law = loaded.source, loaded.law
    for path in (key for key in source.lines if key[-1:] == ("cites",)):
        for number, cited in enumerate(source.entries(*path)):
            article = law.articles[str(cited)]
            if article.replaced:
                now = law.articles[article.replaced.by].en
                what = f"cites {article.en}, which is no longer in force: {now} replaced it on {article.replaced.since}"
                yield source.problem(
                    (*path, number), what, f"cite {article.replaced.by} in the next version of the policy"
                )


def _law_is_stricter(loaded: Loaded, subjects: int) -> Iterator[Problem]:
    for rule in (rule for rule in rules(loaded, subjects) if rule.decided_by == "law"):
        asked, article, confidence = next((law for law in rule.laws if law[0] == rule.applied), rule.laws[0])
        law = f"the law asks {asked} for {subjects} subjects ({article}, {confidence} source)"
        fix = f"nothing now: {rule.applied} is applied; say so in the next version of the policy"
        path = ("policy", *rule.path.split("."))
        yield loaded.source.problem(path, f"{rule.path} promises {rule.promise}, {law}", fix)
