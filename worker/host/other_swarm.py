"""A host whose engine is a node of a Docker Swarm already, whose overlay networks may want the tunnels' port. Pure."""

from __future__ import annotations

from common.errors import FailedPrecondition
from worker.interfaces import JSON
from worker.net.plan.names import DEFAULT_TUNNEL_PORT


def warning(info: JSON, tunnel_port: int) -> str:
    """Say what an engine that is in a Docker Swarm means for a host that joins; empty: it is in none.

    `info` is the engine's answer to GET /info, `tunnel_port` the cluster's UDP port, 0 for the usual one. Where the
    swarm has another port than the usual one, only its managers' engines say so.

    Raises:
        FailedPrecondition: both have the same port: no task with a network could run.

    """
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState", "") in ("", "inactive"):
        return ""
    theirs = (swarm.get("Cluster") or {}).get("DataPathPort") or DEFAULT_TUNNEL_PORT
    ours = tunnel_port or DEFAULT_TUNNEL_PORT
    if ours == theirs:
        raise FailedPrecondition(
            f"this host's engine is a node of a Docker Swarm, whose networks have UDP port {theirs}, which this "
            "cluster's tunnels need: leave that swarm first, with 'docker swarm leave', or make the cluster with "
            "another port, with 'swarm-manager init --data-path-port PORT'"
        )
    return (
        "this host's engine is a node of a Docker Swarm, too: neither knows which containers the "
        "other runs here, nor which ports it publishes"
    )
