"""What nft_table takes for the same table, and which rulesets it refuses. nft itself runs, where no packet passes."""

from __future__ import annotations

import json
import os
import re

import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils.nft_host import DYNAMIC, NFT, Host
from ansible_collections.sensmail.cloud.plugins.module_utils.nft_ruleset import NftError, Table, meaning, tables

TABLE = Table("inet", "own")
PLAIN = """table inet own {
  set seen { type ipv4_addr; flags dynamic, timeout; timeout 1m; }
  set friends { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
  chain input {
    type filter hook input priority filter; policy drop;
    tcp dport { 25, 465 } accept
  }
}"""
real_nft = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(NFT, os.X_OK), reason="needs root and /usr/sbin/nft (apt install nftables)"
)


@pytest.mark.parametrize(
    "text", ["own", "inet", "inet own x", "inet -f", "inet own;", "evil own", "inet sensmail_bystander"]
)
def test_a_table_is_family_and_name(text: str) -> None:
    with pytest.raises(NftError, match=re.escape(repr(text))):
        Table.parse(text)


def listing(*objects: dict[str, object]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1"}}, *objects]})


def rule(**extra: object) -> dict[str, object]:
    return {"rule": {"family": "inet", "table": "own", "chain": "input", "expr": [], **extra}}


def test_numbers_and_counters_make_no_difference() -> None:
    one = listing(rule(handle=4, expr=[{"counter": {"packets": 9, "bytes": 8}}]))
    other = listing(rule(handle=7, expr=[{"counter": {"packets": 0, "bytes": 0}}]))
    assert meaning(one, TABLE) == meaning(other, TABLE)


def test_the_order_of_rules_makes_a_difference_that_of_a_set_none() -> None:
    first, second = rule(comment="a"), rule(comment="b")
    assert meaning(listing(first, second), TABLE) != meaning(listing(second, first), TABLE)
    assert meaning(listing(rule(expr=[{"set": [25, 465]}])), TABLE) == meaning(
        listing(rule(expr=[{"set": [465, 25]}])), TABLE
    )


def test_what_traffic_adds_makes_no_difference_what_people_add_does() -> None:
    def named(flags: list[str], elem: list[str]) -> str:
        return listing({"set": {"family": "inet", "table": "own", "name": "s", "flags": flags, "elem": elem}})

    assert meaning(named(["dynamic"], ["192.0.2.1"]), TABLE) == meaning(named(["dynamic"], []), TABLE)
    assert meaning(named(["interval"], ["192.0.2.1"]), TABLE) != meaning(named(["interval"], []), TABLE)


def test_other_tables_are_not_looked_at() -> None:
    foreign = {"table": {"family": "inet", "name": "other"}}
    assert meaning(listing(foreign, rule()), TABLE) == meaning(listing(rule()), TABLE)
    assert tables(listing(foreign, rule())) == {TABLE, Table("inet", "other")}


def test_something_else_than_a_listing_is_said_so() -> None:
    with pytest.raises(NftError, match="Error: no"):
        meaning("Error: no", TABLE)


@real_nft
def test_two_ways_of_writing_mean_the_same() -> None:
    other = PLAIN.replace("{ 25, 465 }", "{ 465, 25 }").replace("policy drop;", "policy drop; # nobody")
    assert Host(TABLE).wanted(PLAIN) == Host(TABLE).wanted(other) != []


@real_nft
@pytest.mark.parametrize(
    ("old", "new"),
    [("drop", "accept"), ("465", "587"), ("192.0.2.2", "192.0.2.3"), ("    tcp dport { 25, 465 } accept\n", "")],
)
def test_a_difference_is_seen(old: str, new: str) -> None:
    assert Host(TABLE).wanted(PLAIN) != Host(TABLE).wanted(PLAIN.replace(old, new))


@real_nft
def test_nothing_reaches_this_computer() -> None:
    before = Host(TABLE).live()
    Host(TABLE).wanted(PLAIN)
    assert Host(TABLE).live() == before == []


@real_nft
@pytest.mark.parametrize(
    ("ruleset", "complaint"),
    [
        ("flush ruleset\n" + PLAIN, "removes tables"),
        (PLAIN + "\ntable inet other {}", "inet other"),
        (PLAIN + "\ntable inet own2 {\n}", "inet own2"),
        (PLAIN.replace("accept", "acept"), r"line 6:\d+-\d+: Error: syntax error"),
        ("", "removes tables"),
    ],
)
def test_a_ruleset_is_refused(ruleset: str, complaint: str) -> None:
    with pytest.raises(NftError, match=complaint):
        Host(TABLE).wanted(ruleset)


def test_people_do_not_see_what_traffic_adds() -> None:
    grows = "set a {\n\tflags dynamic,timeout\n\ttimeout 1m\n\telements = { 192.0.2.1 limit rate 2/minute }\n}"
    text = grows + "\nset b {\n\telements = { 1 }\n}"
    shown = DYNAMIC.sub(r"\1", text)
    assert "192.0.2.1" not in shown
    assert "elements = { 1 }" in shown
