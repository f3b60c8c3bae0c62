"""The shape of the policy file: one class per article, strict, closed and immutable.

Descriptions are part of the product: they are the help in the editor (JSON Schema) and the advice in error messages.
What spans several places of the file is checked in `sensmail.policy.check`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from sensmail.policy.durations import PATTERN, Duration


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    try:
        return Duration.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None


Period = Annotated[
    Duration,
    PlainValidator(_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["P1Y", "P1M", "P10D"]}),
]
Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^\S(?:.*\S)?$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Phone = Annotated[
    str, Field(pattern=r"^[0-9][0-9-]{1,18}[0-9]$", description="telephone number, digits and hyphens, in quotes")
]
Email = Annotated[
    str,
    Field(
        max_length=254, pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+$", description="e-mail address"
    ),
]
PurposeId = Literal["registration_code", "otp_code", "password_link"]
Role = Literal["privacy_officer", "privacy_manager", "privacy_handler"]
#: Duties of the law that may read any sealed item: articles 5 and 10, and 6.
DutyId = Literal["own_data", "request", "notice"]
ActId = Literal[
    "subjects", "adopt", "seal", "open", "reseal", "check", "census", "close", "reopen", "destroy",
    "replace", "retire", "destroy_retired", "roll", "status", "tombstones",
]  # fmt: skip
RetentionId = Literal["account", "access_log", "access_rights"]


class Part(BaseModel):
    """A part of the policy: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Article(Part):
    """A part that rests on law."""

    cites: tuple[str, ...] = Field(default=(), description="ids of the law articles this clause names, as in law.yml")


class Text(Part):
    """What people read, in both languages of the page."""

    ko: Line = Field(description="Korean text")
    en: Line = Field(description="English text")


class Service(Part):
    """Who processes the data, for what service."""

    name: Text = Field(description="name of the service")
    company: Text = Field(description="name of the company that runs it")


class Purpose(Part):
    """One purpose of article 1."""

    id: PurposeId = Field(description="the mail the engine sends for it")
    text: Text = Field(description="the purpose as the page says it")


class Purposes(Article):
    """Article 1."""

    purposes: tuple[Purpose, ...] = Field(description="exactly the three purposes the engine can send mail for")
    other_use: Literal["separate_consent"] = Field(description="what any other use needs")


class Place(Part):
    """A column that holds a personal item."""

    table: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}$")] = Field(
        description="schema.table"
    )
    column: Name = Field(description="column name")
    field: Annotated[int, Field(ge=1, le=65535)] = Field(
        description="permanent field number, authenticated with each sealed value; never reused",
    )
    subject: Name | None = Field(
        default=None, description="column of the same table that holds the person's id; needed where the item is sealed"
    )
    retention: RetentionId | None = Field(default=None, description="the period of this column, if not the item's")


class Item(Part):
    """A personal item of article 2 and where it is kept."""

    id: Name = Field(description="name of the item in programs")
    label: Text = Field(description="name of the item on the page")
    category: Literal["required", "optional", "generated"] = Field(description="how the item is collected")
    protection: Literal["sealed", "one_way", "open"] = Field(
        description="sealed, one_way (passwords), or open with a reason"
    )
    reason: Text | None = Field(default=None, description="why an open item cannot be sealed")
    retention: RetentionId = Field(description="the period that ends its life")
    purposes: tuple[PurposeId, ...] = Field(default=(), description="purposes of article 1 that need the item")
    duty: Literal["access_log"] | None = Field(default=None, description="the duty that needs it, if no purpose does")
    places: tuple[Place, ...] = Field(min_length=1, description="every column that holds it")


class ItemsPeriod(Part):
    """Article 2, paragraph 2: until when account data is kept."""

    ends: tuple[Literal["contract_end", "retirement"], ...] = Field(
        min_length=1, description="events that end the need"
    )
    reading: Literal["earlier", "later"] = Field(description="which of the events makes the data due")


class Items(Article):
    """Article 2."""

    items: tuple[Item, ...] = Field(min_length=1, description="the data map")
    retired_fields: tuple[int, ...] = Field(default=(), description="field numbers of columns that are gone")
    period: ItemsPeriod = Field(description="until when account data is kept")


class Processor(Part):
    """A processor of article 3."""

    name: Text = Field(description="name of the processor")
    task: Text = Field(description="what it does for us")
    until: Literal["contract_end"] = Field(description="when its part ends")
    inspection_interval: Period = Field(description="how often it is inspected, at the latest")


class Processors(Article):
    """Article 3."""

    processors: tuple[Processor, ...] = Field(description="everyone who processes data for us")


class Caller(Part):
    """A program that may ask the key service, and for what."""

    unit: Annotated[str, Field(pattern=r"^(?:session|[A-Za-z0-9][A-Za-z0-9_@.:-]{0,200}\.service)$")] = Field(
        description="name of a systemd service, or session: a login of the administrator"
    )
    acts: tuple[ActId, ...] = Field(min_length=1, description="what it may ask")
    purposes: tuple[PurposeId | DutyId, ...] = Field(default=(), description="what it may open sealed items for")
    openings_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="how many sealed items it may open in a minute"
    )
    new_subjects_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, description="how many persons it may give their first keys in a minute"
    )


class Keys(Part):
    """Article 4.1: how long keys are used, and who may ask for what."""

    epoch_interval: Period = Field(description="how often the key over all persons' keys is replaced, at the latest")
    reseal_interval: Period = Field(description="how often each person's key is replaced, at the latest")
    root_interval: Period = Field(description="how often the root key is replaced, at the latest")
    kept_for_restore: Period = Field(description="how long replaced keys are kept, to restore backups that need them")
    approval: Role = Field(description="officer who approves the destruction of keys and a new root key")
    callers: tuple[Caller, ...] = Field(min_length=1, description="who may ask the key service; nobody else may")


class Encryption(Article):
    """Article 4.1."""

    emergency_email: Literal["two_way"] = Field(description="encrypted so that it can be read again")
    password: Literal["one_way"] = Field(description="kept so that nobody can read it")
    cipher: Literal["aes-256-gcm"] = Field(description="cipher of sealed items")
    password_scheme: Literal["argon2id"] = Field(description="one-way function of account passwords")
    validated_module: Literal[False] = Field(description="whether the crypto module is KCMVP-validated; it is not")
    # None only in an earlier version, from before keys had a place in the policy (sensmail.policy.check_keys).
    keys: Keys | None = Field(default=None, description="how long keys are used, and who may ask for what; needed")


class AccessRights(Article):
    """Article 4.2."""

    recorded: tuple[Literal["grant", "change", "revoke"], ...] = Field(
        min_length=3, description="acts that are recorded"
    )
    retention: Period = Field(description="how long the records of access rights are kept, at least")
    outside_access: Literal["intrusion_prevention"] = Field(description="what controls access from outside")


class AccessLog(Article):
    """Article 4.3."""

    retention: Period = Field(description="how long the access log is kept, at least")
    review_interval: Period = Field(description="how often the log is reviewed, at the latest")
    unwitnessed_deletion: Literal["refused", "allowed"] = Field(
        default="refused", description="whether records are deleted where no witness has cosigned them"
    )


class StorageAndTransit(Article):
    """Article 4.4."""

    stored: Literal["encrypted"] = Field(description="how important data is stored")
    transit: Literal["tls"] = Field(description="how it travels")
    minimum_tls: Literal["1.2"] = Field(description="oldest TLS version that clients may use, in quotes")


class Malware(Article):
    """Article 4.5."""

    update_interval: Period = Field(description="how often the security programs are updated, at the latest")
    check_interval: Period = Field(description="how often they are checked, at the latest")


class Physical(Article):
    """Article 4.6."""

    site: Literal["local", "ncloud"] = Field(
        description="local: machines for development; ncloud: Naver Cloud, public sector"
    )
    region: Literal["KR", "KRS"] = Field(description="region in Korea: KR, or KRS (south)")
    separate: Literal[True] = Field(description="systems with personal data stand apart")
    entry_control: Literal["attested"] = Field(description="entry control is attested by the operator of the site")


class Safety(Part):
    """Article 4."""

    encryption: Encryption = Field(description="article 4.1")
    access_rights: AccessRights = Field(description="article 4.2")
    access_log: AccessLog = Field(description="article 4.3")
    storage_and_transit: StorageAndTransit = Field(description="article 4.4")
    malware: Malware = Field(description="article 4.5")
    physical: Physical = Field(description="article 4.6")


class Rights(Article):
    """Article 5."""

    rights: tuple[Literal["view", "correct", "refuse_consent", "leave"], ...] = Field(
        min_length=4, description="what a user can do"
    )
    channels: tuple[Literal["writing", "phone", "email"], ...] = Field(min_length=3, description="ways to ask")
    legal_representative: Literal[True] = Field(description="a legal representative may ask as well")
    request_time: Period = Field(description="time in which a request is acted on, at most")
    after_closing: Literal["no_view_no_use"] = Field(description="what happens to data closed or deleted on request")


class Notice(Article):
    """Article 6."""

    interval: Period = Field(description="time between two usage notices, at most")
    tells: tuple[Literal["purposes_and_items", "recipients"], ...] = Field(
        min_length=2, description="what the notice tells"
    )


class Destruction(Article):
    """Article 7."""

    within: Period = Field(description="time from due to destroyed, at most")
    electronic: Literal["key_destruction"] = Field(description="how electronic data becomes unreadable for good")
    paper: tuple[Literal["shred", "burn"], ...] = Field(min_length=1, description="how paper is destroyed")
    registered: Literal[True] = Field(description="each destruction is entered in the register")
    responsible: Role = Field(description="officer responsible")


class Body(Part):
    """A body that helps data subjects."""

    name: Text = Field(description="name of the body")
    phone: Phone | None = Field(default=None)
    site: Annotated[str, Field(pattern=r"^[a-z0-9-]+(?:\.[a-z0-9-]+)+$")] = Field(
        description="host name of its web site"
    )


class Remedies(Article):
    """Article 8."""

    bodies: tuple[Body, ...] = Field(min_length=1, description="where to turn")


class Officer(Part):
    """An officer of article 9."""

    role: Role = Field(description="the duty")
    department: Text = Field(description="department")
    name: Annotated[str, Field(max_length=100)] = Field(
        default="", description="the person's name, in your own inventory"
    )
    phone: Phone
    email: Email


class Officers(Article):
    """Article 9."""

    officers: tuple[Officer, ...] = Field(description="one entry for each of the three roles")


class AccessDesk(Article):
    """Article 10."""

    department: Text = Field(description="department that receives access requests")
    phone: Phone


class EarlierVersion(Part):
    """A version that was in force before."""

    effective: Annotated[date, Field(description="first day in force, YYYY-MM-DD")]
    file: Line = Field(description="its policy file, relative to this file")


class Change(Article):
    """Article 11."""

    effective: date = Field(description="first day this version is in force, YYYY-MM-DD")
    announced: Literal[True] = Field(description="a change is announced")
    earlier: tuple[EarlierVersion, ...] = Field(description="versions in force before, newest first; [] for none")


class Policy(Part):
    """The whole policy."""

    service: Service = Field(description="who processes the data")
    art1: Purposes = Field(description="article 1: purposes")
    art2: Items = Field(description="article 2: items and period")
    art3: Processors = Field(description="article 3: processors")
    art4: Safety = Field(description="article 4: safety measures")
    art5: Rights = Field(description="article 5: rights of data subjects")
    art6: Notice = Field(description="article 6: notice of use")
    art7: Destruction = Field(description="article 7: destruction")
    art8: Remedies = Field(description="article 8: remedies")
    art9: Officers = Field(description="article 9: officers")
    art10: AccessDesk = Field(description="article 10: access requests")
    art11: Change = Field(description="article 11: change")


class PolicyFile(Part):
    """The file: a single Ansible variable."""

    policy: Policy = Field(description="the privacy policy")
