"""What root does with a host's keys: their making, drill, recovery, and the change of the root key."""
