"""The console script `swarm-manager`."""

from __future__ import annotations

from common.process.launch import launch


def main() -> None:
    launch("manager.main")
