"""Load a policy file: read it, check its shape and its sense, and report everything that is wrong in one error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sensmail.policy.check import check, suggestion
from sensmail.policy.errors import PolicyError, Problem, quoted
from sensmail.policy.law import Law, load_law
from sensmail.policy.model import Policy, PolicyFile
from sensmail.policy.source import Key, Source, parse, read

#: Advice that a type cannot give, by error type of pydantic.
_ADVICE = {
    "string_type": "write it as text, in quotes",
    "duration": "write an ISO 8601 duration such as P1Y, P1M or P10D",
    "int_type": "write a whole number, without quotes",
    "list_type": "write a list",
    "tuple_type": "write a list",
    "model_type": "write keys and values",
    "dict_type": "write keys and values",
}


@dataclass(frozen=True)
class Loaded:
    """An accepted policy with the file it came from."""

    policy: Policy
    source: Source
    law: Law


def load(path: Path, name: str | None = None, law: Law | None = None) -> Loaded:
    """Load and check the file at `path`; `name` is how messages call it. PolicyError with every problem."""
    return accept(read(path, name), law)


def loads(raw: bytes, file: str, law: Law | None = None) -> Loaded:
    """Load and check a policy from bytes. PolicyError with every problem, and nothing else, whatever the bytes."""
    return accept(parse(raw, file), law)


def accept(source: Source, law: Law | None = None) -> Loaded:
    """Check a parsed file."""
    law = law or load_law()
    problems = check(source, law)
    try:
        policy = shape(source)
    except PolicyError as error:
        problems += error.problems
    if problems:
        raise PolicyError(problems)
    return Loaded(policy, source, law)


def shape(source: Source) -> Policy:
    """Return the typed policy. Only its shape is checked: an earlier version may break what the law asks today."""
    try:
        return PolicyFile.model_validate_json(json.dumps(source.data)).policy
    except ValidationError as error:
        raise PolicyError(_problem(source, detail) for detail in error.errors(include_url=False)) from None


def _problem(source: Source, error: ErrorDetails) -> Problem:
    path: Key = error["loc"]
    kind = error["type"]
    name = ".".join(str(step) for step in path[1:]) or ".".join(map(str, path)) or "the file"
    field = _field(path)
    about = f" ({field})" if field else ""
    if kind == "missing":
        return source.problem(path, f"{name} is missing{about}", f"add {quoted(str(path[-1]))}{about}")
    if kind == "extra_forbidden":
        return source.problem(path, f"{name} is not a key of the policy", suggestion(str(path[-1]), _keys(path[:-1])))
    if path[-3:] == ("art4", "physical", "region"):
        fix = "write KR or KRS: personal data stays in Korea"
        return source.problem(path, f"{name} is {quoted(error['input'])}, outside Korea", fix)
    advice = _ADVICE.get(kind) or _allowed(error, field)
    return source.problem(path, f"{name} is {quoted(error['input'])}: {error['msg']}", advice)


def _allowed(error: ErrorDetails, field: str) -> str:
    expected = error.get("ctx", {}).get("expected")
    return f"write {expected}" if expected else f"write {field or 'what docs/policy.schema.json asks'}"


def _keys(path: Key) -> tuple[str, ...]:
    """Return the keys allowed at a path of the file."""
    model = _model(path)
    return tuple(model.model_fields) if model else ()


def _field(path: Key) -> str:
    """Return the description of the field at a path, if it is one."""
    model = _model(path[:-1]) if path else None
    found = model.model_fields.get(str(path[-1])) if model else None
    return (found.description or "") if found else ""


def _model(path: Key) -> type[BaseModel] | None:
    """Return the class that describes the mapping at a path."""
    here: Any = PolicyFile
    for step in path:
        if isinstance(step, int):
            here = get_args(here)[0] if get_args(here) else None
        else:
            field = here.model_fields.get(step) if _is_model(here) else None
            here = field.annotation if field else None
        if get_origin(here) in (Union, UnionType):
            here = next((each for each in get_args(here) if _is_model(each)), None)
    return here if _is_model(here) else None


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
