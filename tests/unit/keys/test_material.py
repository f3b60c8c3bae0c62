"""The box: the same bytes whether it encrypts at once or piece by piece, and no changed bit opens."""

from __future__ import annotations

import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keys import material
from sensmail.keys.material import Box, SubjectKey


@given(data=st.binary(max_size=200), bound=st.binary(max_size=20), at_once=st.integers(1, 250))
def test_piece_by_piece_is_the_same_cipher(data: bytes, bound: bytes, at_once: int) -> None:
    key = os.urandom(32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "_AT_ONCE", at_once)
        sealed = Box(key).seal(data, bound)
        assert Box(key).open(memoryview(sealed), bound) == data
        theirs = AESGCM(key)
        assert theirs.decrypt(sealed[:12], sealed[12:], bound) == data
        assert Box(key).open(sealed[:12] + theirs.encrypt(sealed[:12], data, bound), bound) == data
        for at in range(len(sealed)):
            changed = bytearray(sealed)
            changed[at] ^= 1 << at % 8
            with pytest.raises(InvalidTag):
                Box(key).open(bytes(changed), bound)
        for wrong in (sealed[:-1], bound):
            with pytest.raises((InvalidTag, ValueError)):
                Box(key).open(wrong, bound)
        with pytest.raises(InvalidTag):
            Box(key).open(sealed, bound + b"x")


@pytest.mark.parametrize(("subject", "version", "key"), [(15, 1, 32), (16, 0, 32), (16, 2**32, 32), (16, 1, 31)])
def test_a_subject_key_of_another_form_is_refused(subject: int, version: int, key: int) -> None:
    with pytest.raises(ValueError, match="a subject key is"):
        SubjectKey(bytes(subject), version, bytes(key))
