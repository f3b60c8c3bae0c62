"""Sealed records: two ledgers, each a Merkle tree with a signed head, so that every change of the past shows.

Pure parts: `tree` (hashes and proofs), `note`, `checkpoint` and `cosignature` (C2SP), `entry` (the bytes of a leaf).
"""
