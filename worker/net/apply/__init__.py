"""Bringing the kernel to the plan."""
