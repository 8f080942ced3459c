"""The console script `swarm-worker`."""

from __future__ import annotations

from common.process.launch import launch


def main() -> None:
    launch("worker.main")
