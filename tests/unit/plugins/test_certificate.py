"""Keys and certificates: what is made, when it is made anew, and what of the operator's is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils.certificate_store import Change, Store, Wanted, write
from ansible_collections.sensmail.cloud.plugins.module_utils.certificate_x509 import (
    CertificateError,
    Pair,
    covers,
    faults,
    key_pem,
    load_chain,
    make_ca,
    make_leaf,
    names_of,
    new_key,
)
from ansible_collections.sensmail.cloud.plugins.modules.certificate import run
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = 365 * DAY
NAMES = ("mx.example.kr", "mta-sts.example.kr")


@pytest.fixture
def ca() -> Pair:
    return make_ca("test CA", NOW, 10 * YEAR)


def params(place: Path, **extra: Any) -> dict[str, Any]:
    given = {"source": "own_ca", "directory": str(place / "tls"), "ca_directory": str(place / "ca"), "group": "root"}
    return {
        **given,
        "names": list(NAMES),
        "valid_days": 397,
        "renew_before_days": 30,
        "chain": None,
        "key": None,
        **extra,
    }


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_the_authority_signs_hosts_and_nothing_else(ca: Pair) -> None:
    certificate = load_chain(ca.chain)[0]
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert not usage.value.digital_signature


def test_the_leaf_is_a_server_under_its_names(ca: Pair) -> None:
    leaf = make_leaf(ca, [*NAMES, "192.0.2.1"], NOW, 397 * DAY)
    certificate = load_chain(leaf.chain)[0]
    assert names_of(certificate) == {*NAMES, "192.0.2.1"}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert faults(leaf, NAMES, NOW, 30 * DAY) == []
    assert certificate.not_valid_after_utc == NOW + 397 * DAY


def test_a_leaf_does_not_outlive_its_authority() -> None:
    authority = make_ca("short", NOW, 100 * DAY)
    assert load_chain(make_leaf(authority, NAMES, NOW, YEAR).chain)[0].not_valid_after_utc == NOW + 100 * DAY


def test_a_long_name_fits(ca: Pair) -> None:
    name = f"{'a' * 60}.{'b' * 60}.kr"
    leaf = make_leaf(ca, [name], NOW, YEAR)
    assert faults(leaf, [name], NOW, DAY) == []


@pytest.mark.parametrize(
    ("certified", "name", "good"),
    [("*.a.kr", "b.a.kr", True), ("*.a.kr", "c.b.a.kr", False), ("*.a.kr", "a.kr", False), ("a.kr", "a.kr", True)],
)
def test_a_star_stands_for_one_label(certified: str, name: str, good: bool) -> None:
    assert covers({certified}, name) is good


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    assert run(params(tmp_path), False, NOW)["changed"]
    before = files(tmp_path)
    assert set(before) == {"tls/key.pem", "tls/fullchain.pem", "tls/ca.pem", "ca/key.pem", "ca/ca.pem"}
    result = run(params(tmp_path), False, NOW + YEAR)
    assert (result["changed"], result["reasons"], files(tmp_path)) == (False, [], before)


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    result = run(params(tmp_path), True, NOW)
    assert (result["changed"], files(tmp_path)) == (True, {})


def test_only_its_group_reads_the_key(tmp_path: Path) -> None:
    run(params(tmp_path, group="daemon"), False, NOW)
    modes = {path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in files(tmp_path)}
    assert (modes["tls/key.pem"], modes["ca/key.pem"], modes["tls/fullchain.pem"]) == (0o640, 0o600, 0o644)
    if os.geteuid() == 0:
        assert (tmp_path / "tls/key.pem").stat().st_gid == 1
        assert (tmp_path / "ca/key.pem").stat().st_gid == 0


Harm = Callable[[Path], None]


def damage(name: str) -> Harm:
    return lambda place: (place / name).write_bytes(b"nonsense")


def gone(name: str) -> Harm:
    return lambda place: (place / name).unlink()


def other_key(place: Path) -> None:
    (place / "tls/key.pem").write_bytes(key_pem(new_key()))


def other_authority(place: Path) -> None:
    authority = make_ca("other", NOW, YEAR)
    (place / "ca/key.pem").write_bytes(authority.key)
    (place / "ca/ca.pem").write_bytes(authority.chain)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (gone("tls/key.pem"), "there is no certificate yet"),
        (gone("tls/fullchain.pem"), "there is no certificate yet"),
        (damage("tls/fullchain.pem"), "the chain holds no certificate"),
        (damage("tls/key.pem"), "the private key is not in PEM"),
        (other_key, "does not belong to the first certificate"),
        (other_authority, "it is not signed by the authority"),
        (gone("tls/ca.pem"), "not where clients look"),
    ],
)
def test_harm_is_repaired(tmp_path: Path, harm: Harm, reason: str) -> None:
    run(params(tmp_path), False, NOW)
    harm(tmp_path)
    result = run(params(tmp_path), False, NOW)
    assert reason in " ".join(result["reasons"])
    pair = Pair((tmp_path / "tls/key.pem").read_bytes(), (tmp_path / "tls/fullchain.pem").read_bytes())
    chained = Pair(pair.key, pair.chain + (tmp_path / "tls/ca.pem").read_bytes())
    assert faults(chained, NAMES, NOW, DAY) == []
    assert not run(params(tmp_path), False, NOW)["changed"]


def test_the_authority_stays_when_the_leaf_is_renewed(tmp_path: Path) -> None:
    run(params(tmp_path), False, NOW)
    before = files(tmp_path)
    result = run(params(tmp_path), False, NOW + 370 * DAY)
    assert result["reasons"] == ["certificate 1 of the chain expires soon, on 2027-07-03"]
    after = files(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"tls/key.pem", "tls/fullchain.pem"}


@pytest.mark.parametrize("names", [[*NAMES, "autoconfig.example.kr"], ["mx.example.kr"], ["mx.other.kr"]])
def test_other_names_need_another_certificate(tmp_path: Path, names: list[str]) -> None:
    run(params(tmp_path), False, NOW)
    assert run(params(tmp_path, names=names), False, NOW)["changed"]
    assert names_of(load_chain((tmp_path / "tls/fullchain.pem").read_bytes())[0]) == set(names)


def test_an_authority_without_its_key_is_not_replaced_silently(tmp_path: Path) -> None:
    run(params(tmp_path), False, NOW)
    before = files(tmp_path)
    (tmp_path / "ca/key.pem").unlink()
    with pytest.raises(CertificateError, match="every client has to be told"):
        run(params(tmp_path), False, NOW + 390 * DAY)
    assert files(tmp_path) == {name: content for name, content in before.items() if name != "ca/key.pem"}


def test_an_unknown_group_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="ssl-cert"):
        run(params(tmp_path, group="no-such-group"), False, NOW)
    assert files(tmp_path) == {}


def supplied(pair: Pair) -> dict[str, Any]:
    return {"source": "files", "key": pair.key.decode(), "chain": pair.chain.decode()}


def test_what_the_operator_supplies_is_served(tmp_path: Path, ca: Pair) -> None:
    run(params(tmp_path), False, NOW)
    leaf = make_leaf(ca, ["*.example.kr"], NOW, YEAR)
    given = supplied(Pair(leaf.key, leaf.chain + ca.chain))
    assert run(params(tmp_path, **given), False, NOW)["changed"]
    assert (tmp_path / "tls/fullchain.pem").read_bytes() == leaf.chain + ca.chain
    assert not (tmp_path / "tls/ca.pem").exists(), "nobody is told any more to trust the own authority"
    assert not run(params(tmp_path, **given), False, NOW)["changed"]


def rsa_pem(bits: int) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted_pem() -> bytes:
    return new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


def bad(ca: Pair) -> dict[str, Pair]:
    leaf, stranger = make_leaf(ca, NAMES, NOW, YEAR), make_ca("stranger", NOW, YEAR)
    past, future = NOW - 2 * YEAR, NOW + 30 * DAY
    return {
        "does not belong": Pair(key_pem(new_key()), leaf.chain),
        "it is not for mta-sts.example.kr, but for mx.example.kr": make_leaf(ca, NAMES[:1], NOW, YEAR),
        "expired on 2025-": make_leaf(make_ca("old", past, 10 * YEAR), NAMES, past, YEAR),
        "is valid from 2026-06-30 only": make_leaf(make_ca("new", future, YEAR), NAMES, future, DAY),
        "not signed by certificate 2": Pair(leaf.key, leaf.chain + stranger.chain),
        "no certificate in PEM": Pair(leaf.key, leaf.key),
        "is not in PEM": Pair(leaf.chain, leaf.chain),
        "is encrypted": Pair(encrypted_pem(), leaf.chain),
        "RSA of 1024 bits": Pair(rsa_pem(1024), leaf.chain),
    }


def test_what_cannot_be_served_replaces_nothing(tmp_path: Path, ca: Pair) -> None:
    run(params(tmp_path), False, NOW)
    before = files(tmp_path)
    for complaint, pair in bad(ca).items():
        with pytest.raises(CertificateError, match=complaint):
            run(params(tmp_path, **supplied(pair)), False, NOW)
        assert files(tmp_path) == before


def test_an_interrupted_renewal_is_completed(tmp_path: Path) -> None:
    """Killed after every single file: the next run finds out and ends with a pair that fits."""
    store = Store(tmp_path / "tls", tmp_path / "ca")
    wanted = Wanted(NAMES, NOW, YEAR, 30 * DAY)
    for stop in range(1, 6):
        first = dict(list(store.own_ca(wanted).files.items())[:stop])
        write(Change(first, []), "root")
        write(store.own_ca(wanted), "root")
        assert store.own_ca(wanted).files == {}
        for path in tmp_path.rglob("*.pem"):
            path.unlink()
