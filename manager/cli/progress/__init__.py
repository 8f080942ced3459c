"""Waiting for services to converge, and showing it."""
