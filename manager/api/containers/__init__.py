"""Containers of all nodes."""
