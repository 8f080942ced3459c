"""`service` and `task`."""
