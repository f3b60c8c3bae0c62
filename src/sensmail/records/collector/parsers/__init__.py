"""One file a source: from the message of a line that is known to come from it to what it says. Pure functions."""
