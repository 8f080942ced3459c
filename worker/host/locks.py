"""Locks on what only one worker of a host may have: an engine, and the host's network. They end with the process.

A third tells a worker that is being stopped that its node leaves: `swarm-worker leave` holds it meanwhile.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NETWORK = "network"


def engine_at(docker_host: str) -> str:
    """Return the lock's name for the engine at an address; all paths to one socket have the same."""
    scheme, _, path = docker_host.partition("://")
    return f"engine {Path(path).resolve()}" if scheme == "unix" else f"engine {docker_host}"


def leave_of(data_dir: Path) -> str:
    """Return what stands for the end of a data directory's worker."""
    return f"leave {data_dir.resolve()}"


def engine_taken(docker_host: str) -> str:
    """Say that another worker has it, and what to do."""
    return (
        f"another worker of this host runs the engine at {docker_host}: "
        "a second one needs an engine of its own, which --docker-host names"
    )


@contextmanager
def hold(what: str) -> Iterator[bool]:
    """Hold a lock for the block; yield False when another process holds it.

    The lock is a socket's name in this network namespace, which is the host's network.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as claim:
        held = False
        with suppress(OSError):  # the name is taken: a name of this form and length has no other error
            claim.bind(f"\0swarm-worker-{hashlib.sha256(what.encode()).hexdigest()}")
            held = True
        yield held
