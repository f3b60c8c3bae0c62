"""The witness: on another machine, with another administrator, it cosigns a log's heads as long as the log only grows.

Source: C2SP tlog-witness and tlog-cosignature. Beyond them it follows the chain of evolving keys, keeps what it
cosigned in append-only files, and raises an alarm when a log falls silent.
"""
