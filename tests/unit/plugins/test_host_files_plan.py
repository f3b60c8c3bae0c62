"""The plan of host_files: model-based, against a host that is a dictionary."""

from __future__ import annotations

import posixpath
from dataclasses import replace

import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils.file_accounts import Accounts, declared
from ansible_collections.sensmail.cloud.plugins.module_utils.file_diff import make_diff
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import (
    ABSENT,
    Attrs,
    Found,
    HostFilesError,
    Manifest,
    OwnedDirectory,
    OwnedFile,
    Wanted,
    WantedFile,
    checked_attrs,
    checked_claim,
    checked_path,
    digest,
)
from ansible_collections.sensmail.cloud.plugins.module_utils.file_plan import Plan, make_plan, refuse_conflicts
from ansible_collections.sensmail.cloud.plugins.module_utils.file_preview import (
    Validator,
    concerned,
    overlay_roots,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Accounts(frozenset({"root", "mail"}), frozenset({"root", "mail"}))
DIRECTORY = Attrs(mode="0755")


class Host:
    """A host as a dictionary: what a plan does to it, one step at a time, and what the store remembers."""

    def __init__(self, tree: dict[str, Found]) -> None:
        self.tree = dict(tree)
        self.manifest = Manifest("role")
        self.originals: dict[str, Found] = {}

    def found(self) -> dict[str, Found]:
        """The tree with the children of its directories filled in."""

        def children(path: str) -> frozenset[str]:
            return frozenset(posixpath.basename(p) for p in self.tree if posixpath.dirname(p) == path and p != "/")

        return {
            path: replace(what, children=children(path)) if what.kind == "directory" else what
            for path, what in self.tree.items()
        }

    def plan(self, wanted: Wanted) -> Plan:
        return make_plan(wanted, self.manifest, self.found(), self.originals, ROOT)

    def run(self, wanted: Wanted, stop_after: int | None = None) -> None:
        """As modules/host_files.py does; killed after `stop_after` acts."""
        plan = self.plan(wanted)
        acts = [
            *(("keep", step) for step in plan.steps if step.action == "keep"),
            ("union", None),
            *(("take", step) for step in plan.steps if step.action != "keep"),
            ("final", None),
            *(("drop", step) for step in plan.steps if step.action == "restore"),
        ]
        for act, step in acts[:stop_after]:
            if act == "union":
                self.manifest = plan.union
            elif act == "final":
                self.manifest = plan.manifest
            elif step is not None and act == "keep":
                self.originals[step.path] = step.after
            elif step is not None and act == "drop":
                del self.originals[step.path]
            elif step is not None and step.action in ("delete", "rmdir"):
                del self.tree[step.path]
            elif step is not None and step.action != "accounts":
                assert self.tree[posixpath.dirname(step.path)].kind == "directory"
                self.tree[step.path] = step.after


NAMES = st.sampled_from(["a", "b", "c.conf"])
PATHS = st.lists(NAMES, min_size=2, max_size=4).map(lambda parts: "/" + "/".join(parts))
ATTRS = st.builds(Attrs, st.sampled_from(["root", "mail"]), st.just("root"), st.sampled_from(["0644", "0600"]))
FILES = st.dictionaries(PATHS, st.builds(WantedFile, st.binary(max_size=3), ATTRS, st.booleans()), max_size=5)


def without_nesting(files: dict[str, WantedFile]) -> dict[str, WantedFile]:
    """No file below a file."""
    return {path: file for path, file in files.items() if not any(path.startswith(other + "/") for other in files)}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Found]:
    """A host before us: a few files and links in their directories."""
    tree = {"/": Found("directory", DIRECTORY), "/elsewhere": Found("file", Attrs(), b"not ours")}
    for path, file in without_nesting(draw(FILES)).items():
        link = draw(st.booleans()) and draw(st.booleans())
        tree[path] = Found("link", Attrs(), target="/x") if link else Found("file", file.attrs, file.content)
        while (path := posixpath.dirname(path)) != "/":
            tree[path] = Found("directory", DIRECTORY)
    return tree


WISHES = st.builds(
    Wanted, st.just("role"), FILES.map(without_nesting), st.dictionaries(PATHS, st.just(DIRECTORY), max_size=2)
)


def satisfied(host: Host, wanted: Wanted) -> bool:
    files = all(host.tree.get(p) == Found("file", f.attrs, f.content) for p, f in wanted.files.items())
    return files and all(host.tree.get(p) == Found("directory", a) for p, a in wanted.directories.items())


@settings(max_examples=400)
@given(trees(), st.lists(st.tuples(WISHES, st.none() | st.integers(0, 12)), max_size=4))
def test_any_history_of_wishes_and_kills_converges_and_can_be_undone(
    before: dict[str, Found], history: list[tuple[Wanted, int | None]]
) -> None:
    host = Host(before)
    for wanted, killed_after in history:
        try:
            host.run(wanted, killed_after)
        except HostFilesError:
            continue  # refused wishes change nothing, which the end of this test would show
        if killed_after is None:
            assert satisfied(host, wanted)
            again = host.plan(wanted)
            assert not again.changed, again.steps
            assert again.manifest == host.manifest
    host.run(Wanted("role"))
    assert host.tree == before
    assert host.manifest == Manifest("role")


@given(trees(), WISHES)
def test_a_plan_touches_nothing_but_what_is_wanted_or_owned(before: dict[str, Found], wanted: Wanted) -> None:
    host = Host(before)
    try:
        touched = set(host.plan(wanted).touched)
    except HostFilesError:
        return
    ours = {*wanted.files, *wanted.directories}
    assert all(path in ours or any(one.startswith(path + "/") for one in ours) for path in touched)


@given(WISHES)
def test_a_manifest_survives_its_own_text(wanted: Wanted) -> None:
    manifest = (
        make_plan(wanted, Manifest("role"), {"/": Found("directory")}, {}, ROOT).manifest if not clash(wanted) else None
    )
    if manifest is not None:
        assert Manifest.from_json(manifest.to_json(), "here") == manifest


def clash(wanted: Wanted) -> bool:
    return any(d == f or d.startswith(f + "/") for d in wanted.directories for f in wanted.files)


@pytest.mark.parametrize(
    "path",
    [
        "etc/x",
        "/etc/../shadow",
        "/etc/./x",
        "/etc//x",
        "//etc/x",
        "/",
        "/etc/",
        "",
        "/etc/a\nb",
        "/etc/\x00",
        "/etc/\x7f",
        "/proc/sys/x",
        "/sys",
        "/dev/sda",
        "/etc/\u202efdp",
    ],
)
def test_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(HostFilesError):
        checked_path(path)


def test_harmless_paths_pass() -> None:
    for path in ("/etc/x", "/a", "/etc/..x", "/devices/x", "/etc/한글.conf", "/etc/with space"):
        assert checked_path(path) == path


@pytest.mark.parametrize("mode", ["416", "644", "0o644", "rw", "06444", "0648", ""])
def test_a_mode_is_four_octal_digits(mode: str) -> None:
    with pytest.raises(HostFilesError, match="/etc/x"):
        checked_attrs("/etc/x", "root", "root", mode)


@pytest.mark.parametrize("claim", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_claim_can_name_a_file(claim: str) -> None:
    with pytest.raises(HostFilesError):
        checked_claim(claim)


def test_two_claims_never_own_one_path() -> None:
    other = Manifest("dovecot", {"/etc/x": OwnedFile("00", Attrs())}, {"/var/lib/x": OwnedDirectory(DIRECTORY, True)})
    with pytest.raises(HostFilesError, match=r"/etc/x .*postfix.*dovecot"):
        refuse_conflicts(Wanted("postfix", {"/etc/x": WantedFile(b"")}), [other])
    with pytest.raises(HostFilesError, match=r"0700.*0755"):
        refuse_conflicts(Wanted("postfix", {}, {"/var/lib/x": Attrs(mode="0700")}), [other])
    refuse_conflicts(Wanted("postfix", {"/etc/y": WantedFile(b"")}, {"/var/lib/x": DIRECTORY}), [other])


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"/etc": Found("link", target="/usr/etc")}, "symbolic link /etc -> /usr/etc"),
        ({"/etc": Found("file")}, "a file stands there"),
        ({"/etc": Found("directory"), "/etc/x": Found("directory")}, "a directory stands there"),
        ({"/etc": Found("directory"), "/etc/x": Found("other")}, "device, socket or pipe"),
    ],
)
def test_what_must_not_be_replaced_is_refused(found: dict[str, Found], words: str) -> None:
    with pytest.raises(HostFilesError, match=words):
        make_plan(Wanted("role", {"/etc/x": WantedFile(b"")}), Manifest("role"), found, {}, ROOT)


def test_a_file_that_somebody_replaced_by_a_directory_is_left_alone() -> None:
    old = Manifest("role", {"/etc/x": OwnedFile("00", Attrs())})
    found = {"/etc": Found("directory"), "/etc/x": Found("directory", children=frozenset({"y"}))}
    assert make_plan(Wanted("role"), old, found, {}, ROOT).steps == ()


def test_accounts_are_made_before_the_files_that_belong_to_them() -> None:
    files = {
        "/a/first": WantedFile(b"", Attrs(owner="demo")),
        "/etc/sysusers.d/z.conf": WantedFile(b'u demo - "x" /\n'),
    }
    host = Host({"/": Found("directory"), "/etc": Found("directory")})
    plan = host.plan(Wanted("role", files, {"/aa": Attrs("demo", "demo", "0700")}))
    order = [f"{step.action} {step.path}" for step in plan.steps]
    assert order.index("write /etc/sysusers.d/z.conf") < order.index("accounts /etc/passwd")
    assert order.index("accounts /etc/passwd") < min(order.index("mkdir /aa"), order.index("write /a/first"))
    # a run killed between the two: the file is there, the account is not
    host.tree["/etc/sysusers.d"] = Found("directory", DIRECTORY)
    host.tree["/etc/sysusers.d/z.conf"] = Found("file", Attrs(), files["/etc/sysusers.d/z.conf"].content)
    assert any(step.action == "accounts" for step in host.plan(Wanted("role", files)).steps)


def test_declared_accounts() -> None:
    text = b"""# comment
u plain - "A user" /home
u! locked 300
u other -:www
u numbered 5:6
g group -
m member extra
r - 500-600
u %H -
"""
    made = declared({"/usr/lib/sysusers.d/a.conf": WantedFile(text), "/etc/x.conf": WantedFile(b"u no -\n")})
    assert made.users == {"plain", "locked", "other", "numbered", "member"}
    assert made.groups == {"plain", "locked", "www", "group", "extra"}
    assert made.members == {("member", "extra")}
    assert made.missing_from(ROOT)
    assert not made.missing_from(made | ROOT)
    for wrong in (b"u\n", b"x name\n", b"m one\n", b'u "open\n'):
        with pytest.raises(HostFilesError, match=r"/etc/sysusers.d/a.conf line 1"):
            declared({"/etc/sysusers.d/a.conf": WantedFile(wrong)})


def test_secrets_stay_out_of_the_diff() -> None:
    host = Host(
        {"/": Found("directory"), "/etc": Found("directory"), "/etc/key": Found("file", Attrs(mode="0600"), b"OLD")}
    )
    secret = Wanted("role", {"/etc/key": WantedFile(b"NEW", secret=True)})
    shown = str(make_diff(host.plan(secret)))
    assert "OLD" not in shown
    assert "NEW" not in shown
    assert digest(b"NEW") not in shown
    host.run(secret)
    # not secret any more: the new content is shown, the old one is not; nor is it on removal
    plain = Wanted("role", {"/etc/key": WantedFile(b"PLAIN")})
    shown = str(make_diff(host.plan(plain)))
    assert "PLAIN" in shown
    assert "NEW" not in shown
    shown = str(make_diff(host.plan(Wanted("role"))))
    assert "NEW" not in shown
    assert "OLD" not in shown


def test_a_file_that_others_cannot_read_is_not_shown_when_taken_over() -> None:
    host = Host(
        {"/": Found("directory"), "/etc": Found("directory"), "/etc/x": Found("file", Attrs(mode="0640"), b"OLD")}
    )
    assert "OLD" not in str(make_diff(host.plan(Wanted("role", {"/etc/x": WantedFile(b"NEW")}))))


def test_the_diff_names_contents_attributes_binaries_and_removals() -> None:
    host = Host(
        {"/": Found("directory"), "/etc": Found("directory", DIRECTORY), "/etc/x": Found("file", Attrs(), b"old\n")}
    )
    wanted = Wanted(
        "role", {"/etc/x": WantedFile(b"new\n", Attrs("mail", "root", "0600")), "/etc/b": WantedFile(b"\0\1")}
    )
    entries = make_diff(host.plan(wanted))
    assert {"before": "root:root 0644\n", "after": "mail:root 0600\n"}.items() <= entries[2].items()
    assert (entries[1]["before"], entries[1]["after"]) == ("old\n", "new\n")
    assert entries[1]["before_header"] == "/etc/x (root:root 0644)"
    assert entries[0]["after"].startswith("binary, 2 bytes")
    host.run(wanted)
    gone = make_diff(host.plan(Wanted("role", {"/etc/x": wanted.files["/etc/x"]})))
    assert gone == [
        {
            "before_header": "/etc/b (root:root 0644)",
            "after_header": "/etc/b (absent)",
            "before": entries[0]["after"],
            "after": "",
        }
    ]


def test_taking_over_an_equal_file_is_a_change_that_is_told() -> None:
    host = Host(
        {"/": Found("directory"), "/etc": Found("directory", DIRECTORY), "/etc/x": Found("file", Attrs(), b"same")}
    )
    wanted = Wanted("role", {"/etc/x": WantedFile(b"same")})
    plan = host.plan(wanted)
    assert plan.changed
    assert make_diff(plan)
    host.run(wanted)
    assert host.originals == {"/etc/x": Found("file", Attrs(), b"same")}
    assert not host.plan(wanted).changed


def test_an_edited_manifest_is_named() -> None:
    for text in (b"", b"[]", b'{"claim": "x"}', b'{"claim": "x", "files": {"/a": {}}, "directories": {}}'):
        with pytest.raises(HostFilesError, match=r"/var/lib/m\.json"):
            Manifest.from_json(text, "/var/lib/m.json")


def test_validators_run_once_each_and_only_where_concerned() -> None:
    rows = [Validator("/etc/a/*", ("one",)), Validator("/etc/*", ("two",)), Validator("/etc/a/x", ("one",))]
    assert concerned(rows, ["/etc/a/x"]) == [("one",), ("two",)]
    assert concerned(rows, ["/etc/b"]) == [("two",)]
    assert concerned(rows, ["/var/x"]) == []


def test_overlays_cover_every_change_and_no_directory_twice() -> None:
    there = {"/etc", "/etc/postfix", "/var", "/var/lib", "/var/lib/data", "/var/lib/data/sub"}
    changes = ["/etc/postfix/main.cf", "/etc/new/deep/x", "/var/lib/data/x", "/var/lib/data/sub/y", "/var/lib/z"]
    assert overlay_roots(changes, there, ["/", "/proc"]) == ["/etc", "/var/lib"]
    # what is mounted below is not seen through an overlay, so it gets its own
    assert overlay_roots(changes, there, ["/", "/var/lib/data"]) == ["/etc", "/var/lib", "/var/lib/data"]
    with pytest.raises(HostFilesError, match="root"):
        overlay_roots(["/top/x"], there, ["/"])
    assert ABSENT.kind == "absent"
