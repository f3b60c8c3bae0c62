"""Read a policy file as plain data that remembers its lines, and refuse what YAML should not have allowed.

The scalars mean what they mean to Ansible (YAML 1.1), so that the value checked here and the variable Ansible loads are
the same; only dates stay text. Anchors, tags and merge keys are refused: a promise is written out where it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from unicodedata import category

import yaml

from sensmail.policy.clauses import clause_of
from sensmail.policy.errors import PolicyError, Problem, quoted

Data: TypeAlias = "str | int | float | bool | list[Data] | dict[str, Data] | None"
Key: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
_PLAIN = "tag:yaml.org,2002:"
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # Unicode categories
_SCALARS = {_PLAIN + name for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True)
class Source:
    """A parsed file: its name, exact text, data, and the line (from 1) of every key and list entry."""

    file: str
    text: str
    data: Data
    lines: dict[Key, int] = field(repr=False)

    def line(self, path: Key) -> int:
        """Return the line of `path`, or of the nearest thing around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def get(self, *path: str | int) -> Data:
        """Return the value at `path`, or None where the file holds nothing (or something else) there."""
        here = self.data
        for step in path:
            if isinstance(here, dict) and isinstance(step, str):
                here = here.get(step)
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            else:
                return None
        return here

    def entries(self, *path: str | int) -> list[Data]:
        """Return the list at `path`, empty where there is none."""
        found = self.get(*path)
        return found if isinstance(found, list) else []

    def mappings(self, *path: str | int) -> Iterator[tuple[Key, dict[str, Data]]]:
        """Yield path and value of each mapping in the list at `path`."""
        for number, entry in enumerate(self.entries(*path)):
            if isinstance(entry, dict):
                yield (*path, number), entry

    def problem(self, path: Key, what: str, fix: str) -> Problem:
        """Return a problem with the thing at `path`."""
        return Problem(self.file, self.line(path), clause_of(path), what, fix)


class _Loader(yaml.SafeLoader):
    """The safe loader, in which dates stay the text they are in the file."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _PLAIN + "timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path, name: str | None = None) -> Source:
    """Read a file. `name` is how messages call it (default: the path). PolicyError when it cannot be read as YAML."""
    file = name or str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _refusal(file, 1, f"cannot be read: {reason}", "name an existing, readable file") from None
    return parse(raw, file)


def parse(raw: bytes, file: str) -> Source:
    """Parse the bytes of a policy file. PolicyError with every duplicate key and tag, or the first syntax error."""
    text = _decode(raw, file)
    try:
        _guard(text, file)
        return _build(text, file)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        reason = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", "")).split())
        raise _refusal(
            file, line, f"not valid YAML: {reason}", "correct the syntax just before or on this line"
        ) from None
    except (ValueError, OverflowError) as error:  # PyYAML lets through what chr() and int() say to "\UFFFFFFFF"
        raise _refusal(file, 1, f"not valid YAML: {error}", "remove the impossible escape or number") from None


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise _refusal(file, 1, f"larger than {MAX_BYTES // 1024} KiB", "keep only the policy in this file")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise _refusal(file, 1, "starts with a byte order mark", "save the file as UTF-8 without a byte order mark")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8: byte 0x{raw[error.start]:02x}"
        raise _refusal(file, line, what, "save the file as UTF-8 (an EUC-KR or CP949 file must be converted)") from None
    if not text.strip():
        raise _refusal(file, 1, "the file is empty", "start from inventories/local/group_vars/all/policy.yml")
    return text


def _guard(text: str, file: str) -> None:
    """Refuse anchors, aliases, further documents and deep nesting before anything is built from them."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if getattr(event, "anchor", None):
            raise _refusal(file, line, "anchors and aliases are not allowed", "write the value out")
        if documents > 1:
            raise _refusal(file, line, "more than one YAML document", "keep one document in the file")
        if depth > MAX_DEPTH:
            raise _refusal(file, line, f"nested more than {MAX_DEPTH} deep", "follow docs/policy.schema.json")


def _build(text: str, file: str) -> Source:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise _refusal(file, 1, "the file holds no data", "start from inventories/local/group_vars/all/policy.yml")
        builder = _Builder(loader, file)
        data = builder.value(root, ())
    finally:
        loader.dispose()
    if builder.problems:
        raise PolicyError(builder.problems)
    return Source(file, text, data, builder.lines)


class _Builder:
    """Turns YAML nodes into plain data, noting lines and every problem on the way."""

    def __init__(self, loader: _Loader, file: str) -> None:
        self.loader = loader
        self.file = file
        self.lines: dict[Key, int] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: Key) -> Data:
        """Return the data of a node; what cannot be accepted is noted and becomes None."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _PLAIN + "map":
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode) and node.tag == _PLAIN + "seq":
            return [self.value(entry, (*path, number)) for number, entry in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, path)
        self._note(node, path, f"the tag {quoted(node.tag)} is not allowed", "write plain YAML")
        return None

    def _pairs(self, node: yaml.MappingNode, path: Key) -> Iterator[tuple[str, Data]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = key_node.value if key_node.tag == _PLAIN + "str" else None
            if not isinstance(key, str) or not _printable(key):
                self._note(key_node, path, f"the key {quoted(key_node.value)} is not a name", "use a key of the schema")
                continue
            here = (*path, key)
            if key in seen:
                what = f"the key {quoted(key)} was already given on line {self.lines[here]}"
                self._note(key_node, here, what, "keep one of the two")
                continue
            seen.add(key)
            self.lines[here] = key_node.start_mark.line + 1
            yield key, self.value(value_node, here)

    def _scalar(self, node: yaml.ScalarNode, path: Key) -> Data:
        try:
            value: Data = self.loader.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):  # what PyYAML says to `!!int x` and `!!bool x`
            self._note(node, path, f"{quoted(node.value)} is not what its tag says", "write plain YAML")
            return None
        if isinstance(value, str) and not _printable(value):
            self._note(node, path, f"{quoted(value)} holds a control character or half a character", "remove it")
        elif isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")):
            self._note(node, path, f"{quoted(value)} is a template", "write the value: a promise is not computed")
        return value

    def _note(self, node: yaml.Node, path: Key, what: str, fix: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, clause_of(path), what, fix))


def _printable(text: str) -> bool:
    """Tell whether a reader sees all of the text: no controls, no invisible or reordering marks, no half characters."""
    return all(char in "\n\t" or category(char) not in _UNSEEN for char in text)


def _refusal(file: str, line: int, what: str, fix: str) -> PolicyError:
    return PolicyError([Problem(file, line, "policy", what, fix)])
