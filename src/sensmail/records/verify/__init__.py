"""Verifies a bundle offline: no database, no host, nothing but `cryptography` and `msgspec`.

`python -m sensmail.records.verify`, `sensmail-verify` and `sensmail verify` are the same program.
"""
