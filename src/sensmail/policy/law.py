"""The law as data: duties, the articles they rest on, what those replaced, and how sure we are (`law.yml`)."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Literal, Self

from pydantic import Field, model_validator

from sensmail.policy.durations import Duration
from sensmail.policy.model import Part, Period
from sensmail.policy.source import parse

Confidence = Literal["verified", "secondary", "unverified"]
TIMED = ("at_least", "at_most")
OFFICIAL = "https://www.law.go.kr/"


class Sourced(Part):
    """Something read somewhere. Only the official text makes it verified."""

    source: str = Field(min_length=3)
    confidence: Confidence

    @model_validator(mode="after")
    def _verified_by_the_official_text(self) -> Self:
        if self.confidence == "verified" and not self.source.startswith(OFFICIAL):
            raise ValueError(f"verified, but its source is not an address below {OFFICIAL}")
        return self


class Replaced(Part):
    """What an article became, and on which day (YYYY-MM-DD)."""

    by: str
    since: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")


class LawArticle(Sourced):
    """An article of a law or notice."""

    ko: str
    en: str
    in_force: str | None = None
    replaced: Replaced | None = None


class Raised(Part):
    """A stricter value from a number of data subjects on."""

    from_subjects: int = Field(ge=1)
    value: Period


class Earlier(Sourced):
    """What the duty rested on before."""

    article: str
    value: str | None = None
    until: str


class Duty(Sourced):
    """One duty: the clause that answers it, the place in the policy (`path`) and the value the law asks.

    A stated duty may have a path as well: the promise it is shown beside.
    """

    id: str
    clause: str
    path: str | None = None
    kind: Literal["at_least", "at_most", "one_of", "stated"]
    value: str | tuple[str, ...]
    raised: tuple[Raised, ...] = ()
    condition: str | None = None
    article: str
    in_force: str | None = None
    in_force_confidence: Confidence | None = None
    history: tuple[Earlier, ...] = ()

    @model_validator(mode="after")
    def _value_fits_kind(self) -> Self:
        if self.kind in TIMED:
            self.floor()
        elif (self.kind == "one_of") != isinstance(self.value, tuple):
            raise ValueError(f"duty {self.id}: value does not fit kind {self.kind}")
        if self.kind != "stated" and self.path is None:
            raise ValueError(f"duty {self.id}: a duty with a value has a path")
        return self

    def floor(self, subjects: int = 0) -> Duration:
        """Return the duration the law asks with that many data subjects (timed duties only)."""
        if self.kind not in TIMED or not isinstance(self.value, str):
            raise ValueError(f"duty {self.id} is not a matter of time")
        asked = Duration.parse(self.value)
        for step in self.raised:
            if subjects >= step.from_subjects:
                asked = step.value
        return asked


class Law(Part):
    """All duties and articles, as of a day."""

    as_of: str
    articles: dict[str, LawArticle]
    duties: tuple[Duty, ...]

    @model_validator(mode="after")
    def _articles_known(self) -> Self:
        for duty in self.duties:
            if self.articles[duty.article].replaced:
                raise ValueError(f"duty {duty.id} rests on an article that was replaced")
            for earlier in duty.history:
                if not self.articles[earlier.article].replaced:
                    raise ValueError(f"the history of duty {duty.id} names an article still in force")
        return self

    def of_path(self, path: str) -> tuple[Duty, ...]:
        """Return the duties about the value at `path` (``art4.access_log.retention``)."""
        return tuple(duty for duty in self.duties if duty.path == path)

    def of_clause(self, clause: str) -> tuple[Duty, ...]:
        """Return the duties of a clause that belong to no place in it."""
        return tuple(duty for duty in self.duties if duty.clause == clause and duty.path is None)


@lru_cache(maxsize=1)
def load_law() -> Law:
    """Return the law shipped with this version of the engine."""
    resource = files(__package__) / "law.yml"
    return Law.model_validate_json(json.dumps(parse(resource.read_bytes(), "law.yml").data))
