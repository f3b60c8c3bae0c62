"""A decoder for everything in docs/formats.md, written from that document alone. Imports nothing of sensmail.

Its cryptography is PyCryptodome, so that it is a second implementation all the way down.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol import DH, HPKE
from Crypto.Protocol.KDF import HKDF
from Crypto.Signature import eddsa


class Refused(Exception):
    """The bytes are not what the document describes."""


def derive(key: bytes, info: bytes) -> bytes:
    result = HKDF(key, 32, b"", SHA256, context=info)
    assert isinstance(result, bytes)
    return result


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    if len(sealed) < 16:
        raise Refused("no room for a tag")
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=16)
    cipher.update(bound)
    try:
        return cipher.decrypt_and_verify(sealed[:-16], sealed[-16:])
    except ValueError:
        raise Refused("authentication failed") from None


def row_key(columns: list[tuple[str, str]]) -> bytes:
    """`columns` are (PostgreSQL type, value as text; bytea in hexadecimal)."""
    result = struct.pack(">B", len(columns))
    for kind, value in columns:
        if kind == "uuid":
            number, body = 1, bytes.fromhex(value.replace("-", ""))
        elif kind in {"smallint", "integer", "bigint"}:
            number, body = 2, struct.pack(">q", int(value))
        elif kind in {"text", "varchar"}:
            number, body = 3, value.encode("utf-8")
        elif kind == "bytea":
            number, body = 4, bytes.fromhex(value)
        else:
            raise Refused(f"type {kind}")
        result += struct.pack(">BH", number, len(body)) + body
    return result


def envelope_of_text(text: str) -> bytes:
    """The envelope that stands in a text column."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    body = text.removeprefix("sealed:v1:")
    if not text.startswith("sealed:v1:") or not body or set(body) - set(alphabet) or len(body) % 4 == 1:
        raise Refused("text form")
    bits = "".join(f"{alphabet.index(each):06b}" for each in body)
    whole = len(bits) // 8 * 8
    if "1" in bits[whole:]:
        raise Refused("bits that belong to no byte")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, whole, 8))


def open_envelope(
    envelope: bytes, subject_key: bytes, key_version: int, subject: bytes, purpose: str, field_number: int, row: bytes
) -> bytes:
    if not envelope or envelope[0] != 1:
        raise Refused("version")
    if len(envelope) < 34:
        raise Refused("length")
    _, algorithm, version = struct.unpack_from(">BBI", envelope)
    if algorithm != 1:
        raise Refused("algorithm")
    if version == 0 or version != key_version:
        raise Refused("key version")
    header, nonce = envelope[:18], envelope[6:18]
    field_key = derive(subject_key, b"sensmail field key v1" + b"\x00" + bytes([algorithm]) + purpose.encode("ascii"))
    bound = header + struct.pack(">I", field_number)
    bound += struct.pack(">H", len(row)) + row + struct.pack(">H", len(subject)) + subject
    return gcm_open(field_key, nonce, envelope[18:], bound)


def open_file_root(root_key: bytes, slot: bytes) -> bytes:
    """The epoch key of a live slot, by the root `file`."""
    ring, epoch, root, wrapped, recovery = read_slot(slot)
    if derive(root_key, b"sensmail root id v1")[:16] != root:
        raise Refused("another root")
    key = derive(root_key, b"sensmail root wrap v1")
    return gcm_open(key, wrapped[:12], wrapped[12:], context(ring, epoch) + SHA256.new(recovery).digest())


def context(ring: bytes, epoch: int) -> bytes:
    return b"sensmail epoch key v1" + b"\x00" + ring + struct.pack(">Q", epoch)


def read_slot(slot: bytes) -> tuple[bytes, int, bytes, bytes, bytes]:
    """(ring, epoch, root id, wrapped key, recovery part) of a live slot."""
    if len(slot) != 4096 or SHA256.new(slot[:4064]).digest() != slot[4064:] or slot[:8] != b"SMSLOT01":
        raise Refused("slot")
    if slot[8] != 1:
        raise Refused("destroyed")
    ring, (epoch,), root = slot[9:25], struct.unpack(">Q", slot[25:33]), slot[33:49]
    w, r = struct.unpack(">HH", slot[49:53])
    if any(slot[53 + w + r : 4064]) or r not in {0, 576}:
        raise Refused("slot")
    return ring, epoch, root, slot[53 : 53 + w], slot[53 + w : 53 + w + r]


def open_by_officers(one: bytes, two: bytes, slot: bytes) -> bytes:
    """The epoch key by two officers' raw X25519 private keys."""
    ring, epoch, _, _, part = read_slot(slot)
    privates = [DH.import_x25519_private_key(each) for each in (one, two)]
    publics = [part[32 * each : 32 * each + 32] for each in range(3)]
    found = [publics.index(each.public_key().export_key(format="raw")) for each in privates]
    pair = sorted(found)
    start = {(0, 1): 96, (0, 2): 256, (1, 2): 416}[pair[0], pair[1]]
    key = bytes(32)
    for private, officer in zip(privates, found, strict=True):
        at = start + 80 * pair.index(officer)
        info = b"sensmail recovery v2" + b"\x00" + bytes([*pair, officer]) + part[:96] + context(ring, epoch)
        sealed = part[at : at + 80]
        receiver = HPKE.new(receiver_key=private, aead_id=HPKE.AEAD.AES256_GCM, enc=sealed[:32], info=info)
        half = receiver.unseal(sealed[32:])
        key = bytes(a ^ b for a, b in zip(key, half, strict=True))
    return key


def open_by_pieces(one: bytes, two: bytes, slot: bytes) -> bytes:
    """The epoch key by two officers' piece files."""
    ring, epoch, _, _, part = read_slot(slot)
    members = {"format", "ring", "epoch", "officer", "recovery", "halves"}
    pieces = [json.loads(each) for each in (one, two)]
    for each in pieces:
        bound = bytes.fromhex(each["ring"]), each["epoch"], bytes.fromhex(each["recovery"])
        if set(each) != members or each["format"] != "sensmail officer piece v1":
            raise Refused("piece")
        if bound != (ring, epoch, SHA256.new(part).digest()):
            raise Refused("piece of another slot")
    pair = "-".join(str(number) for number in sorted(each["officer"] for each in pieces))
    first, second = (bytes.fromhex(each["halves"][pair]) for each in pieces)
    return bytes(a ^ b for a, b in zip(first, second, strict=True))


def read_places(data: bytes, offset: int) -> tuple[dict[str, int], int]:
    """Directory and `lost` of each place, and the offset behind the list."""
    places = {}
    (count,) = struct.unpack_from(">Q", data, offset)
    offset += 8
    for _ in range(count):
        lost, n = struct.unpack_from(">QH", data, offset)
        places[data[offset + 10 : offset + 10 + n].decode()] = lost
        offset += 10 + n
    return places, offset


class Content:
    """What a key file says: keys as lists of (state, key) by version, closed subjects, tombstones."""

    def __init__(self, plaintext: bytes) -> None:
        self.issued, self.destroyed_through = struct.unpack_from(">QQ", plaintext)
        self.places, offset = read_places(plaintext, 16)
        tables = []
        for form in (">16sIB3x32s", ">16sQ", ">16sQQ"):
            (count,) = struct.unpack_from(">Q", plaintext, offset)
            offset += 8
            size = struct.calcsize(form)
            tables.append([struct.unpack_from(form, plaintext, offset + size * row) for row in range(count)])
            offset += size * count
        if offset != len(plaintext):
            raise Refused("content")
        self.keys: dict[bytes, list[tuple[int, bytes]]] = {}
        for subject, version, state, key in tables[0]:
            self.keys.setdefault(subject, []).append((state, key))
            if len(self.keys[subject]) != version:
                raise Refused("versions")
        self.closed = dict(tables[1])
        self.tombstones = {subject: (epoch, time) for subject, epoch, time in tables[2]}

    def apply(self, record: bytes, epoch: int) -> None:
        """Carry out one record."""
        if record[:1] == b"\x09":
            self.places, end = read_places(record, 1)
            if end != len(record):
                raise Refused("places")
            return
        for act, subject, value, held in struct.iter_unpack(">B16sQ32s", record):
            if act in {7, 8}:
                self.operate_on_all(act)
            else:
                self.operate(act, subject, value, held, epoch)

    def operate_on_all(self, act: int) -> None:
        old, new = {7: (4, 2), 8: (2, 3)}[act]
        for subject, keys in self.keys.items():
            changed = [
                (new, held if new != 3 else bytes(32)) if state == old else (state, held) for state, held in keys
            ]
            self.keys[subject] = changed

    def operate(self, act: int, subject: bytes, number: int, key: bytes, epoch: int) -> None:
        if act == 1:
            aged = [(4 if state == 1 else state, held) for state, held in self.keys.get(subject, [])]
            self.keys[subject] = [*aged, (1, key)]
        elif act == 2:
            self.closed[subject] = number
        elif act == 3:
            self.closed.pop(subject, None)
        elif act == 4:
            self.keys[subject][number - 1] = (3, bytes(32))
        elif act == 5:
            self.keys.pop(subject)
            self.closed.pop(subject, None)
            self.tombstones[subject] = (epoch, number)
        elif act == 6:
            self.destroyed_through = number
        else:
            raise Refused("act")


def read_place(files: dict[str, bytes], epoch_key: bytes) -> dict[str, Any]:
    """Everything in a place, by its epoch key; byte strings in hexadecimal."""
    snapshot = files["snapshot"]
    if snapshot[:8] != b"SMSNAP01":
        raise Refused("snapshot")
    ring, (epoch, sequence) = snapshot[8:24], struct.unpack(">QQ", snapshot[24:40])
    key = derive(epoch_key, b"sensmail snapshot v1")
    content = Content(gcm_open(key, snapshot[40:52], snapshot[52:], snapshot[:40]))
    journal, tag, offset = files[f"journal.{epoch}"], snapshot[-16:], 56
    head = b"SMJRNL01" + ring + struct.pack(">QQ", epoch, sequence) + tag
    if journal[:56] != head:
        raise Refused("journal")
    key = derive(epoch_key, b"sensmail journal v1")
    while offset < len(journal):
        number, m = struct.unpack_from(">QI", journal, offset)
        sealed = journal[offset + 12 : offset + 12 + m]
        sequence += 1
        if number != sequence or len(sealed) != m:
            raise Refused("torn or damaged record")
        record = gcm_open(key, sealed[:12], sealed[12:], head + journal[offset : offset + 12] + tag)
        tag, offset = sealed[-16:], offset + 12 + m
        content.apply(record, epoch)
    return {
        "ring": ring.hex(),
        "epoch": epoch,
        "sequence": sequence,
        "issued": content.issued,
        "destroyed_through": content.destroyed_through,
        "places": content.places,
        "keys": {s.hex(): [[state, held.hex()] for state, held in keys] for s, keys in sorted(content.keys.items())},
        "closed": {s.hex(): time for s, time in sorted(content.closed.items())},
        "tombstones": {s.hex(): list(each) for s, each in sorted(content.tombstones.items())},
    }


def read_counter(counter: bytes) -> tuple[int, int]:
    """(issued, settled)"""
    if len(counter) != 72 or counter[:8] != b"SMCNTR01" or SHA256.new(counter[:40]).digest() != counter[40:]:
        raise Refused("counter")
    issued, settled = struct.unpack(">QQ", counter[24:40])
    return issued, settled


def sha256(*parts: bytes) -> bytes:
    return SHA256.new(b"".join(parts)).digest()


def leaf_hash(record: dict[str, Any], salt: bytes) -> bytes:
    """Of a record that was read from JSON: RFC 8785 for whole numbers and texts."""
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(b"\x00", salt, canonical.encode())


def merkle_root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return sha256(b"\x01", merkle_root(leaves[:split]), merkle_root(leaves[split:]))


def compact_range(leaves: list[bytes]) -> list[bytes]:
    found = []
    while leaves:
        size = 1
        while 2 * size <= len(leaves):
            size *= 2
        found.append(merkle_root(leaves[:size]))
        leaves = leaves[size:]
    return found


def inclusion(leaf: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    left, right = leaves[:split], leaves[split:]
    if leaf < split:
        return [*inclusion(leaf, left), merkle_root(right)]
    return [*inclusion(leaf - split, right), merkle_root(left)]


def consistency(old: int, leaves: list[bytes], known: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2."""
    if old == len(leaves):
        return [] if known else [merkle_root(leaves)]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    if old <= split:
        return [*consistency(old, leaves[:split], known), merkle_root(leaves[split:])]
    return [*consistency(old - split, leaves[split:], False), merkle_root(leaves[:split])]


def read_checkpoint(signed: str, log_key: str) -> dict[str, Any]:
    """The fields of a checkpoint, both of whose signatures hold."""
    text, _, tail = signed.rpartition("\n\n")
    text += "\n"
    origin, size, root, *extensions = text[:-1].split("\n")
    if [each.split(" ")[0] for each in extensions] != ["time", "key", "next"]:
        raise Refused("lines")
    time, key, following = (each.split(" ")[1] for each in extensions)
    name, number, stable = log_key.split("+", 2)
    kind, public = base64.b64decode(stable)[:1], base64.b64decode(stable)[1:]
    if name != origin or kind != b"\x01" or sha256(name.encode(), b"\n\x01", public)[:4].hex() != number:
        raise Refused("log key")
    if len({public, base64.b64decode(key), base64.b64decode(following)}) != 3:
        raise Refused("keys")
    for each in (public, base64.b64decode(key)):
        _check_line(tail, origin, b"\x01", each, text.encode(), 0)
    return {
        "origin": origin, "size": int(size), "root": base64.b64decode(root).hex(), "time": int(time),
        "key": base64.b64decode(key).hex(), "next": base64.b64decode(following).hex(),
    }  # fmt: skip


def read_cosignature(signed: str, witness_key: str) -> int:
    text, _, tail = signed.rpartition("\n\n")
    name, _, public = witness_key.split("+", 2)
    key = base64.b64decode(public)[1:]
    for line in tail.splitlines():
        if line.startswith(f"— {name} "):
            (time,) = struct.unpack(">Q", base64.b64decode(line.split(" ")[2])[4:12])
            _check_line(tail, name, b"\x04", key, f"cosignature/v1\ntime {time}\n{text}\n".encode(), 8)
            return int(time)
    raise Refused("no cosignature")


def may_follow(before: dict[str, Any], after: dict[str, Any]) -> bool:
    same = after["size"] > before["size"] or (after["size"], after["root"]) == (before["size"], before["root"])
    chained = (after["key"], after["next"]) == (before["key"], before["next"]) or after["key"] == before["next"]
    return after["origin"] == before["origin"] and after["time"] >= before["time"] and same and chained


def begins(first: dict[str, Any]) -> bool:
    return bool(first["origin"].rsplit("/", 1)[1] == sha256(bytes.fromhex(first["key"]))[:16].hex())


def _check_line(tail: str, name: str, kind: bytes, public: bytes, message: bytes, skip: int) -> None:
    number = sha256(name.encode(), b"\n", kind, public)[:4]
    for line in tail.splitlines():
        data = base64.b64decode(line.split(" ")[2])
        if line.startswith(f"— {name} ") and data[:4] == number:
            try:
                eddsa.new(eddsa.import_public_key(public), "rfc8032").verify(message, data[4 + skip :])
            except ValueError:
                raise Refused("signature") from None
            return
    raise Refused("no signature")
