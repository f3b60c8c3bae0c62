"""Grant, change, revoke: applied where the right lives, recorded in the same act, refused with a name and a fix."""

from __future__ import annotations

import pwd
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from sensmail.policy.approval import Approval
from sensmail.rights.desk import Desk
from sensmail.rights.errors import InvalidRight, NotApplied, NotApproved
from sensmail.rights.model import KINDS, Kind, Line, Right
from unit.rights.conftest import ADDRESS, APPROVAL, KEY, LATER, OTHER_KEY, TENANT, Site


def grant(site: Site, *kinds: Kind) -> None:
    for kind in kinds:
        site.desk.ensure(site.wanted(kind))


def lines(site: Site, kind: Kind) -> list[Line]:
    return [line for line in site.desk.register.lines() if line.kind == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_grant_again_change_revoke(site: Site, kind: Kind) -> None:
    if kind in ("sudo", "database"):
        grant(site, "operator")
    wanted = site.wanted(kind)
    check = site.desk.ensure(wanted, check=True)
    assert lines(site, kind) == []
    first, again = site.desk.ensure(wanted), site.desk.ensure(wanted)
    assert (check.changed, first.changed, again.changed) == (True, True, False)
    assert (check.before, check.after) == (first.before, first.after)
    assert first.lines == (f"granted: {wanted.right}",)
    (line,) = lines(site, kind)
    assert (line.state, line.holder, line.approver, line.reason) == ("in force", "김운영", "이책임", "operation")
    place = site.desk.places[kind]
    assert place.look(wanted.right) == place.expected(wanted.terms, LATER)

    sooner = replace(wanted, until=LATER - timedelta(days=30), reason="shorter")
    assert site.desk.ensure(sooner).lines == (f"changed: {wanted.right}",)
    old, new = lines(site, kind)
    assert (old.state, new.state, new.replaces) == ("changed", "in force", old.id)
    assert place.look(wanted.right) == place.expected(wanted.terms, sooner.until)

    ended = site.desk.revoke(wanted.right, "has left", check=True)
    assert lines(site, kind)[-1].state == "in force"
    assert site.desk.revoke(wanted.right, "has left") == ended
    assert (lines(site, kind)[-1].state, lines(site, kind)[-1].revoke_reason) == ("revoked", "has left")
    assert place.look(wanted.right) is None
    assert not site.desk.revoke(wanted.right, "has left").changed


def test_the_ledger_has_every_step_and_no_name(site: Site) -> None:
    grant(site, "operator", "portal")
    site.desk.ensure(site.wanted(until=LATER - timedelta(days=1)))
    site.desk.revoke(site.wanted().right, "has left")
    rows = site.admin.execute(
        "SELECT act, ledger::text, account, origin, unit, subject_id, detail FROM records.inbox ORDER BY id"
    ).fetchall()
    operator = [row for row in rows if row[6]["items"] == ["operator"]]
    assert [row[0] for row in operator] == [
        "rights.ask", "rights.grant", "rights.ask", "rights.change", "rights.ask_revoke", "rights.revoke",
    ]  # fmt: skip
    assert {row[1:5] for row in rows} == {("governance", "root", "198.51.100.7", "session")}
    assert {row[5] for row in rows} == {None, site.subject}
    ids = {str(line.id) for line in site.desk.register.lines()}
    assert {row[6]["right"] for row in rows} == ids
    told = str(rows)
    assert [name for name in ("김운영", "이책임", "kim", "AAAA", ADDRESS) if name in told] == []


def test_the_account_has_no_password_and_only_the_keys_on_record(site: Site) -> None:
    grant(site, "operator")
    account = site.host.accounts()["kim"]
    assert (account.password, account.opens_by_password, account.uid >= 1000) == ("*", False, True)
    assert account.expires is not None
    end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=account.expires)
    assert LATER <= end < LATER + timedelta(days=1)
    assert site.keys().read_text() == f"{KEY}\n"
    assert (site.keys().stat().st_uid, site.keys().stat().st_mode & 0o777) == (0, 0o644)
    assert "kim" in site.host.members("sensmail-operators")
    with pytest.raises(KeyError):
        pwd.getpwnam("kim")  # this computer is not that host


def test_a_changed_key_replaces_the_old_one(site: Site) -> None:
    grant(site, "operator")
    site.desk.ensure(site.wanted(terms=(OTHER_KEY,)))
    assert site.keys().read_text() == f"{OTHER_KEY}\n"


def test_revoking_ends_sessions_and_what_they_started_as_root(site: Site) -> None:
    grant(site, "operator")
    uid = site.host.accounts()["kim"].uid
    session = f"/user.slice/user-{uid}.slice/session-3.scope"
    site.processes.start(40, 0, 1)  # the daemon that lets in
    site.processes.start(50, 0, 40, session)  # the monitor of the session, as root
    site.processes.start(51, uid, 50, session)
    site.processes.start(52, 0, 51, session)  # sudo
    site.processes.start(53, 0, 1, session)  # a daemon left by sudo, parent gone
    site.processes.start(54, 0, 52)  # a child of sudo in another group
    site.processes.start(60, uid + 10, 1, f"/user.slice/user-{uid}0.slice/session-9.scope")
    site.desk.revoke(site.wanted().right, "has left")
    assert set(site.processes.killed) == {50, 51, 52, 53, 54}
    account = site.host.accounts()["kim"]
    assert (account.password, account.expires) == ("!", 1)
    assert not site.keys().exists()


def test_a_process_that_does_not_end_leaves_the_revocation_open(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensmail.rights.sessions._ROUNDS", 3)
    grant(site, "operator")
    site.processes.start(51, site.host.accounts()["kim"].uid)
    site.processes.immortal.add(51)
    with pytest.raises(NotApplied, match="processes 51 of uid 1000 do not end"):
        site.desk.revoke(site.wanted().right, "has left")
    assert lines(site, "operator")[0].state == "being revoked"
    assert site.host.accounts()["kim"].expires == 1  # closed all the same
    site.processes.immortal.clear()
    assert site.desk.settle() == ("finished: revocation of operator kim on mail: login",)
    assert lines(site, "operator")[0].state == "revoked"


def test_a_run_is_not_cut_off_by_its_own_revocation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(site, "operator")
    operators = site.desk.places["operator"]
    site.processes.start(51, site.host.accounts()["kim"].uid)
    site.processes.start(52, 0, 51)
    mine = replace(operators.sessions, me=52)  # type: ignore[attr-defined]
    site.desk.places = {**site.desk.places, "operator": replace(operators, sessions=mine)}  # type: ignore[type-var]
    with pytest.raises(InvalidRight, match=r"part of a session of kim.*run it from another account"):
        site.desk.revoke(site.wanted().right, "has left")
    assert lines(site, "operator")[0].state == "in force"
    assert site.processes.killed == []


def test_revoking_an_operator_ends_what_rests_on_the_account(site: Site) -> None:
    grant(site, "operator", "sudo", "database")
    outcome = site.desk.revoke(site.wanted().right, "has left")
    assert [line.partition(":")[0] for line in outcome.lines] == ["revoked"] * 3
    assert {line.state for line in site.desk.register.lines()} == {"revoked"}
    assert not site.rule().exists()
    row = site.admin.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'kim'").fetchone()
    assert row == (False,)


def test_sudo_and_database_are_for_operators(site: Site) -> None:
    for kind in ("sudo", "database"):
        with pytest.raises(InvalidRight, match="no record of operator kim on mail: login; grant that first"):
            site.desk.ensure(site.wanted(kind))  # type: ignore[arg-type]
    assert site.acts() == []


def test_a_rule_ends_by_itself_and_is_nothing_but_what_is_recorded(site: Site) -> None:
    grant(site, "operator", "sudo")
    assert site.rule().read_text().splitlines()[-1] == (
        f"kim ALL=(root) NOTAFTER={LATER:%Y%m%d%H%M%SZ} NOPASSWD: /usr/bin/systemctl reload nginx"
    )
    assert site.rule().stat().st_mode & 0o777 == 0o440


def test_a_person_in_the_database_reads_the_registers_and_nothing_else(site: Site, session: object) -> None:
    grant(site, "operator", "database")
    kim = session("kim")  # type: ignore[operator]
    assert kim.execute("SELECT count(*) FROM records.access_right").fetchone() == (2,)
    for query in ("SELECT * FROM accounts.subject", "SELECT * FROM records.inbox", "CREATE TABLE public.t (i int)"):
        with pytest.raises(Exception, match="permission denied"):
            kim.execute(query)
    site.desk.revoke(site.wanted("database").right, "audit is over")
    with pytest.raises(Exception, match=r"terminating connection|closed"):
        kim.execute("SELECT 1")


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        (None, "asks for the approval of privacy_officer, but none was given"),
        (Approval("ceo", "이책임", "1"), "but 'ceo' approved"),
        (Approval("privacy_officer", " ", "1"), "name who approved"),
        (Approval("privacy_officer", "이책임", ""), "name who approved"),
        (Approval("privacy_officer", "김운영", "1"), "holds the right and cannot approve it"),
        (Approval("privacy_officer", " 김 운영 ", "1"), "holds the right and cannot approve it"),
        (Approval("privacy_officer", "KIM", "1"), "holds the right and cannot approve it"),
    ],
)
def test_nothing_is_given_without_the_approval_of_somebody_else(site: Site, approval: Approval, words: str) -> None:
    for check in (True, False):
        with pytest.raises(NotApproved, match=words):
            site.desk.ensure(site.wanted(approval=approval), check=check)
    assert site.desk.register.lines() == []
    assert site.acts() == []
    grant(site, "operator")
    with pytest.raises(NotApproved, match=words):
        site.desk.ensure(site.wanted(approval=approval, until=LATER + timedelta(days=1)))
    assert not site.desk.ensure(site.wanted(approval=None)).changed  # nothing to approve where nothing changes


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (Right("operator", "other", "kim", "login"), "does not live on this host .*run on the host that scope names"),
        (Right("operator", "mail", "postgres", "login"), r"system account of mail \(uid 104\)"),
        (Right("sudo", "mail", "postgres", "sudo"), r"system account \(uid 104\)"),
        (Right("operator", "mail", "ops", "login"), "declared as set up by the deployment"),
        (Right("sudo", "mail", "root", "sudo"), "declared as set up by the deployment"),
        (Right("database", "x", "kim", "sensmail_owner"), "members of sensmail_auditor only"),
        (Right("database", "x", "dovecot", "sensmail_auditor"), "is a role of a service"),
        (Right("portal", "없는기관", "00000000-0000-4000-8000-000000000000", "tenant_admin"), "no tenant"),
        (Right("portal", TENANT, "00000000-0000-4000-8000-000000000000", "king"), "tenant_admin, privacy_officer"),
    ],
)
def test_what_can_be_nobodys_right_is_refused(site: Site, right: Right, words: str) -> None:
    with pytest.raises(InvalidRight, match=words):
        site.desk.ensure(site.wanted(right=right))
    with pytest.raises(InvalidRight, match=words):
        site.desk.revoke(right, "reason")
    assert site.acts() == []


def test_a_role_of_the_portal_is_for_active_mailboxes_of_the_tenant(site: Site) -> None:
    site.admin.execute("UPDATE accounts.subject SET state = 'invited'")
    with pytest.raises(NotApplied, match="is invited; roles are for active ones; it was taken back"):
        site.desk.ensure(site.wanted("portal"))
    assert [line.state for line in lines(site, "portal")] == ["void"]
    assert site.acts() == ["rights.ask", "rights.take_back"]
    site.admin.execute("INSERT INTO accounts.tenant (name) VALUES ('other')")
    other = replace(site.wanted("portal").right, scope="other")
    with pytest.raises(InvalidRight, match="belongs to tenant '한빛군청'"):
        site.desk.ensure(site.wanted(right=other))


def test_what_cannot_be_applied_is_taken_back_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(site, "operator")
    wanted = site.wanted("sudo", terms=("bin/x",))
    with pytest.raises(NotApplied, match=r"visudo ended with 1: .*it was taken back"):
        site.desk.ensure(wanted)
    assert not site.rule().exists()
    assert lines(site, "sudo")[0].state == "void"


def test_a_change_that_fails_leaves_the_terms_before(site: Site) -> None:
    grant(site, "operator", "sudo")
    with pytest.raises(NotApplied, match="taken back"):
        site.desk.ensure(site.wanted("sudo", terms=("bin/x",)))
    old, failed = lines(site, "sudo")
    assert (old.state, failed.state) == ("in force", "void")
    assert not site.desk.ensure(site.wanted("sudo")).changed
    assert "reload nginx" in site.rule().read_text()


def test_a_rule_elsewhere_that_gives_more_is_named(site: Site) -> None:
    (site.host.root / "etc/sudoers.d/more").write_text("kim ALL=(root) /bin/sh\n")
    grant(site, "operator")
    with pytest.raises(NotApplied, match="something beside the right gives more"):
        site.desk.ensure(site.wanted("sudo"))


def test_what_was_altered_by_hand_is_put_back_and_recorded(site: Site) -> None:
    grant(site, "operator")
    site.keys().write_text(f"{KEY}\n{OTHER_KEY}\n")
    outcome = site.desk.ensure(site.wanted(approval=None))
    assert outcome.lines == ("restored: operator kim on mail: login",)
    assert "SHA256:" in outcome.before
    assert "AAAA" not in outcome.before + outcome.after
    assert site.keys().read_text() == f"{KEY}\n"
    assert site.acts()[-1] == "rights.restore"


def test_keys_in_a_home_are_removed_without_following_its_links(site: Site) -> None:
    grant(site, "operator")
    own = site.host.root / "home/kim/.ssh"
    own.mkdir()
    (own / "authorized_keys").write_text(f"{OTHER_KEY} friend\n")
    assert site.desk.ensure(site.wanted(approval=None)).changed
    assert not (own / "authorized_keys").exists()
    # root is led elsewhere by a link of the user: it refuses, and what the link points at stays
    own.rmdir()
    elsewhere = site.host.root / "root/.ssh"
    elsewhere.mkdir()
    (elsewhere / "authorized_keys").write_text(f"{OTHER_KEY}\n")
    own.symlink_to(elsewhere)
    with pytest.raises(NotApplied, match=r"home/kim/.ssh of kim: Not a directory"):
        site.desk.ensure(site.wanted(approval=None))
    assert (elsewhere / "authorized_keys").exists()


def test_an_account_made_by_hand_is_ended_and_recorded_as_found(site: Site) -> None:
    site.host.change("useradd", "--create-home", "mallory")
    right = Right("operator", "mail", "mallory", "login")
    assert site.desk.revoke(right, "nobody knows it").lines == (f"revoked: {right}",)
    (line,) = site.desk.register.lines()
    assert (line.state, line.granted, line.holder, line.reason) == ("revoked", None, "", "found without a record")
    assert site.host.accounts()["mallory"].expires == 1


def test_expired_rights_are_revoked(site: Site) -> None:
    grant(site, "operator", "sudo", "database", "portal")
    assert site.desk.expire() == ()
    site.desk.now = lambda: LATER + timedelta(seconds=1)
    assert len(site.desk.expire()) == 4
    assert {(line.state, line.revoke_reason) for line in site.desk.register.lines()} == {
        ("revoked", "its end has passed")
    }
    assert site.desk.places["portal"].found() == {}


def test_names_are_deleted_when_their_period_is_over(site: Site) -> None:
    grant(site, "operator")
    site.desk.revoke(site.wanted().right, "has left")
    assert site.desk.register.prune(1827) == 0
    assert len(site.desk.register.lines()) == 1
    old = Jsonb({"granted": "2019-01-01", "revoking": "2019-06-01", "revoked": "2019-06-01"})
    site.admin.execute(
        'INSERT INTO records.access_right (kind, scope, account, "right", holder, reason, approver, until, asked, '
        "granted, revoking, revoked, revoke_reason) SELECT 'operator', 'mail', 'lee', 'login', '이', 'r', '박', "
        "'2019-12-31', '2019-01-01', g.granted, g.revoking, g.revoked, 'r' "
        "FROM jsonb_to_record(%s) AS g (granted timestamptz, revoking timestamptz, revoked timestamptz)",
        (old,),
    )
    assert site.desk.register.prune(1827) == 1
    assert [line.account for line in site.desk.register.lines()] == ["kim"]
    assert site.acts()[-1] == "rights.prune"


def test_the_end_is_stated_by_the_place_as_exactly_as_it_can(site: Site) -> None:
    places = site.desk.places
    moment = datetime(2027, 6, 30, 15, tzinfo=UTC)
    assert places["operator"].expected((), moment).ends == str((moment - datetime(1970, 1, 1, tzinfo=UTC)).days + 1)
    midnight = datetime(2027, 7, 1, tzinfo=UTC)
    assert places["operator"].expected((), midnight).ends == str((midnight - datetime(1970, 1, 1, tzinfo=UTC)).days)
    assert places["sudo"].expected((), moment).ends == "20270630150000Z"
    assert APPROVAL.role == site.desk.terms.approval


def test_two_runs_take_turns(site: Site, session: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensmail.rights.register._LOCK_WAIT", "200ms")
    other = Desk(
        replace(site.desk.register, connection=session("sensmail-rights")),  # type: ignore[operator]
        site.desk.places, site.desk.terms, site.desk.declared, "mail",
    )  # fmt: skip
    with site.desk.register.alone(), pytest.raises(Exception, match="another run works on access rights"):
        other.ensure(site.wanted())
    assert other.ensure(site.wanted()).changed
