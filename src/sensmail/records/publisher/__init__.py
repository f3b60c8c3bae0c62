"""Hands committed checkpoints to witnesses and keeps what they cosign. It reads heads and hashes, never a record."""
