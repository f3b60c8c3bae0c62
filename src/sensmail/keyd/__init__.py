"""The key service: the only holder of keys, and how others ask it. Callers need `client`, `protocol` and `errors`.

What root does with the keys beside it, from a shell or by a playbook, is in `sensmail.custody`.
"""
