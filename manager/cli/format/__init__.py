"""Rows, tables, templates and small pieces of text."""
