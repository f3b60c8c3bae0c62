"""The collector: from the journal of this host to `records.inbox`, each line once."""
