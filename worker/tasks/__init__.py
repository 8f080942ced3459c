"""Tasks of this host: what to do next for each, and doing it."""
