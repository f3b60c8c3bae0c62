"""`make up` and `make down`: a mail host on this computer, from nothing to a mailbox one can log in to."""
