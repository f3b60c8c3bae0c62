"""Whatever is handed in as a bundle is read, or refused with a reason; never believed, never allowed to fill memory."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensmail.records import bundle
from sensmail.records.bundle import Bundle
from sensmail.records.errors import Malformed, RecordsError
from sensmail.records.verify import show
from sensmail.records.verify.__main__ import main
from sensmail.records.verify.result import DOUBTS, Finding
from sensmail.records.verify.whole import Held, verify
from sensmail.records.verify.words import FINDINGS, sentences

from .rig import Rig

Members = list[tuple[str, bytes]]


@pytest.fixture
def whole(rig: Rig, tmp_path: Path) -> Path:
    made = rig.sealer()
    rig.write(40)
    made.seal()
    return rig.export(tmp_path / "whole.zip", made).path


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return [(each, file.read(each)) for each in file.namelist()]


def write(path: Path, content: Members, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, data in content:
            file.writestr(name, data)
    return path


def refused(path: Path, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        verify(path, Held())


def test_names_are_those_of_the_manifest(whole: Path, tmp_path: Path) -> None:
    good, other = members(whole), tmp_path / "other.zip"
    assert [name for name, _ in good][:6] == [
        "manifest.json", "access/1/log.json", "access/1/checkpoints", "access/1/ahead", "access/1/links",
        "access/1/held",
    ]  # fmt: skip
    refused(write(other, [*good, ("more", b"")]), "not those of the manifest: 'more'")
    refused(write(other, good[:-1]), "not those of the manifest: 'governance/1/records")
    refused(write(other, [good[0], good[2], good[1], *good[3:]]), "the order")
    with pytest.warns(UserWarning, match="Duplicate"):
        write(other, [*good, good[-1]])
    refused(other, "is there twice")
    refused(write(other, [("../../etc/passwd", b"x"), *good]), "manifest")
    refused(write(other, good, zipfile.ZIP_BZIP2), "packed in a way")


def test_a_directory_of_a_million_files_is_not_read(whole: Path, tmp_path: Path) -> None:
    refused(
        write(tmp_path / "many.zip", [*members(whole), *((f"x{n}", b"") for n in range(bundle.MAX_MEMBERS))]),
        "more than",
    )
    with (tmp_path / "comment.zip").open("wb") as file:
        file.write(whole.read_bytes()[:-2] + b"\x05\x00hello")
    refused(tmp_path / "comment.zip", "no zip, or one with a comment")


def test_a_bomb_is_refused_at_its_first_line(whole: Path, tmp_path: Path) -> None:
    content = members(whole)
    name, _ = content[-1]
    for data in (b"0" * (200 << 20), b"\n" * (50 << 20)):
        path = write(tmp_path / "bomb.zip", [*content[:-1], (name, data)])
        assert path.stat().st_size < 1 << 20
        code = (
            "import resource, sys\nfrom pathlib import Path\nfrom sensmail.records.verify.__main__ import main\n"
            "code = main([sys.argv[1], '--json'])\n"
            "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 300_000, 'memory'\nsys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode in {show.WRONG, show.UNREADABLE}, done.stderr
        assert "cannot be read" in done.stdout or "a line of more than" in done.stderr


@pytest.mark.parametrize(
    ("member", "change", "says"),
    [
        ("manifest.json", lambda data: data.replace(b'"version":1', b'"version":2'), "version"),
        ("manifest.json", lambda data: data[:-1] + b',"more":1}', "more"),
        ("manifest.json", lambda data: b"[" * 100_000, "manifest.json"),
        ("manifest.json", lambda data: data + b" " * bundle.MAX_DOCUMENT, "more than"),
        ("access/1/log.json", lambda data: data.replace(b'"access"', b'"governance"', 1), "is of governance"),
        ("access/1/log.json", lambda data: data.replace(b"+", b"", 1), "verifier key"),
        ("access/1/held", lambda data: b"x\n", "SALT RECORD"),
        ("access/1/held", lambda data: b"x", "cut off"),
        ("access/1/ahead", lambda data: b"\xff\n", "checkpoints"),
    ],
)
def test_a_damaged_document_is_named(
    whole: Path, tmp_path: Path, member: str, change: Callable[[bytes], bytes], says: str
) -> None:
    content = [(name, change(data) if name == member else data) for name, data in members(whole)]
    refused(write(tmp_path / "other.zip", content), says)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_anywhere_is_refused_or_found(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    good = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 1))
        piece = data.draw(st.binary(min_size=0, max_size=4))
        good[at : at + data.draw(st.integers(0, 4))] = piece
    path = tmp_path / "damaged.zip"
    path.write_bytes(good)
    try:
        found = verify(path, Held())
    except RecordsError:
        return
    assert show.text(found)  # a harmless place, such as a date, or a finding


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_inside_is_refused_or_found(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    """The frame is whole, one byte of one member is not: whatever says that all is well is wrong."""
    content = members(whole)
    at = data.draw(st.sampled_from([n for n, (name, text) in enumerate(content) if text and name != "manifest.json"]))
    name, text = content[at]
    where, new = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 255))
    if text[where] == new:
        return
    content[at] = name, text[:where] + bytes([new]) + text[where + 1 :]
    try:
        found = verify(write(tmp_path / "damaged.zip", content), Held())
    except RecordsError:
        return
    harmless = name.endswith("log.json")  # such as the space of partitions that are not used to say where
    assert harmless or any(each.wrong for each in found.all())


@given(data=st.binary(max_size=400))
def test_no_bytes_make_a_bundle_by_chance(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "chance"
    path.write_bytes(data)
    with pytest.raises(Malformed):
        Bundle(path)


def test_nothing_but_two_libraries_is_needed(whole: Path) -> None:
    """As on the laptop of an auditor: every other module is missing."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.split('.')[0]\n"
        "        known = {'sensmail', 'cryptography', 'msgspec', '_cffi_backend', 'typing_extensions'}\n"
        "        known |= set(sys.stdlib_module_names)\n"
        "        if top not in known: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from sensmail.records.verify.__main__ import main\n"
        "code = main([sys.argv[1]])\n"
        "ours = sorted(m for m in sys.modules if m.startswith('sensmail.'))\n"
        "assert not any(m.startswith(('sensmail.store', 'sensmail.ledger', 'sensmail.policy')) for m in ours), ours\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(whole)], capture_output=True, text=True, timeout=60)
    assert done.returncode == show.DOUBTED, done.stderr
    assert "NOT ALL PROVEN" in done.stdout


def test_the_command(rig: Rig, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"# on paper since January\n{rig.log_key().to_text()}\n")
    more = rig.log_key("governance").to_text()
    assert main([str(whole), "--log-key", str(keys), "--log-key", more]) == 0
    assert "확인됨" in capsys.readouterr().out
    assert main([str(whole), "--log-key", str(keys), "--log-key", more, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["verdict"], made["logs"][0]["verified"]) == ("verified", 40)
    assert main([str(whole), "--log-key", "name+12345678+AAAA"]) == show.UNREADABLE
    assert "verifier key" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.zip")]) == show.UNREADABLE
    assert main([str(whole), "--witness-key", str(keys)]) == show.UNREADABLE
    assert "type 0x04" in capsys.readouterr().err


def test_every_finding_has_its_words_in_both_languages() -> None:
    assert FINDINGS.keys() >= DOUBTS
    source = "".join(
        each.read_text() for each in (Path(bundle.__file__).parent / "verify").glob("*.py") if each.name != "words.py"
    )
    for code in FINDINGS:
        assert f'"{code}"' in source, code
    hostile = Finding("chain", {"number": 1, "size": 2, "time": 10**30, "what": "\x1b[2J{x}"})
    korean, english = sentences(hostile)
    assert "\x1b" not in korean + english
