"""Where the two daemons are to be found when nothing else is said, as `-H` and DOCKER_HOST write it."""

from __future__ import annotations

MANAGER_HOST = "unix:///run/swarm-manager/docker.sock"
ENGINE_HOST = "unix:///var/run/docker.sock"
