"""What is enforced: for each promise the stricter of policy and law."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

from pydantic import Field, computed_field

from sensmail.policy.durations import Duration, longer, shorter
from sensmail.policy.law import TIMED, Law
from sensmail.policy.load import Loaded
from sensmail.policy.model import Caller, DutyId, Item, Part, Period, Place, Policy, PurposeId, RetentionId, Role


class AppliedKeys(Part):
    """Key intervals and callers. A key is replaced at the earliest reading of a period, kept to the latest."""

    epoch_interval: Period
    reseal_interval: Period
    root_interval: Period
    kept_for_restore: Period
    approval: Role
    duties: tuple[DutyId, ...] = Field(description="purposes that may open every sealed item, beside its own")
    callers: tuple[Caller, ...]

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def epoch_days(self) -> int:
        """Days between two epochs."""
        return self.epoch_interval.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def reseal_days(self) -> int:
        """Days between two key versions of a person."""
        return self.reseal_interval.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def root_days(self) -> int:
        """Days between two root keys."""
        return self.root_interval.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def kept_for_restore_days(self) -> int:
        """Days to keep replaced key versions."""
        return self.kept_for_restore.longest_days


class Applied(Part):
    """The values that programs enforce. Days err on the safe side: longest for keeping, shortest for deadlines."""

    subjects: int = Field(ge=0, description="number of data subjects the values were computed for")
    law_as_of: str
    effective: date
    purposes: tuple[PurposeId, ...]
    data_due: Literal["earlier", "later"]
    password_scheme: str
    cipher: str
    minimum_tls: str
    site: str
    region: str
    access_log_retention: Period
    access_log_review_interval: Period
    access_right_retention: Period
    unwitnessed_deletion: Literal["refused", "allowed"]
    request_time: Period
    notice_interval: Period
    destruction_time: Period
    malware_update_interval: Period
    malware_check_interval: Period
    processor_inspection_interval: Period
    keys: AppliedKeys

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def access_log_retention_days(self) -> int:
        """Days to keep the access log."""
        return self.access_log_retention.longest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def access_right_retention_days(self) -> int:
        """Days to keep the records of access rights."""
        return self.access_right_retention.longest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def access_log_review_days(self) -> int:
        """Days between two reviews of the access log."""
        return self.access_log_review_interval.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def request_days(self) -> int:
        """Days to act on a request."""
        return self.request_time.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def notice_interval_days(self) -> int:
        """Days between two usage notices."""
        return self.notice_interval.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def destruction_days(self) -> int:
        """Days from due to destroyed."""
        return self.destruction_time.shortest_days

    @computed_field  # type: ignore[prop-decorator]  # mypy #1362
    @property
    def malware_update_days(self) -> int:
        """Days between two updates of the security programs."""
        return self.malware_update_interval.shortest_days


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the data map."""

    item: Item
    place: Place

    @property
    def retention(self) -> RetentionId:
        """The period that ends its life: the column's own, or the item's."""
        return self.place.retention or self.item.retention


def apply(loaded: Loaded, subjects: int = 0) -> Applied:
    """Compute the applied values for that many data subjects."""
    policy, law = loaded.policy, loaded.law

    def timed(path: str) -> Duration:
        return stricter(policy, law, path, subjects)

    return Applied(
        subjects=subjects,
        law_as_of=law.as_of,
        effective=policy.art11.effective,
        purposes=tuple(purpose.id for purpose in policy.art1.purposes),
        data_due=policy.art2.period.reading,
        password_scheme=policy.art4.encryption.password_scheme,
        cipher=policy.art4.encryption.cipher,
        minimum_tls=policy.art4.storage_and_transit.minimum_tls,
        site=policy.art4.physical.site,
        region=policy.art4.physical.region,
        access_log_retention=timed("art4.access_log.retention"),
        access_log_review_interval=timed("art4.access_log.review_interval"),
        access_right_retention=timed("art4.access_rights.retention"),
        unwitnessed_deletion=policy.art4.access_log.unwitnessed_deletion,
        request_time=timed("art5.request_time"),
        notice_interval=timed("art6.interval"),
        destruction_time=timed("art7.within"),
        malware_update_interval=timed("art4.malware.update_interval"),
        malware_check_interval=timed("art4.malware.check_interval"),
        processor_inspection_interval=_inspection(policy),
        keys=_keys(policy),
    )


def data_map(policy: Policy) -> tuple[Column, ...]:
    """Return every column that holds a personal item."""
    return tuple(Column(item, place) for item in policy.art2.items for place in item.places)


def stricter(policy: Policy, law: Law, path: str, subjects: int) -> Duration:
    """Return the stricter of the promise at `path` and every law about it."""
    value: Duration = value_at(policy, path)
    for duty in (duty for duty in law.of_path(path) if duty.kind in TIMED):
        choose = longer if duty.kind == "at_least" else shorter
        value = choose(value, duty.floor(subjects))
    return value


def value_at(policy: Policy, path: str) -> Duration:
    """Return the duration promised at a path such as ``art4.access_log.retention``."""
    here: object = policy
    for step in path.split("."):
        here = getattr(here, step)
    if not isinstance(here, Duration):
        raise TypeError(f"{path} is not a duration")
    return here


def _keys(policy: Policy) -> AppliedKeys:
    keys = policy.art4.encryption.keys
    if keys is None:
        raise TypeError("an earlier version of a policy is shown, not applied")
    return AppliedKeys(**dict(keys), duties=get_args(DutyId))


def _inspection(policy: Policy) -> Duration:
    intervals = [processor.inspection_interval for processor in policy.art3.processors]
    least = intervals[0] if intervals else Duration(12, 0)
    for interval in intervals[1:]:
        least = shorter(least, interval)
    return least
