"""The console script `swarm-manager`."""

from __future__ import annotations

from common.launch import launch


def main() -> None:
    launch("manager.main")
