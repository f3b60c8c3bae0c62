"""The key service: the only holder of keys, and how others ask it. Callers need `client`, `protocol` and `errors`."""
