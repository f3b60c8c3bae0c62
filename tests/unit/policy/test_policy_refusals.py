"""Every kind of bad input: refused, with file, line, clause, value and fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sensmail.policy import PolicyError, Problem, load

Spoil = Callable[..., str]
Refused = Callable[[str | bytes], tuple[Problem, ...]]


@dataclass(frozen=True)
class Case:
    """A spoilt part; where the message points, and what it says."""

    name: str
    old: str
    new: str
    at: str
    clause: str
    what: str
    fix: str


CASES = [Case(**row) for row in yaml.safe_load(Path(__file__).with_name("refusals.yml").read_text(encoding="utf-8"))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_refused_with_place_clause_and_fix(case: Case, spoil: Spoil, refused: Refused) -> None:
    text = spoil((case.old, case.new))
    problems = refused(text)
    line = text[: text.index(case.at)].count("\n") + 1
    fitting = [
        problem
        for problem in problems
        if case.what in problem.what
        and case.fix in problem.fix
        and (problem.line, problem.clause) == (line, case.clause)
    ]
    assert fitting, f"expected {case} on line {line}, got:\n" + "\n".join(map(str, problems))
    assert f"policy.yml:{line}: {case.clause}: " in str(fitting[0])
    assert " Fix: " in str(fitting[0])


def test_everything_is_reported_at_once(spoil: Spoil, refused: Refused) -> None:
    several = [case for case in CASES if case.name in {
        "access log below the floor", "unknown key", "unsealed item", "region abroad", "officer without phone",
        "duplicate field number", "fourth purpose", "bad duration", "unknown law", "article missing",
    }]  # fmt: skip
    text = spoil(*((case.old, case.new) for case in several))
    problems = refused(text)
    message = str(PolicyError(problems))
    for case in several:
        assert case.what in message, case
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


@pytest.mark.parametrize(
    ("raw", "line", "what", "fix"),
    [
        (b"", 1, "empty", "start from"),
        (b" \n\n", 1, "empty", "start from"),
        (b"# only a comment\n", 1, "no data", "start from"),
        ("policy:\n  a: 이름\n".encode("cp949"), 2, "not UTF-8: byte 0xc0", "CP949"),
        ("policy: 1\n".encode("utf-16"), 1, "byte order mark", "UTF-8"),
        (b"\xef\xbb\xbfpolicy: 1\n", 1, "byte order mark", "without"),
        (b"a: \x00\n", 1, "not valid YAML", "syntax"),
        (b"a: 1\n--- \nb: 1\n", 2, "more than one YAML document", "one document"),
        (b"a: " + b"[" * 5000, 1, "nested", "schema"),
        (b"a: " + b"[" * 30 + b"]" * 30, 1, "nested", "schema"),
        (b"#" * (256 * 1024 + 1), 1, "larger than 256 KiB", "only the policy"),
        (b'a: "\\UFFFFFFFF"\n', 1, "not valid YAML", "escape"),
        (b'a: "\\ud800"\n', 1, "half a character", "remove"),
        (b"a: !!int x\n", 1, "not what its tag says", "plain"),
        (b"- 1\n", 1, "the file is [1]", "keys and values"),
        (b"policy\n", 1, "the file is 'policy'", "keys and values"),
        (b"? [1]\n: 2\n", 1, "not a name", "schema"),
        (b"a: 0b_\n", 1, "not", ""),
    ],
)
def test_file_that_is_no_policy(raw: bytes, line: int, what: str, fix: str, refused: Refused) -> None:
    problems = refused(raw)
    assert any(what in each.what and fix in each.fix and each.line == line for each in problems), problems


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yml:1: policy: cannot be read: No such file"):
        load(tmp_path / "policy.yml", "policy.yml")
    with pytest.raises(PolicyError, match="cannot be read: Is a directory"):
        load(tmp_path)
