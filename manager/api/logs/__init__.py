"""Logs of tasks on all nodes, as one stream."""
