"""The root in the provider's KMS, against the strict imitation in `fake.py`: nothing is said of the real service."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
import traceback
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import Keyring, Officers, Place, roll
from sensmail.keys.errors import KeyFailure, RootUnavailable, SettingsError, WrongRoot
from sensmail.keys.provider import make_roots
from sensmail.keys.roots_ncloud import GOV, NcloudKmsRoot
from sensmail.keys.snapshot import Epoch
from unit.kms.fake import FakeKms, running

KEY = bytes(range(32))
TAG = "a1b2c3d4e5f6"

Make = Callable[..., NcloudKmsRoot]


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[FakeKms]:
    """The service, with one key."""
    with running(tmp_path) as service:
        service.make_key(TAG)
        yield service


@pytest.fixture
def make(kms: FakeKms) -> Make:
    """Roots of that service."""

    def make_(tag: str = TAG, *, secret_key: str = kms.secret_key, seconds: float = 10.0) -> NcloudKmsRoot:
        return NcloudKmsRoot(kms.endpoint, tag, kms.access_key, secret_key, seconds=seconds, ca_file=kms.certificate)

    return make_


def test_a_slot_with_another_recovery_part_is_refused(make: Make) -> None:
    officers = Officers.of([X25519PrivateKey.generate().public_key() for _ in range(3)])
    held = roll.wrap(Epoch(b"r" * 16, 1, KEY), make(), officers)
    assert held.unwrap([make()], "x") == KEY
    for other in (b"", bytes(len(held.recovery))):
        with pytest.raises(WrongRoot, match="slot was changed"):
            dataclasses.replace(held, recovery=other).unwrap([make()], "x")


def test_the_signature_is_that_of_the_documents() -> None:
    """The vector was computed from the documented formula with another tool."""
    root = NcloudKmsRoot(GOV, TAG, "FAKEACCESSKEY0000001", "fake-secret-key-for-tests-only")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_700_000_000.0)
        headers = root._signed("POST", "/vserver/v2/createServerInstances")
    assert headers["x-ncp-apigw-timestamp"] == "1700000000000"
    assert headers["x-ncp-apigw-signature-v2"] == "gNgW2fqpKkNNoEyr6No5w5g+vBvzBZg6d9bfI3JcbS8="


def test_wrapped_keys_open_in_their_context_only(make: Make) -> None:
    root = make()
    wrapped = root.wrap(KEY, b"epoch 1")
    assert wrapped.startswith(b"ncpkms:v1:")
    assert len(wrapped) < 200
    assert root.unwrap(wrapped, b"epoch 1") == KEY
    assert wrapped != root.wrap(KEY, b"epoch 1")
    with pytest.raises(WrongRoot):
        root.unwrap(wrapped, b"epoch 2")
    for bit in range(0, len(wrapped) * 8, 11):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrongRoot):
            root.unwrap(bytes(changed), b"epoch 1")
    for cut in (b"", wrapped[:9], wrapped[:10], wrapped[:-1], wrapped * 2):
        with pytest.raises(WrongRoot):
            root.unwrap(cut, b"epoch 1")


def test_only_the_documented_bytes_leave(kms: FakeKms, make: Make) -> None:
    """What the service decrypts is epoch key and context's digest, as docs/formats.md says."""
    root = make()
    headers = root._signed("POST", f"/kms/v1/keys/{TAG}/decrypt") | {"Content-Type": "application/json"}
    body = json.dumps({"ciphertext": root.wrap(KEY, b"c").decode()}).encode()
    answer = kms.answer("POST", f"/kms/v1/keys/{TAG}/decrypt", headers, body)
    assert base64.b64decode(answer["data"]["plaintext"]) == KEY + sha256(b"c").digest()


def test_rotation_in_the_service_is_not_noticed_here(kms: FakeKms, make: Make) -> None:
    root = make()
    old, identity = root.wrap(KEY, b""), root.identity()
    kms.rotate(TAG)
    new = root.wrap(KEY, b"")
    assert new.startswith(b"ncpkms:v2:")
    assert root.unwrap(old, b"") == root.unwrap(new, b"") == KEY
    assert root.identity() == identity
    assert make("another").identity() != identity


def test_a_keyring_under_it(kms: FakeKms, make: Make, tmp_path: Path) -> None:
    places = [Place(tmp_path / name) for name in ("first", "second")]
    for place in places:
        place.directory.mkdir()
    with Keyring.create(places, make(), None) as ring:
        key = ring.new_subject_key()
        ring.roll()
    with Keyring.open(places, make()) as ring:
        assert ring.key(key.subject) == key
        kms.make_key("next")
        ring.roll(root=make("next"))
    make().destroy()
    with Keyring.open(places, [make(), make("next")]) as ring:
        assert ring.key(key.subject) == key
    with pytest.raises(WrongRoot, match="wrapped by root"):
        Keyring.open(places, make())


def test_destruction_is_a_request(kms: FakeKms, make: Make) -> None:
    root = make()
    wrapped = root.wrap(KEY, b"")
    assert not root.gone()
    root.destroy()
    assert kms.ending == {TAG}
    assert root.gone()
    del kms.keys[TAG]  # 72 hours later
    assert root.gone()
    kms.make_key(TAG)
    for attempt in (lambda: root.unwrap(wrapped, b""), lambda: root.wrap(KEY, b""), root.destroy):
        with pytest.raises(RootUnavailable, match="not available"):
            attempt()
    assert root.destruction.name == "software"
    assert "72 hours" in root.destruction.promise


@pytest.mark.parametrize("fault", ["429", "503", "504", "reset"])
def test_what_passes_is_tried_again(kms: FakeKms, make: Make, fault: str) -> None:
    kms.faults = [fault, fault]
    assert make().unwrap(make().wrap(KEY, b""), b"") == KEY
    assert kms.faults == []
    assert kms.seen == ["encrypt", "decrypt"]


def test_throttling_by_the_service_itself(kms: FakeKms, make: Make) -> None:
    kms.per_second = 2
    root = make()
    assert len({root.wrap(KEY, b"") for _ in range(5)}) == 5


@pytest.mark.parametrize("fault", ["429", "503", "reset", "hang", "drip"])
def test_what_does_not_pass_ends_in_time(kms: FakeKms, make: Make, fault: str) -> None:
    kms.faults = [fault] * 50
    begin = time.monotonic()
    with pytest.raises(RootUnavailable, match=r"gave up after 0\.8 s"):
        make(seconds=0.8).wrap(KEY, b"")
    assert time.monotonic() - begin < 5, "the bound holds also while bytes still come in"


@pytest.mark.parametrize("fault", ["html", "empty", "list"])
def test_an_answer_of_another_form(kms: FakeKms, make: Make, fault: str) -> None:
    kms.faults = [fault]
    with pytest.raises(RootUnavailable, match=r"KMS 2\.0"):
        make().wrap(KEY, b"")


@pytest.mark.parametrize(
    "data",
    [{}, {"plaintext": 5}, {"plaintext": "%"}, {"plaintext": ""}, {"ciphertext": "x"}, {"ciphertext": "ncpkms:é"}],
)
def test_an_answer_with_another_content(make: Make, monkeypatch: pytest.MonkeyPatch, data: dict[str, object]) -> None:
    root = make()
    monkeypatch.setattr(root, "_call", lambda *_: data)
    attempts: list[Callable[[], object]] = [lambda: root.wrap(KEY, b""), lambda: root.unwrap(b"ncpkms:v1:x", b"")]
    for attempt in attempts:
        with pytest.raises(RootUnavailable):
            attempt()


def test_a_wrong_secret_a_wrong_tag_and_a_wrong_clock(kms: FakeKms, make: Make) -> None:
    with pytest.raises(RootUnavailable, match="200 Authentication Failed; check access key"):
        make(secret_key="wrong").wrap(KEY, b"")
    with pytest.raises(RootUnavailable, match="key not found; check the key tag"):
        make("no-such-tag").wrap(KEY, b"")
    with pytest.raises(RootUnavailable, match="HTTP 404"):
        make("../keys/" + TAG).wrap(KEY, b"")
    kms.clock_ms = 6 * 60 * 1000
    with pytest.raises(RootUnavailable, match="this host's clock"):
        make().wrap(KEY, b"")


@pytest.mark.parametrize("fault", ["404", "401", "503", "hang", "html", "empty"])
def test_who_is_not_the_service_does_not_say_that_a_key_is_gone(kms: FakeKms, make: Make, fault: str) -> None:
    kms.faults = [fault] * 9
    with pytest.raises(RootUnavailable):
        make(seconds=0.5).gone()
    with pytest.raises(RootUnavailable):
        make(secret_key="wrong").gone()


def test_a_server_that_is_not_trusted(kms: FakeKms) -> None:
    stranger = NcloudKmsRoot(kms.endpoint, TAG, kms.access_key, kms.secret_key, seconds=0.5)
    with pytest.raises(RootUnavailable, match=r"SSLError|CERTIFICATE"):
        stranger.wrap(KEY, b"")
    assert kms.seen == []


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "ocapi.gov-ncloud.com", "https://", "https://a/kms", ""])
def test_an_endpoint_that_is_no_https_host(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="https://host"):
        NcloudKmsRoot(endpoint, TAG, "a", "s")
    with pytest.raises(SettingsError, match="key_tag is empty"):
        NcloudKmsRoot(GOV, "", "a", "s")


def test_no_secret_is_shown(kms: FakeKms, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    root, shown = make(seconds=0.5), ""
    wrapped = root.wrap(KEY, b"")
    attempts: list[Callable[[], object]] = [lambda: root.wrap(KEY, b""), lambda: root.unwrap(wrapped, b"")]
    for fault in ("401", "400", "hang", "reset", "html"):
        kms.faults = [fault] * 9
        for attempt in attempts:
            with pytest.raises(KeyFailure) as caught:
                attempt()
            shown += "".join(traceback.format_exception(caught.value))
    shown += repr(root) + caplog.text
    for secret in (kms.secret_key, kms.access_key, base64.b64encode(KEY).decode()[:20], KEY.hex(), wrapped.decode()):
        assert secret not in shown


def test_from_settings(kms: FakeKms, tmp_path: Path) -> None:
    (tmp_path / "access").write_text(kms.access_key + "\n")
    (tmp_path / "secret").write_text(kms.secret_key + "\n")
    table = {
        "provider": "ncloud_kms",
        "endpoint": kms.endpoint,
        "key_tag": TAG,
        "access_key_credential": "access",
        "secret_key_credential": "secret",
        "ca_file": str(kms.certificate),
        "timeout_s": 5,
    }
    (root,) = make_roots(table, tmp_path)
    assert root.provider == "ncloud_kms"
    assert root.unwrap(root.wrap(KEY, b""), b"") == KEY


class TestTheImitation:
    """It is strict: it takes nothing that the documents do not describe."""

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"body": b'{"plaintext": "AAAA", "more": 1}'}, 400),
            ({"body": b'{"plaintext": "AAAA", "context": "AAAA"}'}, 400),
            ({"body": b'{"plaintext": "%%%"}'}, 400),
            ({"body": b'{"plaintext": ""}'}, 400),
            ({"body": b'{"plaintext": 5}'}, 400),
            ({"body": b"{"}, 400),
            ({"body": b"[]"}, 400),
            ({"body": json.dumps({"plaintext": "A" * 44_000}).encode()}, 400),
            ({"type": "text/plain"}, 400),
            ({"path": f"/kms/v1/keys/{TAG}/rotate"}, 404),
            ({"path": f"/keys/v2/{TAG}/encrypt"}, 404),
            ({"path": f"/kms/v1/keys/{TAG}/encrypt?x=1"}, 404),
            ({"method": "GET"}, 404),
            ({"signature": "AAAA"}, 401),
            ({"signature": None}, 401),
            ({"access": "another"}, 401),
        ],
    )
    def test_refusals(self, kms: FakeKms, make: Make, change: dict[str, object], status: int) -> None:
        asked: dict[str, Any] = {
            "method": "POST",
            "path": f"/kms/v1/keys/{TAG}/encrypt",
            "body": b'{"plaintext": "AAAA"}',
        }
        asked |= change
        headers: dict[str, str] = make()._signed(asked["method"], asked["path"])
        headers["Content-Type"] = str(change.get("type", "application/json"))
        if "access" in change:
            headers["x-ncp-iam-access-key"] = str(change["access"])
        if "signature" in change:
            del headers["x-ncp-apigw-signature-v2"]
            if change["signature"]:
                headers["x-ncp-apigw-signature-v2"] = str(change["signature"])
        with urllib3.PoolManager(ca_certs=str(kms.certificate), retries=False) as pool:
            answer = pool.request(asked["method"], kms.endpoint + asked["path"], headers=headers, body=asked["body"])
        assert answer.status == status
        assert set(answer.json()) <= {"error", "responseError"}
