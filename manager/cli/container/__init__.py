"""`container`, `exec` and what goes in and out of containers."""
