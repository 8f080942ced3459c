"""Containers that are not tasks."""
