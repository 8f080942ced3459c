"""`secret` and `config`."""
