"""What the worker's core asks of this host, as protocols: it runs on fakes as well, in real and in virtual time."""
